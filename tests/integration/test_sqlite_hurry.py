"""An idle worker that was just woken leases the next task by one statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from deferq.engines.base import Cancel
from deferq.engines.sqlite import SqliteEngine
from deferq.engines.sqlite.statements import statements
from deferq.model.outcome import Succeeded
from deferq.model.retry import RetryPolicy
from deferq.model.settings import Pause, SetLimits
from deferq.model.task import Leased
from tests.support import US, FakeClock, TaskMaker, lease_one, settlement, want

ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def engine(tmp_path: Path, clock: FakeClock, new: TaskMaker) -> Iterator[SqliteEngine]:
    """An engine that has leased from the queue `default` before."""
    engine = SqliteEngine(tmp_path / "jobs.db", clock=clock)
    engine.put([new()])
    engine.turn([settlement(engine, lease_one(engine), Succeeded())], None)
    yield engine
    engine.close()


def hurried(engine: SqliteEngine, **options: object) -> list[Leased]:
    return engine.turn((), want(4, **options)._replace(hurry=True)).leased  # type: ignore[arg-type]


def test_one_task_comes_at_once_and_the_others_with_the_next_turn(engine: SqliteEngine, new: TaskMaker) -> None:
    tasks = [new(), new(), new("mail")]
    engine.put(tasks)

    assert [task.id for task in hurried(engine)] == [tasks[0].id]
    assert {task.id for task in engine.turn((), want(4)).leased} == {tasks[1].id, tasks[2].id}


def test_a_hurried_turn_says_to_look_again_at_once(engine: SqliteEngine, new: TaskMaker, clock: FakeClock) -> None:
    engine.put([new()])

    turn = engine.turn((), want(4)._replace(hurry=True))

    assert turn.next_due == turn.now


def test_the_task_is_whole_and_its_lease_counts_as_any_other(engine: SqliteEngine, new: TaskMaker) -> None:
    large = new(name="big", payload=b"x" * 5_000)
    engine.put([large])

    (leased,) = hurried(engine)

    assert (leased.payload, leased.name, leased.starts, leased.attempts) == (large.payload, "big", 1, 0)
    assert leased.leased_until == engine.now() + 30 * US
    assert engine.stalled() == []
    assert engine.turn([settlement(engine, leased, Succeeded())], None).lost == ()
    assert engine.get([large.id])[0].state.finished


def test_the_order_within_the_queue_is_kept(engine: SqliteEngine, new: TaskMaker, clock: FakeClock) -> None:
    late, early, single, urgent = new(), new(in_s=-20), new(in_s=-30, retry=ONCE), new(priority=5)
    engine.put([late, early, single, urgent])

    taken = [task.id for _ in range(4) for task in hurried(engine)]

    assert taken == [urgent.id, single.id, early.id, late.id]


def test_a_paused_queue_gives_nothing(engine: SqliteEngine, new: TaskMaker) -> None:
    engine.put([new()])
    engine.change_queues([("default", Pause())])

    assert hurried(engine) == []


def test_a_limited_queue_is_left_to_an_ordinary_turn(engine: SqliteEngine, new: TaskMaker) -> None:
    engine.put([new(), new(), new()])
    engine.change_queues([("default", SetLimits({"max_concurrent": 2}))])

    assert len(hurried(engine)) == 2
    assert hurried(engine) == []


def test_only_what_the_worker_serves_is_leased(engine: SqliteEngine, new: TaskMaker) -> None:
    engine.put([new(route="gpu")])

    assert hurried(engine, route="cpu") == []
    assert hurried(engine, queues=["mail"]) == []
    assert len(hurried(engine, route="gpu")) == 1
    engine.put([new()])
    assert len(hurried(engine, route="cpu")) == 1


def test_a_task_of_a_single_start_is_leased_by_those_it_is_routed_to(engine: SqliteEngine, new: TaskMaker) -> None:
    engine.put([new(route="gpu", retry=ONCE)])

    assert hurried(engine, route="cpu") == []
    assert len(hurried(engine, route="gpu")) == 1
    engine.put([new(retry=ONCE)])
    assert len(hurried(engine, route="cpu")) == 1


def test_what_is_not_due_or_gone_is_left(engine: SqliteEngine, new: TaskMaker) -> None:
    gone = new()
    engine.put([gone, new(in_s=60)])
    engine.change([gone.id], Cancel())

    assert hurried(engine) == []


def test_without_free_slots_hurry_takes_nothing(engine: SqliteEngine, new: TaskMaker) -> None:
    engine.put([new(retry=ONCE)])

    assert engine.turn((), want(0, ahead=5)._replace(hurry=True)).leased == []


def test_two_in_a_hurry_never_get_the_same_task(
    engine: SqliteEngine, new: TaskMaker, tmp_path: Path, clock: FakeClock
) -> None:
    other = SqliteEngine(tmp_path / "jobs.db", clock=clock)
    engine.put([new(), new(), new()])
    other.turn((), want(1))  # so that it knows the queue
    taken = [task.id for each in (engine, other, engine, other) for task in hurried(each)]
    other.close()

    assert len(taken) == len(set(taken)) == 2


def test_its_plan_walks_no_more_of_the_index_than_it_has_to(engine: SqliteEngine, tmp_path: Path) -> None:
    parameters = dict.fromkeys(("queue", "routes", "delivers", "now", "lease_id", "until"))
    with sqlite3.connect(tmp_path / "jobs.db") as connection:
        plan = connection.execute(f"explain query plan {statements('lease')['lease_first']}", parameters).fetchall()

    steps = [row[3] for row in plan]
    seek = "deferq_ready (queue=? AND priority=? AND at_most_once=? AND leasable_at<?)"
    assert sum(seek in step for step in steps) == 2, steps
    assert not [step for step in steps if step.startswith("SCAN deferq")], steps
