"""A world as small as can be: two workers, one task, and every choice that there is made by somebody else.

The real `dispatch` generators run on a real engine. Whenever more than one thing can happen next, the world asks: which
worker acts, and whether it crashes, falls asleep or is lied to; whether the clock leaps; whether a person acts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from deferq.engines.answers import Stored
from deferq.engines.base import Cancel, Retention
from deferq.errors import StoreUnavailable
from deferq.model.events import EventName
from deferq.model.outcome import ErrorText, Failed, Outcome, Succeeded
from deferq.model.retry import RetryPolicy
from deferq.model.task import Leased
from deferq.runtime.config import WorkerConfig
from deferq.runtime.dispatcher import Beat, Effect, FindStalled, Renew, Stop, Sweep, TakeTurn, Wait, dispatch
from deferq.runtime.pools import Lease
from deferq.testing.simulate.broken import Broken
from deferq.testing.simulate.clock import START, US, SimulatedClock
from deferq.testing.simulate.fingerprint import fingerprint
from deferq.testing.simulate.pool import Run, SimulatedPool
from deferq.testing.simulate.scope import Scope
from deferq.testing.simulate.smallhistory import SmallHistory
from deferq.testing.simulate.stores import MakeEngine
from deferq.testing.simulate.tasks import TaskMaker
from deferq.testing.simulate.worker import Dispatching

LEASE_S, POLL_S = 3.0, 1.0
WORKERS = 2
#: Seconds after which the task must have ended, whatever happened.
ENDS_S = 60.0
#: How far the clock leaps, and how long a worker sleeps: past what it believes of its lease, or past the lease.
LEAP_S, NAPS_S = 2 * LEASE_S, (0.97 * LEASE_S, 1.2 * LEASE_S)
_RETENTION = Retention(succeeded_s=1e6, succeeded_max=10**6, cancelled_s=1e6, dead_s=1e6)
_FAILED = Failed(error=ErrorText(error_type="Trouble", message="the first time"))


class Choose(Protocol):
    """Makes the choices of a path."""

    def __call__(self, options: Sequence[str], state: Callable[[], bytes]) -> int:
        """Which of these happens. `state` is the fingerprint of the moment. Raises Known to end the path."""


class Option(NamedTuple):
    """One thing that can happen next."""

    what: str
    happen: Callable[[], None]


class _Worker:
    """One dispatcher with one slot."""

    def __init__(self, world: SmallWorld, number: int, dispatching: Dispatching) -> None:
        self.name = f"worker {number}"
        self.number = number
        self.wanted = frozenset[EventName]()
        self.monotonic = world.monotonic
        self.now_us = world.clock
        config = WorkerConfig(threads=1, async_slots=1, lease_s=LEASE_S, poll_s=POLL_S, batch=1, drain_s=1.0)
        self.stop = Stop(config.drain_s)
        self.pool = SimulatedPool(1, world.monotonic, lambda task, lease: world.begin(self, task, lease))
        self.config = config
        self.dispatch = dispatching(config, self.pool, self, self.stop)
        self.effect: Effect = next(self.dispatch)
        #: When it acts next, and when its task runs on.
        self.acts_at = self.runs_at = world.now
        self.rang = False
        #: It fell asleep after the commit: what it is to be told.
        self.answers: list[object] = []

    def random(self) -> float:
        """No chance: both workers act in step, so they meet as often as they can."""
        return 0.0

    def announce(self, event: object) -> None:
        """Nobody listens."""

    def state(self) -> object:
        """All that its future depends on, but for the world and its own settings."""
        pool = self.pool
        inside = (pool._waiting, pool._running, pool._done)
        return self.effect, self.acts_at, self.runs_at, self.rang, self.answers, self.dispatch, inside


class SmallWorld:
    """Two workers and a task. `choose` decides, `run` ends when the task has ended and nobody holds it."""

    def __init__(
        self, scope: Scope, make_engine: MakeEngine, choose: Choose, dispatching: Dispatching = dispatch
    ) -> None:
        self.now = 1.0
        self.clock = SimulatedClock()
        self._scope = scope
        self._choose = choose
        self._wall_s = 0.0
        self._set_wall()
        self.engine = make_engine(self.clock)
        self.history = SmallHistory()
        self._leaps: list[tuple[float, float]] = []
        #: What is left of the faults.
        self._left = Counter(
            {kind: getattr(scope, kind) for kind in Scope.__slots__ if isinstance(getattr(scope, kind), int)}
        )
        self._begun = 0
        self._new = TaskMaker(self.clock)
        self._names = 0
        self._ids: list[int] = []
        self._defer()
        self._dispatching = dispatching
        self._workers: list[_Worker] = []
        #: What is no state, by its id: it is the same in all worlds of a scope, or only looks at them.
        self._same = {
            id(self): "world",
            id(self.clock): "clock",
            id(self.engine): "engine",
            id(self.history): "history",
        }
        for number in range(1, WORKERS + 1):
            self._start_worker(number)

    def monotonic(self) -> float:
        return self.now

    def run(self) -> None:
        """One path to its end. Raises Broken."""
        try:
            while not self._ended():
                self._step()
                self._check_beliefs()
            self.history.ending(self.engine.get(self._ids), len(self._ids))
            self.now += 1.0
            self._set_wall()
            self._defer()  # its name stays taken for a while
        finally:
            self.engine.close()

    def begin(self, worker: _Worker, task: Leased, lease: Lease) -> Run:
        """A pool starts the task."""
        self._begun += 1
        outcome: Outcome = _FAILED if self._scope.fails_first and self._begun == 1 else Succeeded()
        self.history.start(self.now, worker.name, task, outcome)
        return Run(self.now + self._scope.seconds, task, lease, outcome)

    # ---- a step

    def _step(self) -> None:
        due = [worker for worker in self._workers if worker.acts_at <= self.now]
        for worker in due:
            if isinstance(worker.effect, Beat | Sweep) and not worker.answers:  # nobody else notices: no choice
                worker.answers.append(self._commit(worker))
                self._resume(worker)
                return
        if not due:
            self._pass_time()
            return
        options = [option for worker in due for option in self._of(worker)]
        options += self._of_others()
        chosen = 0
        if len(options) > 1:
            chosen = self._choose([option.what for option in options], self._state)
        options[chosen].happen()

    def _pass_time(self) -> None:
        """To the next moment at which anything happens."""
        moments = [min(worker.acts_at, max(worker.runs_at, worker.pool.next_end())) for worker in self._workers]
        self.now = max(self.now, min(moments))
        if self.now > ENDS_S:
            self.history.ending(self.engine.get(self._ids), len(self._ids))
            raise Broken("somebody holds a task for ever that has ended")
        self._set_wall()
        for worker in self._workers:
            if worker.runs_at <= self.now and worker.pool.tick():
                self._ring(worker)

    def _of(self, worker: _Worker) -> Iterator[Option]:
        """What a worker that is due may do, and what may befall it."""
        what, name = type(worker.effect).__name__, worker.name
        if worker.answers or isinstance(worker.effect, Wait):
            yield Option(f"{name}: goes on", lambda: self._resume(worker))
            return
        yield Option(f"{name}: {what}", lambda: self._do(worker))
        if self._left["crashes"]:
            yield Option(f"{name}: dies before {what}", lambda: self._die(worker))
            yield Option(f"{name}: dies after {what}", lambda: self._die(worker, committed=True))
        if self._left["errors"]:
            yield Option(f"{name}: {what} fails", lambda: self._fail(worker))
        if self._left["lost_answers"]:
            yield Option(f"{name}: {what} is not answered", lambda: self._lose(worker))
        if self._left["naps"]:
            for seconds in NAPS_S:
                for deep in (False, True):
                    yield from self._naps(worker, what, seconds, deep)

    def _naps(self, worker: _Worker, what: str, seconds: float, deep: bool) -> Iterator[Option]:
        how = f"{worker.name}: sleeps {seconds} s {'with its task ' if deep else ''}"
        yield Option(f"{how}before {what}", lambda: self._sleep(worker, seconds, deep))
        yield Option(f"{how}after {what}", lambda: self._sleep(worker, seconds, deep, committed=True))

    def _of_others(self) -> Iterator[Option]:
        if self._left["leaps"]:
            for leap in (LEAP_S, -LEAP_S):
                yield Option(f"the clock leaps by {leap} s", lambda leap=leap: self._leap(leap))  # type: ignore[misc]
        if self._left["stops"]:
            for worker in self._workers:
                yield Option(f"{worker.name}: is asked to stop", lambda worker=worker: self._stop(worker))  # type: ignore[misc]
        if self._left["cancels"]:
            yield Option("somebody cancels", self._cancel)
        if self._left["namesakes"]:
            yield Option("somebody defers it again", self._defer_again)

    # ---- what happens

    def _do(self, worker: _Worker) -> None:
        worker.answers.append(self._commit(worker))
        self._resume(worker)

    def _commit(self, worker: _Worker) -> object:
        match worker.effect:
            case TakeTurn(settlements, want):
                turn = self.engine.turn(settlements, want)
                self.history.turn(self.now, worker.name, worker.effect, turn)
                if self._scope.bells and settlements:
                    for other in self._workers:
                        if other is not worker:
                            self._ring(other)
                return turn
            case Renew(leases, until):
                return self.engine.renew(leases, until)
            case FindStalled(limit):
                return self.engine.stalled(limit)
            case Sweep():
                return self.engine.sweep(_RETENTION)
            case _:
                return None

    def _resume(self, worker: _Worker) -> None:
        """Let a dispatcher have its answer and say what it wants next."""
        answer = worker.answers.pop() if worker.answers else worker.rang
        try:
            if isinstance(answer, StoreUnavailable):
                worker.effect = worker.dispatch.throw(answer)
            else:
                worker.effect = worker.dispatch.send(answer)
        except StopIteration:
            self._leave(worker)
            return
        worker.rang = False
        waits_s = worker.effect.timeout_s if isinstance(worker.effect, Wait) else 0.0
        worker.acts_at = self.now + waits_s

    def _ring(self, worker: _Worker) -> None:
        if isinstance(worker.effect, Wait) and worker.runs_at <= self.now:
            worker.rang, worker.acts_at = True, self.now

    def _die(self, worker: _Worker, *, committed: bool = False) -> None:
        self._spend("crashes", worker.name, "died")
        if committed:
            self._commit(worker)
        self._leave(worker)

    def _leave(self, worker: _Worker) -> None:
        """It is gone, and the last one is replaced."""
        self._workers.remove(worker)
        if not self._workers:
            self._start_worker(worker.number + WORKERS)

    def _fail(self, worker: _Worker) -> None:
        self._spend("errors", worker.name, "was told that the store failed")
        worker.answers.append(StoreUnavailable("before the commit"))
        self._resume(worker)

    def _lose(self, worker: _Worker) -> None:
        self._spend("lost_answers", worker.name, "lost an answer")
        self._commit(worker)
        worker.answers.append(StoreUnavailable("after the commit"))
        self._resume(worker)

    def _sleep(self, worker: _Worker, seconds: float, deep: bool, *, committed: bool = False) -> None:
        self._spend("naps", worker.name, "fell asleep")
        if committed:
            worker.answers.append(self._commit(worker))
        worker.acts_at = self.now + seconds
        if deep:
            worker.runs_at = worker.acts_at

    def _leap(self, seconds: float) -> None:
        self._spend("leaps", "the clock", f"leapt by {seconds} s")
        self._wall_s += seconds
        self._set_wall()
        if seconds > 0:
            self._leaps.append((self.now, seconds))

    def _stop(self, worker: _Worker) -> None:
        self._spend("stops", worker.name, "was asked to stop")
        worker.stop.request()
        self._ring(worker)

    def _cancel(self) -> None:
        self._spend("cancels", "somebody", "cancelled")
        self.engine.change(self._ids[:1], Cancel())

    def _defer_again(self) -> None:
        self._spend("namesakes", "somebody", "deferred it again")
        self._defer()

    def _defer(self) -> None:
        """By a name, of which there may be one task as long as it lives, and for a day after."""
        retry = RetryPolicy(max_attempts=self._scope.max_attempts, min_backoff_s=0.5, max_backoff_s=0.5)
        task = self._new("a", retry=retry)._replace(name="once")
        accepted = [answer.id for answer in self.engine.put([task]) if isinstance(answer, Stored)]
        self._ids += accepted
        if len(self._ids) > 1:
            raise Broken(f"task {task.id} was accepted although its name is taken")

    def _spend(self, kind: str, who: str, what: str) -> None:
        self._left[kind] -= 1
        self.history.note(self.now, who, what)

    # ---- the rest

    def _ended(self) -> bool:
        if any(worker.answers or worker.runs_at > self.now or worker.pool.holding() for worker in self._workers):
            return False
        if any(isinstance(worker.effect, TakeTurn) and worker.effect.settlements for worker in self._workers):
            return False
        return all(task.state.finished for task in self.engine.get(self._ids))

    def _set_wall(self) -> None:
        self.clock.now = START + round((self.now + self._wall_s) * US)

    def _check_beliefs(self) -> None:
        held = ((worker, task, lease) for worker in self._workers for task, lease in worker.pool.holding())
        self.history.beliefs(((one.name, task, lease, self._until(lease)) for one, task, lease in held), self.now)

    def _until(self, lease: Lease) -> float:
        """How long a holder rightly believes in its lease, the clock's leaps since then taken off."""
        since = lease.until - LEASE_S
        return lease.until - sum(leap for at, leap in self._leaps if at >= since)

    def _start_worker(self, number: int) -> None:
        worker = _Worker(self, number, self._dispatching)
        self._workers.append(worker)
        fixed = {worker.name: worker, f"pool of {number}": worker.pool, f"settings of {number}": worker.config}
        self._same.update((id(one), name) for name, one in fixed.items())

    def _state(self) -> bytes:
        checked = {name: value for name, value in vars(self.history).items() if name != "entries"}
        engine: Any = self.engine
        stored = (engine._tasks, engine._totals)
        workers = [(worker.name, worker.state()) for worker in self._workers]
        mine = (self.now, self._wall_s, self._leaps, self._left, self._begun, self._ids)
        return fingerprint((mine, stored, checked, workers), self._same)


__all__ = ["Choose", "Option", "SmallWorld"]
