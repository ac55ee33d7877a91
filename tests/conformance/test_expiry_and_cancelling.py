"""Tasks that end without having run, and tasks that are moved or deleted by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deferq.engines.base import Cancel, Delete, LeasingEngine, Reschedule, Retention
from deferq.errors import TaskNotFound
from deferq.model.outcome import SUCCEEDED, Cancelled, ErrorText, Failed, Succeeded
from deferq.model.state import State
from tests.support import START, US, FakeClock, TaskMaker, lease, lease_one, settle

Put = Callable[..., int]
FAILED = Failed(error=ErrorText(error_type="ValueError", message="boom"))


def test_a_pending_task_expires_when_its_time_is_over(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put(expires_in_s=60)
    clock.advance(59)
    assert engine.sweep(Retention()).expired == 0
    clock.advance(2)
    assert engine.sweep(Retention()).expired == 1
    (task,) = engine.get([task_id])
    assert (task.state, task.reason, task.finished_at) == (State.CANCELLED, "expired", START + 61 * US)
    assert lease(engine) == []


def test_a_task_can_expire_before_it_is_due(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put(in_s=600, expires_in_s=60)
    clock.advance(61)
    engine.sweep(Retention())
    assert engine.get([task_id])[0].state is State.CANCELLED


def test_a_task_without_expiry_waits_for_ever(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put()
    clock.advance(10 * 365 * 86_400)
    assert engine.sweep(Retention()).expired == 0
    assert lease_one(engine).id == task_id


def test_a_leased_task_does_not_expire_in_the_store(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    put(expires_in_s=60)
    leased = lease_one(engine)
    clock.advance(120)
    assert engine.sweep(Retention()).expired == 0
    assert settle(engine, leased, SUCCEEDED).lost == ()


def test_a_task_that_expired_unswept_is_leased_so_that_its_holder_can_say_so(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    task_id = put(expires_in_s=60)
    clock.advance(120)
    leased = lease_one(engine)
    assert leased.expires_at == START + 60 * US
    settle(engine, leased, Cancelled(reason="expired"))
    assert engine.get([task_id])[0].reason == "expired"


def test_a_task_that_waits_for_a_retry_can_expire(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put(expires_in_s=60)
    settle(engine, lease_one(engine), FAILED)
    clock.advance(61)
    assert engine.sweep(Retention()).expired == 1
    assert engine.get([task_id])[0].attempts == 1


def test_expired_tasks_are_swept_in_portions(engine: LeasingEngine, new: TaskMaker, clock: FakeClock) -> None:
    engine.put(new.many(5, expires_in_s=1))
    clock.advance(2)
    first = engine.sweep(Retention(), limit=2)
    assert (first.expired, first.more) == (2, True)
    swept = first.expired
    while first.more:
        first = engine.sweep(Retention(), limit=2)
        swept += first.expired
    assert swept == 5
    assert engine.counts().cancelled == 5


def test_a_pending_task_is_cancelled_at_once(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put(in_s=60)
    clock.advance(1)
    assert engine.change([task_id], Cancel("no longer needed")) == [task_id]
    (task,) = engine.get([task_id])
    assert (task.state, task.reason, task.finished_at) == (State.CANCELLED, "no longer needed", START + US)
    clock.advance(60)
    assert lease(engine) == []


def test_the_cancellation_of_a_leased_task_is_stored_and_its_holder_learns_of_it_at_renewal(
    engine: LeasingEngine, new: TaskMaker
) -> None:
    engine.put(new.many(2))
    first, second = lease(engine, 2)
    assert engine.change([first.id], Cancel()) == [first.id]
    (task,) = engine.get([first.id])
    assert (task.state, task.cancel_requested) == (State.LEASED, True)
    lost, to_cancel = engine.renew([first, second], START + 60 * US)
    assert (lost, [lease.id for lease in to_cancel]) == ([], [first.id])


def test_a_leased_task_with_a_cancellation_may_still_succeed(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    leased = lease_one(engine)
    engine.change([task_id], Cancel())
    settle(engine, leased, Succeeded(b"done"))
    assert engine.get([task_id])[0].state is State.SUCCEEDED


def test_the_holder_of_a_task_can_let_its_cancellation_take_effect(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    leased = lease_one(engine)
    engine.change([task_id], Cancel())
    settle(engine, leased._replace(cancel_requested=True), FAILED)
    assert engine.get([task_id])[0].state is State.CANCELLED


def test_finished_tasks_cannot_be_cancelled(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    settle(engine, lease_one(engine), SUCCEEDED)
    assert engine.change([task_id], Cancel()) == []
    assert engine.get([task_id])[0].state is State.SUCCEEDED


def test_cancelling_many_tells_which_ones_it_reached(engine: LeasingEngine, put: Put) -> None:
    done = put()
    settle(engine, lease_one(engine), SUCCEEDED)
    held = put()
    lease_one(engine)
    waiting = put()
    assert set(engine.change([done, held, waiting, 42], Cancel())) == {held, waiting}


def test_a_pending_task_can_be_rescheduled_to_now(engine: LeasingEngine, put: Put) -> None:
    task_id = put(in_s=3_600)
    assert engine.change([task_id], Reschedule(START)) == [task_id]
    (task,) = engine.get([task_id])
    assert (task.eta, task.leasable_at) == (START, START)
    assert lease_one(engine).id == task_id


def test_a_ready_task_can_be_rescheduled_to_later(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put()
    engine.change([task_id], Reschedule(START + 60 * US))
    assert lease(engine) == []
    clock.advance(60)
    assert lease_one(engine).id == task_id


def test_a_task_that_never_ran_is_first_due_when_it_was_rescheduled_to(engine: LeasingEngine, put: Put) -> None:
    """Its age counts from there: one that was put off for a day must not die of old age at its first failure."""
    task_id = put()
    engine.change([task_id], Reschedule(START + 86_400 * US))
    assert engine.get([task_id])[0].first_due == START + 86_400 * US


def test_a_task_that_has_failed_keeps_its_age_when_rescheduled(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    settle(engine, lease_one(engine), FAILED)
    engine.change([task_id], Reschedule(START + 60 * US))
    assert engine.get([task_id])[0].first_due == START


def test_leased_and_finished_tasks_cannot_be_rescheduled(engine: LeasingEngine, put: Put) -> None:
    done = put()
    settle(engine, lease_one(engine), SUCCEEDED)
    held = put()
    leased = lease_one(engine)
    assert engine.change([done, held], Reschedule(START + 60 * US)) == []
    assert engine.get([held])[0].leasable_at == leased.leased_until


def test_a_rescheduled_task_still_expires(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put(expires_in_s=60)
    engine.change([task_id], Reschedule(START + 600 * US))
    clock.advance(61)
    assert engine.sweep(Retention()).expired == 1


def test_a_pending_task_can_be_deleted_with_all_its_traces(engine: LeasingEngine, put: Put) -> None:
    task_id = put(payload=b"x" * 5_000)
    settle(engine, lease_one(engine), FAILED)
    assert engine.change([task_id], Delete()) == [task_id]
    assert engine.get([task_id]) == []
    with pytest.raises(TaskNotFound):
        engine.details(task_id)


def test_a_finished_task_can_be_deleted(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    settle(engine, lease_one(engine), Succeeded(b"r" * 5_000))
    assert engine.change([task_id], Delete()) == [task_id]
    assert engine.counts().succeeded == 0


def test_the_id_of_a_deleted_task_brings_nothing_of_it_back(engine: LeasingEngine, put: Put, new: TaskMaker) -> None:
    task_id = put("old", payload=b"x" * 5_000)
    settle(engine, lease_one(engine), FAILED)
    engine.change([task_id], Delete())
    engine.put([new("fresh", task_id=task_id, payload=b"small")])
    details = engine.details(task_id)
    assert (details.payload, details.result, details.failures) == (b"small", None, ())
    assert [task.queue for task in lease(engine)] == ["fresh"]


def test_a_leased_task_cannot_be_deleted(engine: LeasingEngine, put: Put) -> None:
    held, waiting = put(), put(in_s=60)
    lease_one(engine)
    assert engine.change([held, waiting], Delete()) == [waiting]
    assert engine.get([held])[0].state is State.LEASED


def test_purging_a_queue_deletes_its_pending_tasks_and_no_others(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(3, "mail"))
    held = lease_one(engine)
    engine.put([*new.many(3, "mail", in_s=60), *new.many(2, "index")])
    assert engine.purge("mail") == 5
    assert engine.purge("mail") == 0
    assert engine.get([held.id])[0].state is State.LEASED
    assert len(lease(engine)) == 2


def test_purging_goes_in_portions(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(5))
    assert [engine.purge("default", limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_purging_an_unknown_queue_deletes_nothing(engine: LeasingEngine, put: Put) -> None:
    put()
    assert engine.purge("unheard-of") == 0
