"""Who leases tasks with an url of their own, and how they stand in line with the others."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import closing

import pytest

from deferq.engines.base import LeasingEngine
from deferq.model.outcome import INTERRUPTED, SUCCEEDED
from deferq.model.retry import RetryPolicy
from deferq.model.settings import Pause, SetLimits
from deferq.model.state import State
from tests.support import START, US, FakeClock, TaskMaker, bury_stalled, lease, settle, settle_each, want

Put = Callable[..., int]
ONCE = RetryPolicy(max_attempts=1)
THERE = "/there"


def delivering(engine: LeasingEngine, free: int = 10, **options: object) -> list[int]:
    return [task.id for task in lease(engine, free, delivers=True, **options)]


def test_who_delivers_gets_tasks_with_an_url_and_the_others_do_not(engine: LeasingEngine, put: Put) -> None:
    delivered = put(url=THERE)
    assert lease(engine) == []
    (leased,) = lease(engine, delivers=True)
    assert (leased.id, leased.url) == (delivered, THERE)


def test_who_delivers_gets_both_kinds_in_the_order_of_the_queue(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = [
        new(priority=priority, in_s=-in_s, url=url)
        for priority in (2, 1, 0)
        for in_s in (9, 5, 1)
        for url in (None, THERE, None, THERE)
    ]
    engine.put(random.Random(5).sample(tasks, len(tasks)))
    in_order = [task.id for task in tasks]
    assert delivering(engine, 5) == in_order[:5]
    assert delivering(engine, 5, ahead=6) == in_order[5:16]
    assert delivering(engine, 50) == in_order[16:]


def test_a_lane_that_is_deep_in_both_kinds_is_leased_in_order(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = [new(url=THERE if number % 3 else None) for number in range(120)]
    engine.put(tasks)
    assert delivering(engine, 0, ahead=50) == [task.id for task in tasks[:50]]
    assert delivering(engine, 70) == [task.id for task in tasks[50:]]


def test_many_queues_share_whatever_kind_their_tasks_are(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put([new(f"q{number % 20:02}", url=THERE if number % 20 < 10 else None) for number in range(400)])
    leased = lease(engine, 60, delivers=True)
    assert set(Counter(task.queue for task in leased).values()) == {3}


def test_of_a_single_start_they_are_leased_into_free_slots_only(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(5, retry=ONCE, url=THERE))
    assert delivering(engine, 0, ahead=10) == []
    assert len(delivering(engine, 2, ahead=10)) == 2


def test_a_route_holds_for_them_too(engine: LeasingEngine, put: Put) -> None:
    put(url=THERE, route="us")
    mine = put(url=THERE, route="eu")
    assert delivering(engine, route="eu") == [mine]


def test_a_paused_queue_gives_none(engine: LeasingEngine, put: Put) -> None:
    put("mail", url=THERE)
    engine.change_queues([("mail", Pause())])
    assert delivering(engine) == []


def test_whoever_delivers_learns_when_the_next_one_is_due_and_the_others_need_not(
    engine: LeasingEngine, put: Put
) -> None:
    put(url=THERE, in_s=60)
    assert engine.turn((), want(delivers=True)).next_due == START + 60 * US


def test_limits_count_both_kinds_together(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.change_queues([("mail", SetLimits({"max_concurrent": 3}))])
    engine.put([new("mail", url=THERE if number % 2 else None) for number in range(10)])
    leased = lease(engine, 10, delivers=True)
    assert len(leased) == 3
    assert lease(engine) == []
    settle_each(engine, leased, SUCCEEDED)
    assert len(delivering(engine, 10)) == 3


def test_the_rate_of_a_queue_holds_them_back_and_says_for_how_long(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    engine.change_queues([("mail", SetLimits({"rate": "1/s", "bucket_size": 2}))])
    engine.put(new.many(5, "mail", url=THERE))
    turn = engine.turn((), want(10, delivers=True))
    assert len(turn.leased) == 2
    assert turn.next_due == START + US
    clock.advance(1)
    assert len(delivering(engine)) == 1


def test_who_waits_for_a_place_is_rung_for_when_one_is_free_for_a_delivery(
    engine: LeasingEngine, new: TaskMaker
) -> None:
    engine.change_queues([("mail", SetLimits({"max_concurrent": 1}))])
    engine.put(new.many(2, "mail", url=THERE))
    (leased,) = lease(engine, 10, delivers=True)
    with closing(engine.bell(1)) as bell:
        settle(engine, leased, SUCCEEDED)
        assert bell.wait(0)


@pytest.mark.parametrize("urgent", [{"priority": 1}, {"in_s": -5}])
def test_a_hurry_takes_nothing_that_a_delivery_comes_before(
    engine: LeasingEngine, put: Put, urgent: dict[str, float]
) -> None:
    put()
    settle_each(engine, lease(engine, 1), SUCCEEDED)
    put()
    first = put(url=THERE, **urgent)
    hurried = engine.turn((), want(1, delivers=True)._replace(hurry=True)).leased
    assert [task.id for task in hurried] == [first]


def test_a_hurry_of_who_does_not_deliver_passes_them_by(engine: LeasingEngine, put: Put) -> None:
    put()
    settle_each(engine, lease(engine, 1), SUCCEEDED)
    put(url=THERE, priority=1)
    called = put()
    assert [task.id for task in engine.turn((), want(1)._replace(hurry=True)).leased] == [called]


def test_given_back_stalled_or_failed_they_wait_for_a_deliverer_again(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    task_id = put(url=THERE)
    (leased,) = lease(engine, delivers=True)
    settle(engine, leased, INTERRUPTED)
    assert lease(engine) == []
    assert delivering(engine) == [task_id]
    clock.advance(31)
    assert [task.id for task in bury_stalled(engine)] == [task_id]
    clock.advance(3600)
    assert lease(engine) == []
    assert delivering(engine) == [task_id]
    assert engine.get([task_id])[0].state is State.LEASED
