"""What a settlement leaves behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deferq.engines.base import LeasingEngine
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, Cancelled, ErrorText, Failed, Retried, Snoozed, Succeeded
from deferq.model.retry import RetryPolicy
from deferq.model.state import State
from tests.support import (
    START,
    US,
    FakeClock,
    TaskMaker,
    bury_stalled,
    lease,
    lease_one,
    settle,
    settle_each,
    settlement,
    want,
)

Put = Callable[..., int]
BOOM = ErrorText(error_type="ValueError", message="boom", traceback="Traceback: boom")
FAILED = Failed(error=BOOM)
PATIENT = RetryPolicy(min_backoff_s=10, jitter=False)


def test_a_task_that_returned_has_succeeded(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put()
    leased = lease_one(engine)
    clock.advance(2)
    assert settle(engine, leased, SUCCEEDED).lost == ()
    (task,) = engine.get([task_id])
    assert task.state is State.SUCCEEDED
    assert (task.attempts, task.starts, task.finished_at, task.reason) == (1, 1, START + 2 * US, None)
    assert lease(engine) == []


@pytest.mark.parametrize("size", [1, 1_000, 1_025, 50_000])
def test_the_result_of_a_task_is_kept(engine: LeasingEngine, put: Put, size: int) -> None:
    task_id = put()
    settle(engine, lease_one(engine), Succeeded(b"r" * size))
    assert engine.details(task_id).result == b"r" * size


def test_a_task_that_returned_nothing_has_no_result(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    settle(engine, lease_one(engine), SUCCEEDED)
    assert engine.details(task_id).result is None


def test_a_failed_task_is_pending_again_after_its_backoff(engine: LeasingEngine, put: Put) -> None:
    task_id = put(retry=PATIENT)
    settle(engine, lease_one(engine), FAILED)
    (task,) = engine.get([task_id])
    assert task.state is State.PENDING
    assert (task.eta, task.leasable_at) == (START + 10 * US, START + 10 * US)
    assert (task.attempts, task.starts, task.reason, task.finished_at) == (1, 1, "failed", None)
    assert task.first_due == START


def test_a_task_that_has_spent_its_attempts_is_dead_and_kept(engine: LeasingEngine, put: Put) -> None:
    task_id = put(retry=RetryPolicy(max_attempts=2, min_backoff_s=0))
    settle(engine, lease_one(engine), FAILED)
    settle(engine, lease_one(engine), FAILED)
    (task,) = engine.get([task_id])
    assert (task.state, task.attempts) == (State.DEAD, 2)
    assert task.reason is not None
    assert "attempts spent" in task.reason
    assert engine.details(task_id).payload is not None


def test_a_permanent_failure_is_dead_at_once(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    settle(engine, lease_one(engine), Failed(error=BOOM, permanent=True, reason="permanent"))
    (task,) = engine.get([task_id])
    assert (task.state, task.attempts, task.reason) == (State.DEAD, 1, "permanent")


def test_a_failed_attempt_is_kept_for_people_to_read(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    settle(engine, lease_one(engine), FAILED)
    (failure,) = engine.details(task_id).failures
    assert (failure.attempt, failure.at, failure.kind) == (1, START, "failed")
    assert (failure.error_type, failure.message, failure.traceback) == ("ValueError", "boom", "Traceback: boom")


def test_failures_stay_with_a_task_that_succeeds_in_the_end(engine: LeasingEngine, put: Put) -> None:
    task_id = put(retry=RetryPolicy(min_backoff_s=0))
    settle(engine, lease_one(engine), FAILED)
    settle(engine, lease_one(engine), SUCCEEDED)
    assert [failure.attempt for failure in engine.details(task_id).failures] == [1]
    assert engine.get([task_id])[0].attempts == 2


def test_the_last_twenty_failures_of_a_task_are_kept_in_order(engine: LeasingEngine, put: Put) -> None:
    task_id, other = put(retry=RetryPolicy(min_backoff_s=0, max_attempts=100)), put(in_s=0.001)
    for _ in range(25):
        settle(engine, lease_one(engine), FAILED)
    assert [failure.attempt for failure in engine.details(task_id).failures] == list(range(6, 26))
    assert engine.details(other).failures == ()


def test_a_task_that_asked_to_run_again_spends_an_attempt(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    settle(engine, lease_one(engine), Retried(after_s=30))
    (task,) = engine.get([task_id])
    assert (task.state, task.eta, task.attempts, task.starts) == (State.PENDING, START + 30 * US, 1, 1)


def test_a_snoozed_task_has_started_without_spending_an_attempt(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    settle(engine, lease_one(engine), Snoozed(after_s=60))
    (task,) = engine.get([task_id])
    assert (task.state, task.eta, task.attempts, task.starts) == (State.PENDING, START + 60 * US, 0, 1)


def test_a_task_given_back_unstarted_has_neither_start_nor_attempt(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    task_id = put()
    leased = lease_one(engine)
    clock.advance(5)
    settle(engine, leased, INTERRUPTED)
    (task,) = engine.get([task_id])
    assert (task.state, task.eta, task.attempts, task.starts) == (State.PENDING, START, 0, 0)
    assert lease_one(engine).attempt == 1


def test_a_task_settled_as_cancelled_keeps_the_reason_and_takes_its_start_back(engine: LeasingEngine, put: Put) -> None:
    task_id = put(expires_in_s=10)
    settle(engine, lease_one(engine), Cancelled(reason="expired"))
    (task,) = engine.get([task_id])
    assert (task.state, task.reason, task.attempts, task.starts) == (State.CANCELLED, "expired", 0, 0)
    assert task.finished_at == START


def test_a_group_may_hold_every_kind_of_outcome(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(5))
    leased = lease(engine)
    outcomes = [
        SUCCEEDED,
        FAILED,
        Failed(error=BOOM, permanent=True, reason="permanent"),
        INTERRUPTED,
        Cancelled(),
    ]
    group = [settlement(engine, task, outcome) for task, outcome in zip(leased, outcomes, strict=True)]
    assert engine.turn(group, None).lost == ()
    states = [task.state for task in engine.get([task.id for task in leased])]
    assert states == [State.SUCCEEDED, State.PENDING, State.DEAD, State.PENDING, State.CANCELLED]


def test_tasks_of_different_leases_can_be_settled_together(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = new.many(6)
    engine.put(tasks)
    leased = [lease_one(engine) for _ in tasks]
    assert settle_each(engine, leased, SUCCEEDED).lost == ()
    assert {task.state for task in engine.get([task.id for task in tasks])} == {State.SUCCEEDED}


def test_a_turn_settles_and_leases_in_one_stroke(engine: LeasingEngine, new: TaskMaker) -> None:
    first, second = new.many(2)
    engine.put([first, second])
    turn = engine.turn([settlement(engine, lease_one(engine), SUCCEEDED)], want(1))
    assert [task.id for task in turn.leased] == [second.id]
    assert engine.get([first.id])[0].state is State.SUCCEEDED


def test_follow_ups_are_stored_with_their_settlement(engine: LeasingEngine, put: Put, new: TaskMaker) -> None:
    put()
    follow_ups = [new("mail", in_s=30), new(name="next")]
    settle(engine, lease_one(engine), SUCCEEDED, then=follow_ups)
    assert [task.state for task in engine.get([task.id for task in follow_ups])] == [State.PENDING] * 2
    assert [task.id for task in lease(engine)] == [follow_ups[1].id]


def test_a_follow_up_to_a_new_queue_makes_the_queue(engine: LeasingEngine, put: Put, new: TaskMaker) -> None:
    put()
    settle(engine, lease_one(engine), SUCCEEDED, then=[new("mail"), new("index")])
    assert [queue.name for queue in engine.queues()] == ["default", "index", "mail"]
    assert [queue.ready for queue in engine.counts().queues] == [0, 1, 1]


def test_a_large_follow_up_keeps_its_payload(engine: LeasingEngine, put: Put, new: TaskMaker) -> None:
    put()
    follow_up = new(payload=b"y" * 20_000)
    settle(engine, lease_one(engine), SUCCEEDED, then=[follow_up])
    assert lease_one(engine).payload == follow_up.payload


def test_follow_ups_of_a_lost_lease_are_not_stored(
    engine: LeasingEngine, put: Put, new: TaskMaker, clock: FakeClock
) -> None:
    put(retry=RetryPolicy(min_backoff_s=0))
    late = lease_one(engine)
    clock.advance(31)
    bury_stalled(engine)
    lease_one(engine)
    follow_up = new()
    assert settle(engine, late, SUCCEEDED, then=[follow_up]).lost == (late,)
    assert engine.get([follow_up.id]) == []


def test_follow_ups_of_a_repeated_settlement_are_not_stored_twice(
    engine: LeasingEngine, put: Put, new: TaskMaker
) -> None:
    put()
    follow_up = new()
    done = settlement(engine, lease_one(engine), SUCCEEDED, then=[follow_up])
    engine.turn([done], None)
    settle(engine, lease_one(engine), SUCCEEDED)
    engine.turn([done], None)
    assert engine.get([follow_up.id])[0].state is State.SUCCEEDED
    assert lease(engine) == []


def test_a_follow_up_whose_name_is_taken_is_not_stored_and_hurts_nobody(
    engine: LeasingEngine, put: Put, new: TaskMaker
) -> None:
    put()
    taken = put(name="occurrence-7", in_s=60)
    clash, fine = new(name="occurrence-7"), new()
    turn = settle(engine, lease_one(engine), SUCCEEDED, then=[clash, fine])
    assert turn.lost == ()
    assert [task.id for task in engine.get([taken, clash.id, fine.id])] == [taken, fine.id]


def test_a_follow_up_may_take_the_name_that_its_own_task_leaves_by_replacing(
    engine: LeasingEngine, put: Put, new: TaskMaker
) -> None:
    first = put(name="chain")
    follow_up = new(name="chain", if_exists="replace")
    settle(engine, lease_one(engine), SUCCEEDED, then=[follow_up])
    assert engine.get([follow_up.id])[0].name == "chain"
    assert engine.put([new(name="chain")])[0].id == follow_up.id
    assert engine.get([first])[0].state is State.SUCCEEDED


def test_a_follow_up_is_leased_by_the_turn_that_stores_it_or_by_the_next(
    engine: LeasingEngine, put: Put, new: TaskMaker
) -> None:
    put()
    follow_up = new()
    turn = engine.turn([settlement(engine, lease_one(engine), SUCCEEDED, then=[follow_up])], want(1))
    assert [task.id for task in turn.leased or lease(engine)] == [follow_up.id]


def test_settling_nothing_and_wanting_nothing_is_fine(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put([new()])
    assert engine.turn((), None) == (START, (), [], None)
