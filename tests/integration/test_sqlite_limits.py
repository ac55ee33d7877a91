"""Limits on a file: what changes between looking and leasing counts, and queues without limits pay nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deferq.engines.sqlite import SqliteEngine, leasing
from deferq.engines.sqlite.connections import connect
from deferq.engines.sqlite.statements import schema_scripts, statements
from deferq.model.limits import Limits
from deferq.model.outcome import SUCCEEDED
from deferq.model.queue import Queue
from deferq.model.settings import Pause, QueueChange, QueueSettings, SetLimits
from tests.support import US, FakeClock, TaskMaker, lease, settle, settle_each, settlement, want


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deferq.db"


@pytest.fixture
def engine(path: Path, clock: FakeClock) -> Iterator[SqliteEngine]:
    with closing(SqliteEngine(path, clock=clock, synchronous="OFF")) as engine:
        yield engine


@pytest.fixture
def after_looking(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """`after_looking(do)`: it is done once, between the look at the lanes and the write transaction of a turn."""

    def plan(do: Callable[[], object]) -> None:
        look = leasing.look

        def look_and_do(*arguments: Any) -> leasing.Lanes:
            monkeypatch.setattr(leasing, "look", look)
            lanes = look(*arguments)
            do()
            return lanes

        monkeypatch.setattr(leasing, "look", look_and_do)

    return plan


@pytest.mark.parametrize("change", [Pause(), SetLimits({"max_concurrent": 1})])
@pytest.mark.parametrize("limits", [{}, {"max_concurrent": 3}])
def test_what_an_operator_changes_while_a_turn_is_under_way_holds_for_its_lease(
    engine: SqliteEngine,
    new: TaskMaker,
    after_looking: Callable[[Callable[[], object]], None],
    change: QueueChange,
    limits: dict[str, Any],
) -> None:
    engine.change_queues([("mail", SetLimits(limits))])
    engine.put(new.many(5, "mail"))
    engine.put(new.many(1, "index"))
    after_looking(lambda: engine.change_queues([("mail", change)]))
    leased = [task.queue for task in lease(engine)]
    assert leased.count("mail") <= isinstance(change, SetLimits)
    assert leased.count("index") == 1


def test_a_turn_that_has_waited_for_the_lock_reckons_its_tokens_by_the_time_when_it_has_it(
    engine: SqliteEngine,
    new: TaskMaker,
    clock: FakeClock,
    after_looking: Callable[[Callable[[], object]], None],
) -> None:
    """Else each wait would move the bucket back in time, and the queue would run faster than its rate."""
    engine.change_queues([("mail", SetLimits({"rate": "1/s", "bucket_size": 2}))])
    engine.put(new.many(9, "mail"))

    def others_have_the_lock() -> None:
        clock.advance(10)
        assert len(lease(engine)) == 2

    after_looking(others_have_the_lock)
    turn = engine.turn((), want())
    assert turn.leased == []
    clock.advance(0.9)
    assert lease(engine) == []
    clock.advance(0.1)
    assert len(lease(engine)) == 1


def test_a_queue_at_its_limit_costs_a_waiting_worker_no_write(
    engine: SqliteEngine, new: TaskMaker, clock: FakeClock, path: Path
) -> None:
    engine.change_queues([("mail", SetLimits({"max_concurrent": 1})), ("slow", SetLimits({"rate": "1/m"}))])
    engine.put(new.many(9, "mail") + new.many(9, "slow"))
    assert len(lease(engine)) == 6
    with closing(sqlite3.connect(path)) as other:
        version = other.execute("pragma data_version").fetchone()
        for _ in range(5):
            clock.advance(1)
            assert lease(engine) == []
        assert other.execute("pragma data_version").fetchone() == version


def test_queues_without_limits_run_no_statement_about_limits(path: Path, clock: FakeClock, new: TaskMaker) -> None:
    run: list[str] = []

    def traced(file: str) -> sqlite3.Connection:
        connection = connect(file)
        connection.set_trace_callback(run.append)
        return connection

    about_limits = {sql.split("\n")[0].partition("?")[0].partition(":")[0] for sql in statements("limit").values()}
    with closing(SqliteEngine(path, clock=clock, synchronous="OFF", connect=traced)) as engine:
        engine.change_queues([("mail", SetLimits({"max_concurrent": 1}))])
        engine.put(new.many(9, "index"))
        run.clear()
        for _ in range(3):
            settle_each(engine, lease(engine, 2), SUCCEEDED)
        task = lease(engine, 1)[0]
        assert len(engine.turn([settlement(engine, task, SUCCEEDED)], want(1)).leased) == 1
        assert [sql for sql in run if any(sql.startswith(start) for start in about_limits)] == []
        engine.put(new.many(2, "mail"))
        settle(engine, lease(engine, queues=["mail"])[0], SUCCEEDED)
        assert [sql for sql in run if any(sql.startswith(start) for start in about_limits)] != []


def test_a_store_of_the_first_schema_is_upgraded_with_its_queues_as_they_were(
    path: Path, clock: FakeClock, new: TaskMaker
) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(schema_scripts()[0])
        connection.execute("insert into deferq_meta values ('schema', '1'), ('database_id', 'abc')")
        connection.execute("insert into deferq_queue values ('mail', 1), ('index', 0)")
        connection.execute(
            "insert into deferq_task (id, queue, target, leasable_at, eta, first_due, payload)"
            " values (7, 'index', 'app:work', 1, 1, 1, x'00')"
        )
    path.chmod(0o600)
    with closing(SqliteEngine(path, clock=clock)) as engine:
        assert engine.queues() == [QueueSettings(name="index"), QueueSettings(name="mail", chosen_pause=True)]
        engine.change_queues([("index", SetLimits({"rate": "1/s", "bucket_size": 1}))])
        engine.put(new.many(2, "index"))
        assert [task.id for task in lease(engine)] == [7]
        clock.advance(1)
        assert len(lease(engine)) == 1
        assert engine.check(full=True) == []


def test_limits_of_a_newer_release_are_passed_over(engine: SqliteEngine, path: Path) -> None:
    engine.change_queues([("mail", SetLimits({"rate": "1/s"}))])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("""update deferq_queue set declared = '{"rate": "9/s", "per_key": 3}'""")
    (queue,) = engine.queues()
    assert (queue.declared, queue.limits) == (Queue(rate="9/s"), Limits(rate="1/s"))


def test_the_bucket_goes_on_where_it_was_when_other_limits_change(
    engine: SqliteEngine, new: TaskMaker, clock: FakeClock
) -> None:
    engine.change_queues([("mail", SetLimits({"rate": "3/s", "bucket_size": 3}))])
    engine.put(new.many(20, "mail", in_s=-1))
    assert len(lease(engine)) == 3
    clock.now += US // 3
    engine.change_queues([("mail", SetLimits({"max_concurrent": 100}))])
    assert lease(engine) == []
    clock.now += 1
    assert len(lease(engine)) == 1
