"""Who runs a task that was pushed takes its lease up first, and of many deliveries of one lease a single one may."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from deferq.engines.answers import TakeUp
from deferq.engines.base import Delete, LeasingEngine
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, ErrorText, Failed, Outcome, Snoozed
from deferq.model.retry import RetryPolicy
from deferq.model.state import State
from tests.support import US, FakeClock, bury_stalled, lease, lease_one, settle

Put = Callable[..., int]
AT_ONCE = RetryPolicy(min_backoff_s=0)
DIED = Failed(error=ErrorText(error_type="ValueError", message="boom"), permanent=True, reason="permanent")


def take_up(engine: LeasingEngine, task_id: int, lease_id: int) -> TakeUp:
    (answer,) = engine.take_up([(task_id, lease_id)])
    return answer


def test_a_lease_is_taken_up_once(engine: LeasingEngine, put: Put) -> None:
    put()
    held = lease_one(engine)
    assert take_up(engine, held.id, held.lease_id) is TakeUp.TAKEN
    assert take_up(engine, held.id, held.lease_id) is TakeUp.TAKEN_BEFORE
    assert take_up(engine, held.id, held.lease_id) is TakeUp.TAKEN_BEFORE


def test_taking_up_changes_nothing_else(engine: LeasingEngine, put: Put) -> None:
    put()
    held = lease_one(engine)
    before = engine.get([held.id])
    take_up(engine, held.id, held.lease_id)
    assert engine.get([held.id]) == before
    assert settle(engine, held, SUCCEEDED).lost == ()
    assert engine.get([held.id])[0].state is State.SUCCEEDED


def test_somebody_elses_lease_cannot_be_taken_up(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    assert take_up(engine, task_id, 5) is TakeUp.NOT_HELD
    held = lease_one(engine)
    assert take_up(engine, task_id, held.lease_id + 1) is TakeUp.NOT_HELD
    assert take_up(engine, task_id + 1, held.lease_id) is TakeUp.NOT_HELD
    assert take_up(engine, task_id, held.lease_id) is TakeUp.TAKEN


@pytest.mark.parametrize("outcome", [SUCCEEDED, DIED], ids=["succeeded", "dead"])
def test_a_task_that_has_ended_is_finished_under_whichever_lease(
    engine: LeasingEngine, put: Put, outcome: Outcome
) -> None:
    put()
    held = lease_one(engine)
    settle(engine, held, outcome)
    assert take_up(engine, held.id, held.lease_id) is TakeUp.FINISHED
    assert take_up(engine, held.id, held.lease_id + 1) is TakeUp.FINISHED
    engine.change([held.id], Delete())
    assert take_up(engine, held.id, held.lease_id) is TakeUp.NOT_HELD


def test_a_lease_that_is_over_cannot_be_taken_up_until_it_is_renewed(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    put()
    held = lease_one(engine, lease_s=30)
    clock.advance(30)
    assert take_up(engine, held.id, held.lease_id) is TakeUp.NOT_HELD
    engine.renew([held], clock.now + 30 * US)
    assert take_up(engine, held.id, held.lease_id) is TakeUp.TAKEN
    clock.advance(30)
    assert take_up(engine, held.id, held.lease_id) is TakeUp.NOT_HELD


@pytest.mark.parametrize("outcome", [INTERRUPTED, Snoozed(after_s=0)], ids=["given back", "snoozed"])
def test_each_new_lease_can_be_taken_up_and_the_one_before_no_more(
    engine: LeasingEngine, put: Put, outcome: Outcome
) -> None:
    put()
    first = lease_one(engine)
    take_up(engine, first.id, first.lease_id)
    settle(engine, first, outcome)
    assert take_up(engine, first.id, first.lease_id) is TakeUp.NOT_HELD
    second = lease_one(engine)
    assert take_up(engine, first.id, first.lease_id) is TakeUp.NOT_HELD
    assert take_up(engine, second.id, second.lease_id) is TakeUp.TAKEN


def test_a_lease_that_was_taken_up_is_renewed_and_runs_out_as_any_other(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    put(retry=AT_ONCE)
    held = lease_one(engine, lease_s=30)
    take_up(engine, held.id, held.lease_id)
    clock.advance(20)
    assert engine.renew([held], clock.now + 30 * US) == ([], [])
    clock.advance(20)
    assert engine.stalled() == []
    clock.advance(11)
    assert [task.id for task in bury_stalled(engine)] == [held.id]
    assert lease_one(engine).attempts == 1


def test_every_lease_of_a_call_is_answered_for_itself_and_in_order(engine: LeasingEngine, put: Put) -> None:
    for _ in range(3):
        put()
    first, second, third = lease(engine, 3)
    settle(engine, second, SUCCEEDED)
    asked = [(third.id, third.lease_id), (second.id, 1), (third.id, third.lease_id), (first.id, 1), (9, 9)]
    assert engine.take_up(asked) == [
        TakeUp.TAKEN,
        TakeUp.FINISHED,
        TakeUp.TAKEN_BEFORE,
        TakeUp.NOT_HELD,
        TakeUp.NOT_HELD,
    ]
    assert engine.take_up([]) == []


def test_of_threads_that_take_up_the_same_leases_each_lease_goes_to_one(engine: LeasingEngine, put: Put) -> None:
    for _ in range(10):
        put()
    held = lease(engine, 10)
    answers: list[TakeUp] = []
    start = threading.Barrier(4)

    def take_all() -> None:
        start.wait()
        for task in held:
            answers.append(take_up(engine, task.id, task.lease_id))

    threads = [threading.Thread(target=take_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (answers.count(TakeUp.TAKEN), answers.count(TakeUp.TAKEN_BEFORE)) == (10, 30)
