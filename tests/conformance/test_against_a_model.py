"""Any sequence of calls leaves an engine as a model of a few lines says."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from deferq.engines.answers import Existing, PutAnswer, Stored, TakeUp, Tombstoned
from deferq.engines.base import Cancel, Delete, Reschedule, Retention
from deferq.model.outcome import (
    INTERRUPTED,
    SUCCEEDED,
    Cancelled,
    ErrorText,
    Failed,
    Outcome,
    Parked,
    Retried,
    Snoozed,
)
from deferq.model.retry import RetryPolicy
from deferq.model.settings import SetLimits
from deferq.model.state import State
from deferq.model.task import Leased, NewTask
from tests.conformance.engines import EngineFactory
from tests.support import US, FakeClock, TaskMaker, settlement, want

ERROR = ErrorText(error_type="ValueError", message="boom")
OUTCOMES: list[Outcome] = [
    SUCCEEDED,
    INTERRUPTED,
    Failed(error=ERROR),
    Failed(error=ERROR, permanent=True, reason="permanent"),
    Failed(error=ERROR, reason="worker lost"),
    Retried(after_s=3),
    Snoozed(after_s=7),
    Cancelled(reason="expired"),
    Parked(error=ERROR),
]
RETRY = RetryPolicy(max_attempts=3, min_backoff_s=5, jitter=False)
TOMBSTONE_S = 60
KEPT_S = 45
QUEUES = st.sampled_from(["mail", "index"])
MOMENTS = st.sampled_from([0, 0, 0, 1, 5, 20])
WISHES = st.fixed_dictionaries(
    {
        "queue": QUEUES,
        "priority": st.sampled_from([-1, 0, 1]),
        "in_s": MOMENTS,
        "name": st.sampled_from([None, None, "a", "b"]),
        "if_exists": st.sampled_from(["raise", "return", "replace"]),
        "url": st.sampled_from([None, None, "/there"]),
        "spill": st.sampled_from([None, None, b"much"]),
    }
)


@dataclass
class Expected:
    """A task as the model knows it."""

    queue: str
    priority: int
    eta: int
    name: str | None
    url: str | None = None
    spill: bytes | None = None
    state: State = State.PENDING
    attempts: int = 0
    starts: int = 0
    parks: int = 0
    crashes: int = 0
    lease_id: int | None = None
    lease_ends: int = 0
    taken_up: int | None = None
    cancel_requested: bool = False
    finished_at: int = 0

    def finish(self, state: State, now: int) -> None:
        self.state, self.finished_at = state, now


class EngineMachine(RuleBasedStateMachine):
    """Drives an engine and the model alike."""

    make_engine: EngineFactory

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.new = TaskMaker(self.clock)
        self.folder = tempfile.TemporaryDirectory()
        self.engine = self.make_engine(Path(self.folder.name), self.clock, tombstone_s=TOMBSTONE_S)
        self.tasks: dict[int, Expected] = {}
        #: Every id there ever was a task of.
        self.ids: list[int] = []
        self.names: dict[tuple[str, str], tuple[int, int | None]] = {}
        self.leases: list[Leased] = []
        #: How many may be leased at a time, by queue.
        self.most: dict[str, int] = {}

    def teardown(self) -> None:
        self.engine.close()
        self.folder.cleanup()

    # ---- names, as the model understands them

    def expected_answer(self, task: NewTask) -> PutAnswer:
        task_id, until = self.names.get((task.queue, task.name or ""), (0, 0))
        if task.name is None or (until is not None and until <= self.clock.now):
            return Stored(task.id)
        if task.if_exists == "replace":
            pending = until is None and self.tasks[task_id].state is State.PENDING
            return Stored(task.id, task_id if pending else None)
        return Existing(task_id) if until is None else Tombstoned(task_id, until)

    def take_name(self, task: NewTask) -> None:
        if task.name is None:
            return
        before, until = self.names.get((task.queue, task.name), (0, 0))
        if until is None:
            self.tasks[before].name = None
            if self.tasks[before].state is State.PENDING:
                self.tasks[before].finish(State.CANCELLED, self.clock.now)
        self.names[task.queue, task.name] = (task.id, None)

    def bury_name(self, task_id: int) -> None:
        for key, held in self.names.items():
            if held == (task_id, None):
                self.names[key] = (task_id, self.clock.now + TOMBSTONE_S * US)

    # ---- what happens

    @rule(wishes=st.lists(WISHES, min_size=1, max_size=5))
    def put(self, wishes: list[dict[str, Any]]) -> None:
        tasks = [self.new(retry=RETRY, **wish) for wish in wishes]
        answers = self.engine.put(tasks)
        for task, answer in zip(tasks, answers, strict=True):
            assert answer == self.expected_answer(task)
            if isinstance(answer, Stored):
                self.take_name(task)
                self.ids.append(task.id)
                self.tasks[task.id] = Expected(task.queue, task.priority, task.eta, task.name, task.url, task.spill)

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(queue=QUEUES, most=st.sampled_from([None, 1, 2, 3]))
    def limit(self, queue: str, most: int | None) -> None:
        self.engine.change_queues([(queue, SetLimits({"max_concurrent": most}))])
        self.most.pop(queue, None)
        if most is not None:
            self.most[queue] = most

    @rule(queue=QUEUES, free=st.integers(0, 2), ahead=st.integers(0, 2), delivers=st.booleans())
    def lease(self, queue: str, free: int, ahead: int, delivers: bool) -> None:
        wanted = want(free, ahead=ahead, queues=[queue], lease_s=30, delivers=delivers)
        ready = [
            (-task.priority, task.eta, task_id)
            for task_id, task in self.tasks.items()
            if task.state is State.PENDING and task.queue == queue and task.eta <= self.clock.now
            if delivers or task.url is None
        ]
        leased = self.engine.turn((), wanted).leased
        room = free + ahead
        if queue in self.most:
            held = sum(task.state is State.LEASED and task.queue == queue for task in self.tasks.values())
            room = max(0, min(free, self.most[queue] - held))
        assert [task.id for task in leased] == [task_id for _, _, task_id in sorted(ready)[:room]]
        for lease in leased:
            task = self.tasks[lease.id]
            task.state, task.starts, task.lease_id = State.LEASED, task.starts + 1, wanted.lease_id
            task.lease_ends = self.clock.now + wanted.lease_us
            assert (lease.attempts, lease.starts, lease.parks, lease.crashes, lease.name) == (
                task.attempts,
                task.starts,
                task.parks,
                task.crashes,
                task.name,
            )
            assert lease.cancel_requested == task.cancel_requested
        self.leases += leased

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES))
    def settle(self, data: st.DataObject, outcome: Outcome) -> None:
        """Any lease there ever was: the current one, one that was settled already, one that was lost."""
        lease = data.draw(st.sampled_from(self.leases))
        done = settlement(self.engine, lease, outcome)
        task = self.tasks.get(lease.id)
        transition = done.transition
        mine = task is not None and task.lease_id == lease.lease_id
        repeated = task is not None and (task.state, task.attempts) == (transition.state, transition.attempts)
        stands = mine and task is not None and (task.state is State.LEASED or repeated)
        assert self.engine.turn([done], None).lost == (() if stands else (lease,))
        if task is None or not mine or task.state is not State.LEASED:
            return
        task.attempts, task.parks = transition.attempts, transition.parks
        task.crashes = transition.crashes
        task.starts -= not transition.started
        if transition.state.finished:
            task.finish(transition.state, self.clock.now)
            self.bury_name(lease.id)
        else:
            task.state, task.eta = State.PENDING, transition.eta

    @rule()
    def look_for_stalled(self) -> None:
        over = {
            task_id
            for task_id, task in self.tasks.items()
            if task.state is State.LEASED and task.lease_ends <= self.clock.now
        }
        assert {lease.id for lease in self.engine.stalled()} == over

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), seconds=st.integers(1, 60))
    def renew(self, data: st.DataObject, seconds: int) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        until = self.clock.now + seconds * US
        lost, to_cancel = self.engine.renew([lease], until)
        task = self.tasks.get(lease.id)
        if task is None or task.state is not State.LEASED or task.lease_id != lease.lease_id:
            assert (len(lost), to_cancel) == (1, [])
        else:
            assert (lost, len(to_cancel)) == ([], int(task.cancel_requested))
            task.lease_ends = until

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def take_up(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        task = self.tasks.get(lease.id)
        if task is not None and task.state.finished:
            expected = TakeUp.FINISHED
        elif (
            task is None
            or (task.state, task.lease_id) != (State.LEASED, lease.lease_id)
            or task.lease_ends <= self.clock.now
        ):
            expected = TakeUp.NOT_HELD
        else:
            expected = TakeUp.TAKEN_BEFORE if lease.lease_id == task.taken_up else TakeUp.TAKEN
            task.taken_up = lease.lease_id
        assert self.engine.take_up([(lease.id, lease.lease_id)]) == [expected]

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        task_id, task = self.any_task(data)
        assert bool(self.engine.change([task_id], Cancel())) == (not task.state.finished)
        if task.state is State.LEASED:
            task.cancel_requested = True
        elif task.state is State.PENDING:
            task.finish(State.CANCELLED, self.clock.now)
            self.bury_name(task_id)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), in_s=MOMENTS)
    def reschedule(self, data: st.DataObject, in_s: int) -> None:
        task_id, task = self.any_task(data)
        eta = self.clock.now + in_s * US
        assert bool(self.engine.change([task_id], Reschedule(eta))) == (task.state is State.PENDING)
        if task.state is State.PENDING:
            task.eta = eta

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        task_id, task = self.any_task(data)
        assert bool(self.engine.change([task_id], Delete())) == (task.state is not State.LEASED)
        if task.state is not State.LEASED:
            self.bury_name(task_id)
            del self.tasks[task_id]

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        task_id, task = self.any_task(data)
        ended = task.state in (State.DEAD, State.CANCELLED)
        assert self.engine.requeue([task_id]) == ([task_id] if ended else [])
        if not ended:
            return
        task.state, task.eta = State.PENDING, self.clock.now
        task.attempts, task.parks, task.crashes, task.cancel_requested = 0, 0, 0, False
        if task.name is not None:
            holder, until = self.names.get((task.queue, task.name), (task_id, 0))
            if holder == task_id or (until is not None and until <= self.clock.now):
                self.names[task.queue, task.name] = (task_id, None)
            else:
                task.name = None

    @rule()
    def wake(self) -> None:
        parked = [
            task
            for task in self.tasks.values()
            if task.state is State.PENDING and task.parks and task.eta > self.clock.now
        ]
        assert self.engine.wake() == len(parked)
        for task in parked:
            task.eta = self.clock.now

    @rule()
    def sweep(self) -> None:
        keep = Retention(succeeded_s=KEPT_S, cancelled_s=KEPT_S, dead_s=KEPT_S)
        old = [
            task_id
            for task_id, task in self.tasks.items()
            if task.state.finished and task.finished_at <= self.clock.now - KEPT_S * US
        ]
        assert self.engine.sweep(keep).purged == len(old)
        for task_id in old:
            del self.tasks[task_id]

    def any_task(self, data: st.DataObject) -> tuple[int, Expected]:
        task_id = data.draw(st.sampled_from(sorted(self.tasks)))
        return task_id, self.tasks[task_id]

    # ---- what holds after every step

    @invariant()
    def engine_and_model_agree(self) -> None:
        stored = {task.id: task for task in self.engine.get(sorted(self.tasks))}
        assert stored.keys() == self.tasks.keys()
        if self.ids:  # one after the other, that of a task that is gone, too
            self.ids.append(task_id := self.ids.pop(0))
            assert self.engine.spill(task_id) == (self.tasks[task_id].spill if task_id in self.tasks else None)
        for task_id, expected in self.tasks.items():
            task = stored[task_id]
            assert (
                task.state,
                task.attempts,
                task.starts,
                task.parks,
                task.crashes,
                task.name,
                task.cancel_requested,
            ) == (
                expected.state,
                expected.attempts,
                expected.starts,
                expected.parks,
                expected.crashes,
                expected.name,
                expected.cancel_requested,
            )
            assert task.finished_at == (expected.finished_at if expected.state.finished else None)
            if expected.state is State.PENDING:
                assert (task.eta, task.leasable_at) == (expected.eta, expected.eta)
            if expected.state is State.LEASED:
                assert (task.lease_id, task.leasable_at) == (expected.lease_id, expected.lease_ends)

    @invariant()
    def counts_add_up(self) -> None:
        counts = self.engine.counts()
        by_state: dict[State, int] = dict.fromkeys(State, 0)
        for task in self.tasks.values():
            by_state[task.state] += 1
        pending = sum(queue.ready + queue.scheduled + queue.retrying + queue.parked for queue in counts.queues)
        assert pending == by_state[State.PENDING]
        assert sum(queue.leased for queue in counts.queues) == by_state[State.LEASED]
        assert (counts.succeeded, counts.dead, counts.cancelled) == (
            by_state[State.SUCCEEDED],
            by_state[State.DEAD],
            by_state[State.CANCELLED],
        )


def test_any_sequence_of_calls_leaves_an_engine_as_the_model_says(make_engine: EngineFactory) -> None:
    members: dict[str, Any] = {"make_engine": staticmethod(make_engine)}
    run_state_machine_as_test(
        type("Machine", (EngineMachine,), members),
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            database=None,
            # Shrinking a failure on a file takes minutes; add Phase.shrink when hunting one.
            phases=[Phase.generate],
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
