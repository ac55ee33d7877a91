"""Tasks that come back: requeued by a person, or parked until a worker knows their target."""

from __future__ import annotations

from collections.abc import Callable

from deferq.engines.base import Cancel, LeasingEngine, Parking, Retention
from deferq.model.outcome import SUCCEEDED, ErrorText, Failed, Parked
from deferq.model.retry import RetryPolicy
from deferq.model.state import State
from tests.support import START, US, FakeClock, TaskMaker, lease, lease_one, settle, settle_each

Put = Callable[..., int]
ERROR = ErrorText(error_type="TargetUnknown", message="no such function")
DIES = Failed(error=ERROR, permanent=True, reason="permanent")
PARKED = Parked(error=ERROR)


def test_a_dead_task_can_be_requeued(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put()
    settle(engine, lease_one(engine), DIES)
    clock.advance(100)
    assert engine.requeue([task_id]) == [task_id]
    (task,) = engine.get([task_id])
    assert (task.state, task.eta, task.leasable_at) == (State.PENDING, clock.now, clock.now)
    assert (task.attempts, task.parks, task.finished_at, task.cancel_requested) == (0, 0, None, False)
    assert lease_one(engine).id == task_id


def test_a_cancelled_task_can_be_requeued(engine: LeasingEngine, put: Put) -> None:
    task_id = put(in_s=600)
    engine.change([task_id], Cancel())
    assert engine.requeue([task_id]) == [task_id]
    assert lease_one(engine).id == task_id


def test_an_expiry_that_has_passed_does_not_end_a_requeued_task_again_and_a_later_one_stays(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    soon, later = (new()._replace(expires_at=START + seconds * US) for seconds in (50, 500))
    engine.put([soon, later])
    settle_each(engine, lease(engine), DIES)
    clock.advance(100)
    engine.requeue([soon.id, later.id])
    assert [task.expires_at for task in engine.get([soon.id, later.id])] == [None, later.expires_at]


def test_a_requeued_task_has_all_its_attempts_again(engine: LeasingEngine, put: Put) -> None:
    failed = Failed(error=ERROR)
    task_id = put(retry=RetryPolicy(max_attempts=2, min_backoff_s=0))
    for _ in range(2):
        settle(engine, lease_one(engine), failed)
    engine.requeue([task_id])
    settle(engine, lease_one(engine), failed)
    assert engine.get([task_id])[0].state is State.PENDING


def test_the_age_of_a_requeued_task_counts_from_now(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put()
    settle(engine, lease_one(engine), DIES)
    clock.advance(86_400)
    engine.requeue([task_id])
    assert lease_one(engine).first_due == clock.now


def test_a_requeued_task_keeps_the_failures_of_its_former_life(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    settle(engine, lease_one(engine), DIES)
    engine.requeue([task_id])
    assert len(engine.details(task_id).failures) == 1


def test_a_task_that_expired_does_not_expire_again_when_requeued(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    task_id = put(expires_in_s=10)
    clock.advance(20)
    engine.sweep(Retention())
    engine.requeue([task_id])
    assert engine.sweep(Retention()).expired == 0
    assert lease_one(engine).expires_at is None


def test_a_requeued_task_is_not_cancelled_by_its_old_request(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    leased = lease_one(engine)
    engine.change([task_id], Cancel())
    settle(engine, leased._replace(cancel_requested=True), Failed(error=ERROR))
    engine.requeue([task_id])
    assert not lease_one(engine).cancel_requested


def test_only_dead_and_cancelled_tasks_are_requeued(engine: LeasingEngine, put: Put) -> None:
    succeeded = put()
    settle(engine, lease_one(engine), SUCCEEDED)
    held = put()
    leased = lease_one(engine)
    waiting, dead = put(in_s=60), put()
    settle(engine, lease_one(engine), DIES)
    assert engine.requeue([succeeded, held, waiting, dead, 42]) == [dead]
    assert settle(engine, leased, SUCCEEDED).lost == ()


def test_a_requeued_task_is_no_longer_counted_as_dead(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    settle(engine, lease_one(engine), DIES)
    engine.requeue([task_id])
    counts = engine.counts()
    assert (counts.dead, counts.queues[0].ready) == (0, 1)


def test_a_task_whose_target_is_unknown_is_parked_without_spending_an_attempt(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    settle(engine, lease_one(engine), PARKED)
    (task,) = engine.get([task_id])
    assert (task.state, task.reason, task.parks) == (State.PENDING, "parked", 1)
    assert (task.attempts, task.starts, task.eta) == (0, 0, START + 10 * US)
    assert [failure.kind for failure in engine.details(task_id).failures] == ["parked"]


def test_a_parked_task_is_tried_again_after_a_growing_time(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put()
    waits = []
    for _ in range(9):
        settle(engine, lease_one(engine), PARKED)
        waits.append((engine.get([task_id])[0].eta - clock.now) // US)
        clock.advance(waits[-1])
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_a_parked_task_that_finds_its_worker_starts_afresh(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put()
    settle(engine, lease_one(engine), PARKED)
    clock.advance(10)
    leased = lease_one(engine)
    assert (leased.parks, leased.attempt, leased.starts) == (1, 1, 1)
    settle(engine, leased, SUCCEEDED)
    assert engine.get([task_id])[0].parks == 0


def test_a_new_release_wakes_parked_tasks(engine: LeasingEngine, put: Put) -> None:
    parked = put()
    settle(engine, lease_one(engine), PARKED)
    scheduled = put(in_s=60)
    assert engine.wake() == 1
    assert lease_one(engine).id == parked
    assert engine.get([scheduled])[0].eta == START + 60 * US


def test_waking_reaches_every_parked_task_in_portions(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(5))
    settle_each(engine, lease(engine), PARKED)
    assert [engine.wake(limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert len(lease(engine)) == 5


def test_a_worker_wakes_those_parked_tasks_that_only_it_can_run(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    left = Parked(error=ERROR, reason="left to you")
    ours, routed, elsewhere, other_route, unknown = (
        new("mail"), new("mail", route="fast"), new("video"), new("mail", route="slow"), new("mail"),
    )  # fmt: skip
    engine.put([ours, routed, elsewhere, other_route, unknown])
    for task in lease(engine):
        settle(engine, task, PARKED if task.id == unknown.id else left)
    clock.advance(1)
    assert engine.wake(only=Parking("left to you", ("mail",), (None, "fast"))) == 2
    assert {task.id for task in lease(engine)} == {ours.id, routed.id}
    assert engine.wake(only=Parking("left to you", delivers=True)) == 2
    assert {task.id for task in lease(engine)} == {elsewhere.id, other_route.id}
    assert engine.wake(only=Parking("left to you")) == 0
    assert engine.wake() == 1


def test_whoever_delivers_nothing_does_not_wake_what_is_to_be_delivered(engine: LeasingEngine, new: TaskMaker) -> None:
    task = new(url="https://shop.example/run")
    engine.put([task])
    settle_each(engine, lease(engine, delivers=True), Parked(error=ERROR, reason="left to you"))
    assert engine.wake(only=Parking("left to you")) == 0
    assert engine.wake(only=Parking("left to you", delivers=True)) == 1


def test_waking_with_nothing_parked_wakes_nothing(engine: LeasingEngine, put: Put) -> None:
    put(in_s=60)
    assert engine.wake() == 0
