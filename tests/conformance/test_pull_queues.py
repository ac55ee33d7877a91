"""Who leases the tasks of pull queues, and what whoever pulls asks an engine for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deferq.engines.base import Delete, LeasingEngine
from deferq.model.outcome import SUCCEEDED
from deferq.model.queue import Queue
from deferq.model.settings import Declare, Pause, Resume
from deferq.model.state import State
from tests.support import FakeClock, TaskMaker, bury_stalled, lease, settle, want

Put = Callable[..., int]
PULLED = Declare(Queue(pull=True))


@pytest.fixture
def pulled(engine: LeasingEngine) -> LeasingEngine:
    """An engine whose queue "pull" is pulled from."""
    engine.change_queues([("pull", PULLED)])
    return engine


def ids(engine: LeasingEngine, free: int = 10, **options: object) -> list[int]:
    return [task.id for task in lease(engine, free, **options)]


@pytest.mark.parametrize("options", [{}, {"queues": ["pull"]}, {"delivers": True}, {"routes": (None, "a")}])
def test_workers_never_lease_from_a_pull_queue(pulled: LeasingEngine, put: Put, options: dict[str, object]) -> None:
    put("pull")
    put("pull", route="a")
    beside = None if "queues" in options else put("push")
    assert ids(pulled, **options) == ([] if beside is None else [beside])


def test_nor_by_the_short_way_that_follows_a_busy_queue(engine: LeasingEngine, put: Put) -> None:
    first = put("mail")
    assert ids(engine, 1) == [first]
    put("mail")
    engine.change_queues([("mail", PULLED)])
    assert engine.turn((), want(1)._replace(hurry=True)).leased == []


def test_whoever_pulls_gets_these_and_no_others_in_due_order(pulled: LeasingEngine, put: Put, new: TaskMaker) -> None:
    put("push")
    tasks = [new("pull", in_s=-in_s) for in_s in (5, 9, 1)]
    pulled.put(tasks)
    assert ids(pulled, pulls=True) == [tasks[1].id, tasks[0].id, tasks[2].id]
    assert ids(pulled, pulls=True) == []


def test_it_can_ask_for_one_route_or_for_tasks_without_one(pulled: LeasingEngine, put: Put) -> None:
    a, plain, b = put("pull", route="a"), put("pull"), put("pull", route="b")
    assert ids(pulled, pulls=True, routes=("b",)) == [b]
    assert ids(pulled, pulls=True, routes=(None,)) == [plain]
    assert ids(pulled, pulls=True, routes=("a",)) == [a]


def test_tasks_with_an_url_are_pulled_by_who_asks_for_them_too(pulled: LeasingEngine, put: Put) -> None:
    there = put("pull", url="/there")
    assert ids(pulled, pulls=True) == []
    assert ids(pulled, pulls=True, delivers=True) == [there]


def test_a_paused_pull_queue_gives_nothing(pulled: LeasingEngine, put: Put) -> None:
    task = put("pull")
    pulled.change_queues([("pull", Pause())])
    assert ids(pulled, pulls=True) == []
    pulled.change_queues([("pull", Resume())])
    assert ids(pulled, pulls=True) == [task]


def test_a_queue_that_is_pushed_from_again_is_served_by_workers(pulled: LeasingEngine, put: Put) -> None:
    task = put("pull")
    pulled.change_queues([("pull", Declare(Queue()))])
    assert ids(pulled, pulls=True) == []
    assert ids(pulled) == [task]


def test_leases_that_are_over_are_found_by_queue(pulled: LeasingEngine, put: Put, clock: FakeClock) -> None:
    pull, push = put("pull"), put("push")
    lease(pulled, pulls=True)
    lease(pulled)
    assert pulled.stalled(queue="pull") == []
    clock.advance(31)
    assert [task.id for task in pulled.stalled(queue="pull")] == [pull]
    assert [task.id for task in pulled.stalled(queue="push")] == [push]
    assert pulled.stalled(queue="other") == []
    assert {task.id for task in pulled.stalled()} == {pull, push}


def test_a_limit_counts_the_tasks_of_the_queue(pulled: LeasingEngine, put: Put, clock: FakeClock) -> None:
    for _ in range(5):
        put("push")
        put("pull")
    lease(pulled, pulls=True)
    lease(pulled)
    clock.advance(31)
    assert {task.queue for task in pulled.stalled(3, queue="pull")} == {"pull"}
    assert len(pulled.stalled(3, queue="pull")) == 3


def test_a_pulled_task_whose_lease_was_over_can_be_pulled_again(
    pulled: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    task = put("pull")
    lease(pulled, pulls=True)
    clock.advance(31)
    bury_stalled(pulled)
    clock.advance(3600)
    (leased,) = lease(pulled, pulls=True)
    assert (leased.id, leased.starts) == (task, 2)


# ---- who has a name


def test_names_are_looked_up_by_queue(engine: LeasingEngine, put: Put) -> None:
    one, two, other = put("a", name="x"), put("a", name="y"), put("b", name="x")
    assert engine.holders("a", ["y", "nobody", "x"]) == [two, None, one]
    assert engine.holders("b", ["x"]) == [other]
    assert engine.holders("c", ["x"]) == [None]
    assert engine.holders("a", []) == []


def test_a_tombstone_has_its_name_until_its_time_is_over(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    ran, deleted = put("a", name="ran"), put("a", name="deleted")
    engine.change([deleted], Delete())
    (leased,) = lease(engine)
    settle(engine, leased, SUCCEEDED)
    assert engine.get([ran])[0].state is State.SUCCEEDED
    assert engine.holders("a", ["ran", "deleted"]) == [ran, deleted]
    clock.advance(24 * 3600 + 1)
    assert engine.holders("a", ["ran", "deleted"]) == [None, None]
