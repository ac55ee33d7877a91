"""Which task comes first within a queue, and how queues share what is leased."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from deferq.engines.base import LeasingEngine, Reschedule
from deferq.model.outcome import INTERRUPTED, SUCCEEDED
from tests.support import START, US, FakeClock, TaskMaker, lease, lease_one, settle

Put = Callable[..., int]


def drain(engine: LeasingEngine, **options: object) -> list[int]:
    """Lease one by one until nothing is left."""
    order = []
    while leased := lease(engine, 1, **options):
        order.append(leased[0].id)
        settle(engine, leased[0], SUCCEEDED)
    return order


def test_a_higher_priority_is_served_first(engine: LeasingEngine, put: Put) -> None:
    low, normal, high = put(priority=-100), put(), put(priority=100)
    assert drain(engine) == [high, normal, low]


def test_within_a_priority_the_task_that_was_due_first_is_served_first(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    late, early = put(in_s=20), put(in_s=10)
    clock.advance(30)
    assert drain(engine) == [early, late]


def test_tasks_due_at_the_same_instant_are_served_by_id(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = new.many(20)
    engine.put(random.Random(3).sample(tasks, 20))
    assert drain(engine) == [task.id for task in tasks]


def test_a_batch_comes_in_the_order_of_the_queue(engine: LeasingEngine, put: Put) -> None:
    low, first, second, high = put(priority=-1), put(), put(), put(priority=1)
    assert [task.id for task in lease(engine, 4)] == [high, first, second, low]


def test_a_batch_that_is_cut_short_leaves_the_lowest_priority_behind(engine: LeasingEngine, new: TaskMaker) -> None:
    low, high = new.many(5, priority=1), new.many(5, priority=2)
    engine.put([*low, *high])
    assert [task.id for task in lease(engine, 7)] == [task.id for task in high + low[:2]]


def test_a_high_priority_that_is_not_due_yet_holds_nobody_up(engine: LeasingEngine, put: Put) -> None:
    put(priority=100, in_s=60)
    ready = put()
    assert lease_one(engine).id == ready


def test_a_task_given_back_takes_its_old_place(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    first = put()
    clock.advance(1)
    second = put()
    settle(engine, lease_one(engine), INTERRUPTED)
    assert drain(engine) == [first, second]


def test_a_rescheduled_task_stands_where_its_new_time_says(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    a, b, c = put(in_s=10), put(in_s=20), put(in_s=30)
    engine.change([c], Reschedule(START + 5 * US))
    engine.change([a], Reschedule(START + 25 * US))
    clock.advance(60)
    assert drain(engine) == [c, b, a]


@pytest.mark.parametrize("seed", range(5))
def test_any_mixture_comes_by_priority_then_time_then_id(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock, seed: int
) -> None:
    dice = random.Random(seed)
    tasks = [new(priority=dice.choice([-100, -1, 0, 1, 100]), in_s=dice.randrange(5)) for _ in range(60)]
    engine.put(dice.sample(tasks, len(tasks)))
    clock.advance(10)
    expected = sorted(tasks, key=lambda task: (-task.priority, task.eta, task.id))
    order: list[int] = []
    while leased := lease(engine, dice.randrange(1, 8)):
        order += [task.id for task in leased]
    assert order == [task.id for task in expected]


def test_queues_with_work_get_equal_shares(engine: LeasingEngine, new: TaskMaker) -> None:
    for queue in ("a", "b", "c"):
        engine.put(new.many(100 if queue == "a" else 10, queue))
    assert Counter(task.queue for task in lease(engine, 6)) == {"a": 2, "b": 2, "c": 2}


def test_a_high_priority_in_one_queue_takes_nothing_from_another(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(20, "a", priority=100))
    engine.put(new.many(20, "b", priority=-100))
    assert Counter(task.queue for task in lease(engine, 10)) == {"a": 5, "b": 5}


def test_the_lanes_of_a_queue_do_not_multiply_its_share(engine: LeasingEngine, new: TaskMaker) -> None:
    for priority in range(10):
        engine.put(new.many(5, "a", priority=priority))
    engine.put(new.many(20, "b"))
    assert Counter(task.queue for task in lease(engine, 10)) == {"a": 5, "b": 5}


def test_what_one_queue_leaves_over_fills_up_from_the_others(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(1, "a"))
    engine.put(new.many(50, "b"))
    assert Counter(task.queue for task in lease(engine, 10)) == {"a": 1, "b": 9}


def test_a_queue_that_waits_for_later_takes_no_share(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(10, "a", in_s=60))
    engine.put(new.many(10, "b"))
    assert Counter(task.queue for task in lease(engine, 8)) == {"b": 8}


def test_with_fewer_slots_than_queues_each_queue_comes_first_in_turn(engine: LeasingEngine, new: TaskMaker) -> None:
    for queue in ("a", "b", "c"):
        engine.put(new.many(10, queue))
    served = Counter(lease_one(engine, rotation=rotation).queue for rotation in range(6))
    assert served == {"a": 2, "b": 2, "c": 2}


def test_any_rotation_is_as_good_as_another(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(3, "a"))
    engine.put(new.many(3, "b"))
    assert len(lease(engine, 2, rotation=10**9)) == 2
    assert len(lease(engine, 10, rotation=7)) == 4


def test_many_queues_share_a_large_batch_without_leaving_slots_empty(engine: LeasingEngine, new: TaskMaker) -> None:
    for number in range(40):
        engine.put(new.many(number + 1, f"queue-{number}"))
    leased = lease(engine, 100, ahead=100, rotation=13)
    shares = Counter(task.queue for task in leased)
    assert len(leased) == 200
    assert len(shares) == 40
    assert all(shares[f"queue-{number}"] >= min(number + 1, 200 // 40) for number in range(40))
