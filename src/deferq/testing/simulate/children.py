"""The real parent with simulated children.

`ChildPool`, `Nursery` and `ChildProcess` are those of `deferq worker`. In place of processes there are simulated ones,
in place of sockets and shared memory something that behaves as these do, and nobody waits.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

from deferq.model.outcome import Outcome
from deferq.model.task import Leased
from deferq.runtime.children.channel import Channel
from deferq.runtime.children.nursery import LOOK_EVERY_S, Household, Nursery
from deferq.runtime.children.pool import ChildPool
from deferq.runtime.children.process import ChildProcess
from deferq.runtime.children.quarantine import Quarantine
from deferq.runtime.children.quarantined import QuarantineChild
from deferq.runtime.children.starts import Starts
from deferq.runtime.config import WorkerConfig
from deferq.runtime.coroutines import GRACE_S
from deferq.runtime.pools import Finished, Lease
from deferq.testing.simulate.books import Books
from deferq.testing.simulate.broken import Broken
from deferq.testing.simulate.child import Fortune, SimulatedChild
from deferq.testing.simulate.plumbing import POLLIN, Descriptors, shared_starts, socket_pair
from deferq.testing.simulate.pool import NO_LEASE, Run

#: Seconds that a parent which is not held up may be late in ending what is overdue.
_LATENESS_S = 2 * LOOK_EVERY_S

#: Seconds within which a parent notices that a child starts nothing, sometimes at the second or third attempt only.
_NOTICED_S = 4.0
#: How often the dispatcher may come by in no time: it does once or twice for each effect.
_VISITS_MAX = 1_000

Begin = Callable[[Leased, Lease], Run]
Note = Callable[[str, Leased], None]


class SimulatedBell:
    """Rings when the world says so."""

    def __init__(self, descriptors: Descriptors) -> None:
        self.rung = False
        self._fileno = descriptors.open(self)

    def fileno(self) -> int:
        return self._fileno

    def events(self) -> int:
        return POLLIN if self.rung else 0

    def heard(self) -> bool:
        rung, self.rung = self.rung, False
        return rung

    def wait(self, timeout_s: float) -> bool:
        return self.heard()

    def ring(self) -> None:
        self.rung = True

    def close(self) -> None: ...


class SimulatedProcess:
    """A child as the operating system would know it."""

    returncode: int | None

    def __init__(self, pid: int, child: SimulatedChild, descriptors: Descriptors, *, pidfd: bool) -> None:
        self.pid = pid
        self.child = child
        self.returncode = None
        self._descriptors = descriptors
        self.pidfd = descriptors.open(self) if pidfd else None

    def events(self) -> int:
        return 0 if self.child.code is None else POLLIN

    def poll(self) -> int | None:
        self.returncode = self.child.code
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.child.code is None and timeout is not None:
            raise subprocess.TimeoutExpired("child", timeout)
        if self.child.code is None:  # it was killed, and is dead a moment later
            self.child.die(-9)
        self.poll()
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        if self.child.code is None:
            self.child.kill()

    def send_signal(self, sig: int) -> None:
        """Nobody looks at its stacks."""

    def rss(self) -> int:
        return self.child.rss

    def close(self) -> None:
        if self.pidfd is not None:
            self._descriptors.close(self.pidfd)
            self.pidfd = None


class SimulatedChildren(ChildPool):
    """Child processes in simulated time. What the parent says of their tasks is checked against what they did."""

    def __init__(
        self,
        config: WorkerConfig,
        monotonic: Callable[[], float],
        chance: random.Random,
        fault: Callable[[float], bool],
        begin: Begin,
        note: Note,
    ) -> None:
        self._descriptors = Descriptors()
        self._config = config
        self._chance, self._fault, self._begin = chance, fault, begin
        self.books = Books(note)
        self._fortune = Fortune(monotonic, chance, fault, self._begin_attempt, self.books)
        self._processes: list[SimulatedProcess] = []
        self._pids = 100
        #: What the dispatcher believes, by task and lease.
        self._beliefs: dict[tuple[int, int], Lease] = {}
        #: When the dispatcher came by last, and the time before; how often it came at the same time.
        self._came_by = (monotonic(), monotonic())
        self._visits = 0
        household = Household(
            children=chance.choice((1, 1, 2)),
            max_tasks=chance.choice((None, None, 3)),
            max_rss=chance.choice((None, 10**9)),
            drain_s=config.drain_s,
        )
        nursery = Nursery(self._spawn, household, monotonic=monotonic, chance=chance.random)
        nursery.quarantine = Quarantine(self._spawn_apart, chance=chance.random)
        self._simulated_bell = SimulatedBell(self._descriptors)
        super().__init__(nursery, self._simulated_bell, monotonic, self._descriptors.new_poll)
        if nursery.first_hello() is None:
            raise AssertionError("the first child loads the application")

    # ---- for the world

    def tick(self) -> bool:
        """Let the children live. It does not ring the bell: the parent hears them."""
        now = self._monotonic()
        for process in self._processes:
            if process.child.next_at() <= now:
                process.child.step()
        self._check(now)
        return False

    def next_end(self) -> float:
        """Monotonic time at which a child does something next."""
        return min((process.child.next_at() for process in self._processes), default=float("inf"))

    def holding(self) -> list[tuple[Leased, Lease]]:
        """What the children run, or may start."""
        held = []
        for child in self._living():
            held += [(one.given.task, self._belief(one.given.task)) for one in child.attempts]
            for task, place in child.may_start():
                lease = self._belief(task)
                held.append((task, Lease(lease.since, min(lease.until, place.until))))
        return held

    def wakes(self) -> bool:
        """Whether `wait` would come back at once."""
        if len(self._takers()) > self._running_before:
            return True
        poll = self._descriptors.new_poll()
        poll.register(self._bell.fileno(), POLLIN)
        for child in self._nursery.children:
            child.watch(poll)
        return bool(poll.poll())

    def heard(self, rang: bool) -> bool:
        """What `wait` says at its end; `rang`: the bell was rung meanwhile."""
        self._simulated_bell.rung = rang
        return self.wait(0.0)

    def parent_died(self) -> None:
        """The children die with it."""
        for child in self._living():
            child.die(-9)

    def parent_ended(self) -> None:
        """It came to an end in order, and must have left nothing running."""
        for child in self._living():
            for attempt in child.attempts:
                raise Broken(f"task {attempt.given.task.id} runs on after its parent has ended")
        self.close(0.0)
        if any(self._living()):
            raise Broken("a child was left behind")

    # ---- for the dispatcher

    def start(self, tasks: Sequence[Leased], lease: Lease) -> None:
        self.books.open(tasks)
        self._beliefs.update(((task.id, task.lease_id), lease) for task in tasks)
        super().start(tasks, lease)

    def finished(self) -> list[Finished]:
        self._check_rest()
        if self._fault(0.002):
            self._nursery.ask_to_reload("somebody asked for it")
        finished = super().finished()
        self.books.close(finished)
        return finished

    def overdue(self, now: float) -> list[Finished]:
        for child in self._living():
            for one in child.attempts:
                if one.timeout_s is not None and one.started + one.timeout_s + GRACE_S <= now:
                    one.seen_late_at = min(one.seen_late_at, now)
        return super().overdue(now)

    def withdraw(self, leased_before: float | None = None) -> list[Leased]:
        if self._fault(0.3):  # a thread becomes free just as the parent takes back
            for child in self._living():
                child.be_quick(self._chance.choice((0.0, 0.0005, 0.001)))
        return super().withdraw(leased_before)

    def cancel(self, ids: Collection[int]) -> None:
        """What still runs goes on, but no longer in the belief that it is held."""
        super().cancel(ids)
        self._beliefs.update((key, NO_LEASE) for key in self._beliefs if key[0] in ids)

    def kill(self) -> list[Finished]:
        killed = super().kill()
        self.books.close(killed)
        return killed

    # ---- inside

    def _spawn(self) -> ChildProcess:
        return ChildProcess(*self._start(not self._processes), self._descriptors.new_poll)

    def _spawn_apart(self) -> QuarantineChild:
        return QuarantineChild(*self._start(False), crash=-1, new_poll=self._descriptors.new_poll)

    def _start(self, first: bool) -> tuple[SimulatedProcess, Channel, Starts, float]:
        if not first and self._fault(0.02):
            raise OSError("too many processes")
        self._pids += 1
        ours, theirs = socket_pair(self._descriptors, Descriptors(), self._chance.choice((100, 600, 100_000)))
        seen, shared = shared_starts(self._fortune.monotonic)
        loads_s = (
            0.0
            if first
            else self._chance.choice((0.05, 0.3, 2.0)) + self._fault(0.02) * self._chance.choice((5.0, 40.0))
        )
        child = SimulatedChild(self._fortune, theirs, shared, self._hello(first), loads_s=loads_s, healthy=first)
        process = SimulatedProcess(self._pids, child, self._descriptors, pidfd=self._chance.random() < 0.7)
        self._processes = [one for one in self._processes if one.child.code is None] + [process]
        if first:
            child.step()
        return process, Channel(ours), seen, self._fortune.monotonic()

    def _hello(self, first: bool) -> dict[str, Any]:
        store = "the store" if first or not self._fault(0.02) else "another store"
        return {"threads": self._config.threads, "async_slots": 2, "store": store, "queues": {}}

    def _begin_attempt(self, task: Leased) -> tuple[float, Outcome]:
        self.books.begin(task)
        run = self._begin(task, self._belief(task))
        return run.ends_at - self._monotonic(), run.outcome

    def _belief(self, task: Leased) -> Lease:
        return self._beliefs[task.id, task.lease_id]

    def _living(self) -> list[SimulatedChild]:
        return [process.child for process in self._processes if process.child.code is None]

    def _send(self, child: ChildProcess, tasks: Sequence[Leased], lease: Lease, now: float) -> None:
        simulated = cast(SimulatedProcess, child.process).child
        if simulated.stuck:
            simulated.fed_in_vain.append(now)
            if len(simulated.fed_in_vain) > 3 and now - simulated.fed_in_vain[0] > _NOTICED_S:
                raise Broken(f"task {tasks[0].id} is sent to a child that starts nothing for long")
        super()._send(child, tasks, lease, now)

    def _check_rest(self) -> None:
        now = self._monotonic()
        self._visits = self._visits + 1 if now == self._came_by[1] else 0
        self._came_by = (self._came_by[1], now)
        if self._visits > _VISITS_MAX:
            raise Broken("the parent does not rest, although it has nothing to do")

    def _check(self, now: float) -> None:
        household, there = self._nursery.household, self._living()
        sharing = sum(not child.apart for child in self._nursery.children)
        if sharing > 2 * household.children or len(there) > 2 * household.children + 1:  # and one in quarantine
            raise Broken(f"there are {len(there)} children where {household.children} were asked for")
        for child in there:
            for attempt in () if child.killed else child.attempts:
                if self._came_by[0] > (over := attempt.seen_late_at + household.drain_s + _LATENESS_S):
                    raise Broken(f"task {attempt.given.task.id} runs on {now - over:.1f} s past its timeout")


__all__ = ["SimulatedChildren"]
