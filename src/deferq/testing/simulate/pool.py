"""A pool in simulated time: tasks take as long, and end as, their story says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from deferq.model.outcome import INTERRUPTED, Cancelled, Outcome
from deferq.model.task import Leased
from deferq.runtime.executor import timed_out
from deferq.runtime.pools import Finished, Lease
from deferq.runtime.settling import WORKER_LOST, WORKER_STOPPED

NO_LEASE = Lease(0.0, float("-inf"))


class Run(NamedTuple):
    """One execution under way."""

    ends_at: float
    task: Leased
    lease: Lease
    outcome: Outcome
    #: When its timeout is over; None: it has none.
    times_out_at: float | None = None


class SimulatedPool:
    """A `Pool` whose tasks run while `tick` is called."""

    def __init__(self, slots: int, clock: Callable[[], float], begin: Callable[[Leased, Lease], Run]) -> None:
        self._slots = slots
        self._clock = clock
        self._begin = begin
        self._waiting: list[tuple[Leased, Lease]] = []
        self._running: list[Run] = []
        self._done: list[Finished] = []

    def tick(self) -> bool:
        """End what has ended, start what can start; whether anything has finished."""
        now = self._clock()
        for run in [run for run in self._running if run.ends_at <= now]:
            self._running.remove(run)
            self._done.append(Finished(run.task, run.outcome))
        while self._waiting and len(self._running) < self._slots:
            task, lease = self._waiting.pop(0)
            if now < lease.until:
                self._running.append(self._begin(task, lease))
            else:
                self._done.append(Finished(task, INTERRUPTED))
        return bool(self._done)

    def next_end(self) -> float:
        return min((run.ends_at for run in self._running), default=float("inf"))

    def holding(self) -> list[tuple[Leased, Lease]]:
        """What it runs, or may start."""
        return [(run.task, run.lease) for run in self._running] + self._waiting

    # ---- Pool

    def start(self, tasks: Sequence[Leased], lease: Lease) -> None:
        self._waiting += [(task, lease) for task in tasks]
        self.tick()

    def finished(self) -> list[Finished]:
        done, self._done = self._done, []
        return done

    def accepts(self) -> bool:
        return True

    def kill(self) -> list[Finished]:
        return []

    def free(self) -> int:
        return max(0, self._slots - len(self._running) - len(self._waiting))

    def unstarted(self) -> int:
        return len(self._waiting)

    def running(self) -> int:
        return len(self._running)

    def abandoned(self) -> int:
        return 0

    def withdraw(self, leased_before: float | None = None) -> list[Leased]:
        back = [one for one in self._waiting if leased_before is None or one[1].since < leased_before]
        self._waiting = [one for one in self._waiting if one not in back]
        return [task for task, _ in back]

    def overdue(self, now: float) -> list[Finished]:
        late = [run for run in self._running if run.times_out_at is not None and run.times_out_at <= now]
        self._running = [run for run in self._running if run not in late]
        return [Finished(run.task, timed_out()) for run in late]

    def next_overdue(self) -> float | None:
        return min((run.times_out_at for run in self._running if run.times_out_at is not None), default=None)

    def cancel(self, ids: Collection[int]) -> None:
        """Every other running task looks, and ends; the others go on, but no longer in the belief that they hold it."""
        stopped = [task for task, _ in self._waiting if task.id in ids]
        stopped += [run.task for run in self._running if run.task.id in ids and run.task.id % 2]
        self._waiting = [one for one in self._waiting if one[0] not in stopped]
        self._running = [
            run._replace(lease=NO_LEASE) if run.task.id in ids else run
            for run in self._running
            if run.task not in stopped
        ]
        self._done += [Finished(task, Cancelled()) for task in stopped]

    def close(self, timeout_s: float) -> None:
        pass


class SimulatedChildren(SimulatedPool):
    """Child processes: they die, they take their time to come back, and what is withdrawn is certain only later."""

    def __init__(
        self,
        slots: int,
        clock: Callable[[], float],
        begin: Callable[[Leased, Lease], Run],
        fault: Callable[[float], bool],
    ) -> None:
        super().__init__(slots, clock, begin)
        self._fault = fault
        #: What was withdrawn, and when it is known whether that came too late.
        self._withdrawn: list[tuple[float, Leased, Lease]] = []
        self._ready_at = 0.0

    def tick(self) -> bool:
        now = self._clock()
        if self._fault(0.02):
            self._die(now)
        for entry in [entry for entry in self._withdrawn if entry[0] <= now]:
            self._withdrawn.remove(entry)
            self._bring_back(*entry[1:])
        return super().tick()

    def next_end(self) -> float:
        return min(super().next_end(), self._wakes_at())

    def holding(self) -> list[tuple[Leased, Lease]]:
        return super().holding() + [(task, lease) for _, task, lease in self._withdrawn]

    # ---- Pool

    def start(self, tasks: Sequence[Leased], lease: Lease) -> None:
        if self.accepts():
            super().start(tasks, lease)
        else:
            self._done += [Finished(task, INTERRUPTED) for task in tasks]

    def accepts(self) -> bool:
        return self._clock() >= self._ready_at

    def free(self) -> int:
        return max(0, super().free() - len(self._withdrawn)) if self.accepts() else 0

    def withdraw(self, leased_before: float | None = None) -> list[Leased]:
        known_at = self._clock() + 0.002
        before = [one for one in self._waiting if leased_before is None or one[1].since < leased_before]
        self._waiting = [one for one in self._waiting if one not in before]
        self._withdrawn += [(known_at, task, lease) for task, lease in before]
        return []

    def next_overdue(self) -> float | None:
        overdue = super().next_overdue()
        return self._wakes_at() if overdue is None else min(overdue, self._wakes_at())

    def cancel(self, ids: Collection[int]) -> None:
        super().cancel(ids)
        self._withdrawn = [(at, task, NO_LEASE if task.id in ids else lease) for at, task, lease in self._withdrawn]

    def kill(self) -> list[Finished]:
        killed = [Finished(run.task, WORKER_STOPPED) for run in self._running]
        killed += [Finished(task, INTERRUPTED) for task, _ in self.holding()[len(self._running) :]]
        self._running, self._waiting, self._withdrawn = [], [], []
        return killed

    # ---- inside

    def _die(self, now: float) -> None:
        """What had started is lost; all else goes back."""
        self._done += [Finished(run.task, WORKER_LOST) for run in self._running]
        self._done += [Finished(task, INTERRUPTED) for task, _ in self.holding()[len(self._running) :]]
        self._running, self._waiting, self._withdrawn = [], [], []
        self._ready_at = now + 0.3

    def _bring_back(self, task: Leased, lease: Lease) -> None:
        """It may have started just as it was withdrawn."""
        if self._fault(0.3) and self._clock() < lease.until and len(self._running) < self._slots:
            self._running.append(self._begin(task, lease))
        else:
            self._done.append(Finished(task, INTERRUPTED))

    def _wakes_at(self) -> float:
        now = self._clock()
        return min((at for at in (self._ready_at, *(entry[0] for entry in self._withdrawn)) if at > now), default=1e9)
