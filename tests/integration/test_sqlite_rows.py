"""What stands in which table: large payloads and results apart, and gone with their task; no row without sense."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from deferq import Deferq, RetryPolicy, TaskFailed
from deferq.engines.base import Delete, Retention
from deferq.engines.sqlite import SqliteEngine
from deferq.engines.sqlite.putting import INLINE_BYTES
from deferq.errors import StoreCorrupt
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, ErrorText, Failed, Outcome, Parked, Retried, Snoozed, Succeeded
from deferq.model.state import State
from deferq.runtime.settling import settle as runtime_settle
from deferq.runtime.worker import Worker
from tests.support import FakeClock, TaskMaker, lease, lease_one, sample_tasks, settle

LARGE = b"x" * (INLINE_BYTES + 1)
SMALL = b"x" * INLINE_BYTES
ERROR = ErrorText(error_type="ValueError", message="no")


@pytest.fixture
def engine(tmp_path: Any, clock: FakeClock) -> Iterator[SqliteEngine]:
    with closing(SqliteEngine(tmp_path / "deferq.db", clock=clock, synchronous="OFF", tombstone_s=60)) as engine:
        engine.open()
        yield engine


@pytest.fixture
def rows(engine: SqliteEngine) -> Iterator[sqlite3.Connection]:
    """The file as anybody may open it."""
    with closing(sqlite3.connect(engine.path, isolation_level=None)) as connection:
        yield connection


def count(rows: sqlite3.Connection, table: str) -> int:
    number: int = rows.execute(f"select count(*) from deferq_{table}").fetchone()[0]
    return number


def counts(rows: sqlite3.Connection) -> dict[str, int]:
    return {table: count(rows, table) for table in ("task", "payload", "result", "failure")}


EMPTY = {"task": 0, "payload": 0, "result": 0, "failure": 0}


# ---- payloads and results


@pytest.mark.parametrize(("payload", "apart"), [(SMALL, 0), (LARGE, 1), (LARGE * 100, 1), (b"", 0)])
def test_a_large_payload_stands_apart_and_a_small_one_in_its_task(
    engine: SqliteEngine, rows: sqlite3.Connection, new: TaskMaker, payload: bytes, apart: int
) -> None:
    task = new(payload=payload)
    engine.put([task])
    assert count(rows, "payload") == apart
    assert rows.execute("select payload is null from deferq_task").fetchone() == (apart,)
    assert engine.get([task.id])[0].payload_bytes == len(payload)
    assert engine.details(task.id).payload == payload
    assert lease_one(engine).payload == payload


def test_small_and_large_payloads_put_together_come_back_to_their_own_tasks(
    engine: SqliteEngine, rows: sqlite3.Connection, new: TaskMaker
) -> None:
    tasks = [new(payload=(SMALL if number % 3 else LARGE) + b"%d" % number) for number in range(250)]
    tasks = [task._replace(payload=task.payload[-INLINE_BYTES:]) if number % 3 else task
             for number, task in enumerate(tasks)]  # fmt: skip
    engine.put(tasks)
    assert count(rows, "payload") == 84
    leased = {task.id: task.payload for task in lease(engine, 300)}
    assert leased == {task.id: task.payload for task in tasks}


def test_a_large_payload_goes_with_a_deleted_task(
    engine: SqliteEngine, rows: sqlite3.Connection, new: TaskMaker
) -> None:
    tasks = [new(payload=LARGE), new(payload=LARGE)]
    engine.put(tasks)
    engine.change([tasks[0].id], Delete())
    assert counts(rows) == EMPTY | {"task": 1, "payload": 1}
    assert engine.details(tasks[1].id).payload == LARGE


def test_large_payloads_go_with_a_purged_queue(engine: SqliteEngine, rows: sqlite3.Connection, new: TaskMaker) -> None:
    engine.put([new("mail", payload=LARGE), new("mail", payload=LARGE, url="/there"), new("other", payload=LARGE)])
    assert engine.purge("mail") == 2
    assert counts(rows) == EMPTY | {"task": 1, "payload": 1}


def test_payload_result_and_failures_go_when_the_retention_is_over(
    engine: SqliteEngine, rows: sqlite3.Connection, new: TaskMaker, clock: FakeClock
) -> None:
    tasks = [new(payload=LARGE), new(payload=LARGE), new(payload=LARGE)]
    engine.put(tasks)
    first, second, _ = lease(engine, 3)
    settle(engine, first, Succeeded(b"r" * 5_000))
    settle(engine, second, Failed(error=ERROR, permanent=True, reason="permanent"))
    assert counts(rows) == {"task": 3, "payload": 3, "result": 1, "failure": 1}
    clock.advance(3600)
    engine.sweep(Retention(succeeded_s=10, dead_s=10))
    assert counts(rows) == EMPTY | {"task": 1, "payload": 1}


def test_a_task_that_clashes_leaves_the_payload_of_the_other_alone(
    engine: SqliteEngine, rows: sqlite3.Connection, new: TaskMaker
) -> None:
    task = new(payload=LARGE)
    engine.put([task])
    engine.put([task._replace(payload=LARGE + b"other")])
    engine.put([task._replace(payload=LARGE + b"other"), new(payload=LARGE + b"third")])
    assert engine.details(task.id).payload == LARGE
    assert count(rows, "payload") == 2


def test_a_large_task_that_clashes_with_a_small_one_changes_nothing_and_leaves_nothing_behind(
    engine: SqliteEngine, rows: sqlite3.Connection, new: TaskMaker
) -> None:
    small, other = new(payload=SMALL), new(payload=SMALL)
    engine.put([small, other])
    engine.put([small._replace(payload=LARGE)])
    engine.put([small._replace(payload=LARGE), other._replace(payload=LARGE)])
    assert engine.details(small.id).payload == SMALL
    engine.change([small.id, other.id], Delete())
    assert counts(rows) == EMPTY


def test_a_result_is_replaced_when_a_requeued_task_succeeds(
    engine: SqliteEngine, rows: sqlite3.Connection, new: TaskMaker
) -> None:
    task = new()
    engine.put([task])
    settle(engine, lease_one(engine), Failed(error=ERROR, permanent=True, reason="permanent"))
    rows.execute("insert into deferq_result (id, body) values (?, x'00')", (task.id,))
    engine.requeue([task.id])
    settle(engine, lease_one(engine), Succeeded(b"new"))
    assert engine.details(task.id).result == b"new"


# ---- rows that make no sense


def insert_task(rows: sqlite3.Connection, **values: object) -> None:
    row = {"id": 1, "queue": "q", "target": "a:b", "leasable_at": 5, "eta": 5, "first_due": 5} | values
    places = ", ".join(f":{name}" for name in row)
    rows.execute(f"insert into deferq_task ({', '.join(row)}) values ({places})", row)


@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        ("state_is_known", {"state": 5, "finished_at": 1}),
        ("state_is_known", {"state": -1, "leasable_at": 5}),
        ("priority_is_bounded", {"priority": 101}),
        ("priority_is_bounded", {"priority": -101}),
        ("leased_has_a_lease", {"state": 1}),
        ("finished_has_a_time", {"state": 2}),
        ("finished_has_a_time", {"finished_at": 1}),
        ("finished_has_a_time", {"state": 1, "lease_id": 1, "finished_at": 1}),
        ("pending_is_due_at_eta", {"leasable_at": 6}),
        ("counts_never_negative", {"attempts": -1}),
        ("counts_never_negative", {"starts": -1}),
        ("counts_never_negative", {"parks": -1}),
        ("crashes_never_negative", {"crashes": -1}),
    ],
)
def test_a_task_that_makes_no_sense_is_refused_by_name(
    rows: sqlite3.Connection, constraint: str, values: dict[str, object]
) -> None:
    with pytest.raises(sqlite3.IntegrityError, match=constraint):
        insert_task(rows, **values)


def test_the_same_task_with_nothing_wrong_is_taken(rows: sqlite3.Connection) -> None:
    insert_task(rows)
    assert count(rows, "task") == 1


@pytest.mark.parametrize(
    "values", [{"eta": "soon", "leasable_at": "soon"}, {"queue": None}, {"payload": "text"}, {"priority": 1.5}]
)
def test_a_column_takes_nothing_but_its_type(rows: sqlite3.Connection, values: dict[str, object]) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        insert_task(rows, **values)


def test_a_queue_is_paused_or_not_and_nothing_else(rows: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="paused_is_a_truth_value"):
        rows.execute("insert into deferq_queue (name, paused) values ('q', 2)")


def test_two_tasks_of_a_queue_never_have_one_name(rows: sqlite3.Connection) -> None:
    rows.execute("insert into deferq_name (queue, name, task_id) values ('q', 'n', 1)")
    with pytest.raises(sqlite3.IntegrityError):
        rows.execute("insert into deferq_name (queue, name, task_id) values ('q', 'n', 2)")


@pytest.mark.parametrize(
    "nonsense", ["5", "[]", '{"rate": 5, "max_concurrent": "x"}', '{"paused": 1}', '{"route": []}', '{"retry": 5}', "{"]
)
def test_limits_that_make_no_sense_are_damage_and_no_mistake_of_ours(
    engine: SqliteEngine, rows: sqlite3.Connection, nonsense: str
) -> None:
    rows.execute("insert into deferq_queue (name, declared) values ('q', ?)", (nonsense,))

    with pytest.raises(StoreCorrupt, match="Restore it from a backup"):
        engine.queues()


@pytest.mark.parametrize("nonsense", ["5", "[]", '{"retry": 5}', '{"retry": {"max_attempts": -1}}', '{"tags": 5}'])
def test_options_that_make_no_sense_are_damage_and_no_mistake_of_ours(
    engine: SqliteEngine, rows: sqlite3.Connection, clock: FakeClock, nonsense: str
) -> None:
    new = TaskMaker(clock)()
    engine.put([new])
    rows.execute("update deferq_task set options = ?", (nonsense,))

    with pytest.raises(StoreCorrupt, match="Restore it from a backup"):
        engine.get([new.id])


@pytest.mark.parametrize("column", ["starts", "attempts", "parks", "crashes"])
@pytest.mark.parametrize("fn", [sample_tasks.note, sample_tasks.fail, sample_tasks.raise_long_message])
def test_a_task_that_cannot_be_counted_any_further_holds_up_no_other(
    app: Deferq, start_worker: Callable[..., Worker], column: str, fn: Callable[..., object]
) -> None:
    damaged = app.call(fn, "damaged").defer(retry=RetryPolicy(max_attempts=2, min_backoff_s=0))
    others = [app.defer(sample_tasks.note, number) for number in range(5)]
    engine = app.engine
    assert isinstance(engine, SqliteEngine)
    with sqlite3.connect(engine.path) as connection:
        connection.execute(f"update deferq_task set {column} = ? where id = ?", (2**63 - 1, damaged.id))
    start_worker(app)
    for handle in others:
        handle.wait(20)
    if column in ("starts", "attempts"):  # of the others one is tried again later, one in a process of its own
        with suppress(TaskFailed):
            damaged.wait(20)
        assert damaged.state in (State.SUCCEEDED, State.DEAD)


@pytest.mark.parametrize(
    "outcome",
    [
        SUCCEEDED,
        Failed(error=ERROR),
        Failed(error=ERROR, reason="worker lost"),
        Retried(),
        Snoozed(after_s=0),
        Parked(error=ERROR),
        INTERRUPTED,
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_every_outcome_of_such_a_task_can_be_stored(
    engine: SqliteEngine, rows: sqlite3.Connection, new: TaskMaker, outcome: Outcome, alone: bool
) -> None:
    engine.put([new() for _ in range(1 if alone else 3)])
    rows.execute("update deferq_task set starts = ?1, attempts = ?1, parks = ?1, crashes = ?1", (2**63 - 1,))
    leased = lease(engine, 10)
    assert len(leased) == (1 if alone else 3)
    settlements = [runtime_settle(task, outcome, 0, engine.now(), 0.0) for task in leased]
    assert not engine.turn(settlements, None).lost
    assert not engine.turn(settlements, None).lost
