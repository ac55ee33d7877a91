"""Finished tasks stay a while, and then they go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deferq.engines.base import FAILURES_KEPT, Cancel, Filter, LeasingEngine, Retention
from deferq.errors import TaskNotFound
from deferq.model.outcome import SUCCEEDED, ErrorText, Failed, Outcome, Succeeded
from deferq.model.state import State
from tests.support import FakeClock, TaskMaker, lease, lease_one, settle, settle_each

Put = Callable[..., int]
DIES = Failed(error=ErrorText(error_type="ValueError", message="boom"), permanent=True, reason="permanent")
KEEP = Retention(succeeded_s=100, cancelled_s=200, dead_s=300)


@pytest.mark.parametrize(("outcome", "keep_s"), [(SUCCEEDED, 100), (DIES, 300)])
def test_finished_tasks_stay_for_their_retention(
    engine: LeasingEngine, put: Put, clock: FakeClock, outcome: Outcome, keep_s: int
) -> None:
    task_id = put()
    settle(engine, lease_one(engine), outcome)
    clock.advance(keep_s - 1)
    assert engine.sweep(KEEP).purged == 0
    assert len(engine.get([task_id])) == 1
    clock.advance(2)
    assert engine.sweep(KEEP).purged == 1
    assert engine.get([task_id]) == []


def test_cancelled_tasks_stay_for_their_retention(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put()
    engine.change([task_id], Cancel())
    clock.advance(199)
    assert engine.sweep(KEEP).purged == 0
    clock.advance(2)
    assert engine.sweep(KEEP).purged == 1
    assert engine.get([task_id]) == []


def test_retention_counts_from_the_end_of_a_task(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    put()
    leased = lease_one(engine)
    clock.advance(1_000)
    settle(engine, leased, SUCCEEDED)
    assert engine.sweep(KEEP).purged == 0


def test_pending_and_leased_tasks_are_never_purged(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    held = put()
    lease_one(engine)
    waiting = put(in_s=1)
    clock.advance(10 * 365 * 86_400)
    assert engine.sweep(KEEP).purged == 0
    assert [task.state for task in engine.get([held, waiting])] == [State.LEASED, State.PENDING]


def test_a_purged_task_takes_its_payload_result_and_failures_along(
    engine: LeasingEngine, put: Put, new: TaskMaker, clock: FakeClock
) -> None:
    task_id = put(payload=b"x" * 5_000)
    settle(engine, lease_one(engine), Failed(error=ErrorText(error_type="ValueError", message="boom")))
    clock.advance(10)
    settle(engine, lease_one(engine), Succeeded(b"r" * 5_000))
    clock.advance(101)
    engine.sweep(KEEP)
    with pytest.raises(TaskNotFound):
        engine.details(task_id)
    engine.put([new(task_id=task_id, payload=b"small")])
    details = engine.details(task_id)
    assert (details.payload, details.result, details.failures) == (b"small", None, ())


def test_of_succeeded_tasks_only_the_newest_stay_whatever_their_age(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    tasks = []
    for _ in range(10):
        tasks.append(put())
        settle(engine, lease_one(engine), SUCCEEDED)
        clock.advance(1)
    assert engine.sweep(Retention(succeeded_max=4)).purged == 6
    assert [task.id for task in engine.get(tasks)] == tasks[-4:]


def test_the_limit_on_succeeded_tasks_spares_dead_ones(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = new.many(4)
    engine.put(tasks)
    settle_each(engine, lease(engine), DIES)
    assert engine.sweep(Retention(succeeded_max=0)).purged == 0
    assert engine.counts().dead == 4


def test_purging_goes_in_rounds_and_says_whether_more_is_left(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    engine.put(new.many(10))
    settle_each(engine, lease(engine), SUCCEEDED)
    clock.advance(101)
    first = engine.sweep(KEEP, limit=4)
    assert (first.purged, first.more) == (4, True)
    assert engine.sweep(KEEP, limit=4).purged == 4
    assert engine.sweep(KEEP, limit=4).purged == 2
    assert engine.sweep(KEEP, limit=4) == (0, 0, 0, 0, False)


def test_a_round_purges_no_more_than_its_limit_whatever_it_finds(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    engine.put(new.many(6))
    settle_each(engine, lease(engine, 2), SUCCEEDED)
    settle_each(engine, lease(engine, 2), DIES)
    engine.change([task.id for task in engine.find(Filter(state=State.PENDING)).tasks], Cancel())
    clock.advance(301)
    assert [engine.sweep(KEEP, limit=3).purged for _ in range(3)] == [3, 3, 0]


def test_sweeping_an_empty_engine_does_nothing(engine: LeasingEngine) -> None:
    assert engine.sweep(Retention()) == (0, 0, 0, 0, False)


def test_a_requeued_task_is_not_purged(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put()
    settle(engine, lease_one(engine), DIES)
    clock.advance(299)
    engine.requeue([task_id])
    clock.advance(100)
    assert engine.sweep(KEEP).purged == 0
    assert lease_one(engine).id == task_id


def test_failures_do_not_pile_up_over_requeues(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    for _ in range(FAILURES_KEPT + 5):
        settle(engine, lease_one(engine), DIES)
        engine.requeue([task_id])
    assert len(engine.details(task_id).failures) <= FAILURES_KEPT
