"""A pool in simulated time: tasks take as long, and end as, their story says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from deferq.model.outcome import INTERRUPTED, Cancelled, Outcome
from deferq.model.task import Leased
from deferq.runtime.executor import timed_out
from deferq.runtime.pools import Finished, Lease

NO_LEASE = Lease(0.0, float("-inf"))


class Run(NamedTuple):
    """One execution under way."""

    ends_at: float
    task: Leased
    lease: Lease
    outcome: Outcome
    #: When its timeout is over; None: it has none.
    times_out_at: float | None = None
    #: Whether it goes on elsewhere, unseen, when it ends here.
    let_go: bool = False


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
            self._done.append(Finished(run.task, run.outcome, let_go=run.let_go))
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

    def wakes(self) -> bool:
        """Whether its dispatcher has something to hear beside its bell."""
        return False

    def heard(self, rang: bool) -> bool:
        """What waiting comes to."""
        return rang

    def parent_died(self) -> None:
        """Its process has died, and all threads with it."""

    def parent_ended(self) -> None:
        """Its dispatcher has come to an end in order."""

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
