"""Tasks in the transaction of a bare sqlite3 connection: they exist if and only if it commits."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq, Queue, call, current_task
from deferq.errors import (
    CannotUpgrade,
    InvalidOption,
    NoTransaction,
    NotTransactional,
    OtherDatabase,
    PayloadTooLargeError,
    StoreError,
    StoreNotPrepared,
    StoreUnavailable,
    TaskAlreadyExistsError,
    WriteBesideTransaction,
)
from deferq.model.state import State
from deferq.runtime.worker import Worker
from tests.support import sample_tasks

Connect = Callable[..., sqlite3.Connection]


@pytest.fixture
def connect(app: Deferq, database: Path) -> Iterator[Connect]:
    """`connect()` is the application's own connection to the file of the store."""
    app.engine.counts()
    made: list[sqlite3.Connection] = []

    def new(path: Path | str = database, **options: Any) -> sqlite3.Connection:
        made.append(sqlite3.connect(path, **options))
        return made[-1]

    with closing(new()) as first, first:
        first.execute("create table if not exists customer (name text)")
    yield new
    for one in made:
        one.close()


# ---- the transaction decides


def test_a_task_exists_once_the_transaction_commits(app: Deferq, connect: Connect) -> None:
    connection = connect()
    connection.execute("insert into customer values ('ann')")
    handle = app.call(sample_tasks.add, 1, 2).defer(within=connection)
    assert app.engine.get([handle.id]) == []
    connection.commit()
    assert handle.state is State.PENDING


def test_a_task_is_gone_with_the_transaction_that_rolls_back(app: Deferq, connect: Connect) -> None:
    connection = connect()
    connection.execute("insert into customer values ('ann')")
    handle = app.call(sample_tasks.add, 1, 2).defer(within=connection, name="once", queue="new")
    connection.rollback()
    assert app.engine.get([handle.id]) == []
    assert [queue.name for queue in app.engine.queues()] == []
    again = app.call(sample_tasks.add, 1, 2).defer(name="once", queue="new")
    assert again.state is State.PENDING


def test_a_connection_that_begins_transactions_by_itself_begins_one(app: Deferq, connect: Connect) -> None:
    connection = connect()
    handle = app.call(sample_tasks.add, 1, 2).defer(within=connection)
    assert connection.in_transaction
    assert app.engine.get([handle.id]) == []
    connection.commit()
    assert handle.state is State.PENDING


def test_a_savepoint_takes_its_tasks_with_it(app: Deferq, connect: Connect) -> None:
    connection = connect(isolation_level=None)
    connection.execute("begin immediate")
    kept = app.call(sample_tasks.add, 1, 2).defer(within=connection)
    connection.execute("savepoint deferq")  # of all names this one
    dropped = app.call(sample_tasks.add, 1, 2).defer(within=connection)
    connection.execute("rollback to deferq")
    connection.execute("commit")
    assert [task.id for task in app.engine.get([kept.id, dropped.id])] == [kept.id]


def test_everything_that_belongs_to_a_task_comes_with_it(app: Deferq, connect: Connect) -> None:
    connection = connect()
    calls = [app.call(sample_tasks.returns, "x" * 5000).with_options(queue=f"q{n}", name=f"n{n}") for n in range(3)]
    handles = app.defer_many(calls, within=connection)
    connection.commit()
    assert [len(handle.details().payload or b"") > 5000 for handle in handles] == [True] * 3
    assert {queue.name for queue in app.engine.queues()} == {"q0", "q1", "q2"}
    with pytest.raises(TaskAlreadyExistsError):
        app.call(sample_tasks.add, 1).defer(queue="q0", name="n0")


def test_names_and_limits_of_size_hold_as_ever(make_app: Callable[..., Deferq], connect: Connect) -> None:
    app = make_app(payload_limit=1000)
    connection = connect()
    first = app.call(sample_tasks.add, 1).defer(within=connection, name="once")
    with pytest.raises(TaskAlreadyExistsError):
        app.call(sample_tasks.add, 1).defer(within=connection, name="once")
    same = app.call(sample_tasks.add, 1).defer(within=connection, name="once", if_exists="return")
    assert same.existed
    assert same.id == first.id
    other = app.call(sample_tasks.add, 1).defer(within=connection, name="once", if_exists="replace")
    with pytest.raises(PayloadTooLargeError):
        app.call(sample_tasks.returns, "x" * 2000).defer(within=connection)
    connection.commit()
    assert [first.state, other.state] == [State.CANCELLED, State.PENDING]


def test_what_a_queue_is_declared_to_be_is_known_with_its_first_task(
    make_app: Callable[..., Deferq], connect: Connect
) -> None:
    app = make_app(queues={"mail": Queue(rate="5/s", max_concurrent=3)})
    connection = connect()
    app.call(sample_tasks.add, 1).defer(within=connection, queue="mail")
    connection.rollback()
    assert [queue.name for queue in app.engine.queues()] == []
    app.call(sample_tasks.add, 1).defer(within=connection, queue="mail")
    connection.commit()
    (queue,) = app.engine.queues()
    assert (queue.limits.rate, queue.limits.max_concurrent) == ("5/s", 3)


# ---- whatever the connection is like


@pytest.mark.parametrize(
    "options",
    [
        {"isolation_level": "IMMEDIATE"},
        {"isolation_level": "EXCLUSIVE"},
        {"detect_types": sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES},
        {"cached_statements": 0},
        {"check_same_thread": False},
        *([{"autocommit": False}] if sys.version_info >= (3, 12) else []),
    ],
    ids=str,
)
def test_it_works_by_connections_of_all_kinds(app: Deferq, connect: Connect, options: dict[str, Any]) -> None:
    connection = connect(**options)
    app.call(sample_tasks.add, 1).defer(within=connection, name="once")
    connection.rollback()
    handle = app.call(sample_tasks.add, 1).defer(within=connection, name="once")
    same = app.call(sample_tasks.add, 1).defer(within=connection, name="once", if_exists="return")
    connection.commit()
    assert (handle.state, same.existed) == (State.PENDING, True)


@pytest.fixture
def _odd_converters() -> Iterator[None]:
    """A program may convert every declared type there is."""
    kept = dict(sqlite3.converters)

    def refuse(value: bytes) -> object:
        raise AssertionError("this value was none of yours")

    for name in ("integer", "text", "blob"):
        sqlite3.register_converter(name, refuse)
    yield
    sqlite3.converters.clear()
    sqlite3.converters.update(kept)


@pytest.mark.usefixtures("_odd_converters")
def test_factories_and_converters_of_the_caller_are_kept_and_not_used(
    make_app: Callable[..., Deferq], connect: Connect
) -> None:
    app = make_app(queues={"mail": Queue(rate="5/s")})
    connection = connect(detect_types=sqlite3.PARSE_DECLTYPES)
    rows: Any = sqlite3.Row
    connection.row_factory, connection.text_factory = rows, bytes
    options: dict[str, Any] = {"within": connection, "queue": "mail", "name": "once", "if_exists": "return"}
    handle = app.call(sample_tasks.add, 1).defer(**options)
    assert app.call(sample_tasks.add, 1).defer(**options).id == handle.id
    assert (connection.row_factory, connection.text_factory) == (rows, bytes)
    connection.commit()
    assert handle.state is State.PENDING


def test_an_explicit_transaction_in_autocommit_mode_is_used_and_without_one_it_is_an_error(
    app: Deferq, connect: Connect
) -> None:
    connection = connect(isolation_level=None)
    with pytest.raises(NoTransaction, match="BEGIN IMMEDIATE"):
        app.call(sample_tasks.add, 1).defer(within=connection)
    connection.execute("begin")
    handle = app.call(sample_tasks.add, 1).defer(within=connection)
    connection.execute("commit")
    assert handle.state is State.PENDING


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the attribute is new in Python 3.12")
def test_a_connection_that_commits_each_statement_has_no_transaction(app: Deferq, connect: Connect) -> None:
    with pytest.raises(NoTransaction):
        app.call(sample_tasks.add, 1).defer(within=connect(autocommit=True))


def test_an_authorizer_that_forbids_it_is_named(app: Deferq, connect: Connect) -> None:
    connection = connect()

    def only_customers(action: int, table: str | None, *rest: object) -> int:
        forbidden = action == sqlite3.SQLITE_INSERT and str(table).startswith("deferq")
        return sqlite3.SQLITE_DENY if forbidden else sqlite3.SQLITE_OK

    connection.execute("insert into customer values ('ann')")
    connection.set_authorizer(only_customers)
    with pytest.raises(StoreUnavailable, match="authorizer"):
        app.call(sample_tasks.add, 1).defer(within=connection)
    connection.set_authorizer(None)
    connection.commit()
    assert connection.execute("select name from customer").fetchall() == [("ann",)]


def test_a_connection_that_may_only_read_is_named(app: Deferq, connect: Connect, database: Path) -> None:
    with pytest.raises(StoreUnavailable, match="may only read"):
        app.call(sample_tasks.add, 1).defer(within=connect(f"file:{database}?mode=ro", uri=True))


def test_a_trigger_of_the_application_that_fails_takes_back_all_of_the_task(app: Deferq, connect: Connect) -> None:
    connection = connect()
    connection.execute("insert into customer values ('ann')")
    connection.execute(
        "create temp trigger no_tasks before insert on deferq_task begin select raise(abort, 'not today'); end"
    )
    with pytest.raises(StoreError, match="not today"):
        app.call(sample_tasks.returns, "x" * 5000).defer(within=connection, queue="other")
    connection.commit()
    assert connection.execute("select count(*) from deferq_payload").fetchone() == (0,)
    assert connection.execute("select count(*) from deferq_queue").fetchone() == (0,)
    assert connection.execute("select count(*) from customer").fetchone() == (1,)


# ---- which database


def test_another_database_is_refused_whatever_it_is(app: Deferq, connect: Connect, tmp_path: Path) -> None:
    app.engine.counts()
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    attached = connect(":memory:")
    attached.execute("attach ? as jobs", (str(tmp_path / "jobs.db"),))
    hidden = connect()
    hidden.execute("create temp table deferq_task (id)")
    for connection, why in (
        (connect(":memory:"), "in memory"),
        (connect(tmp_path / "other.db"), "other.db"),
        (connect(copy), "copy.db"),
        (attached, "attached, as 'jobs'"),
        (hidden, "temporary"),
    ):
        with pytest.raises(OtherDatabase, match=why):
            app.call(sample_tasks.add, 1).defer(within=connection)


def test_a_file_under_another_name_is_the_same_database(app: Deferq, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    connection = connect(tmp_path / "elsewhere" / "jobs.db")
    handle = app.call(sample_tasks.add, 1).defer(within=connection)
    connection.commit()
    assert handle.state is State.PENDING


def test_a_restored_store_is_known_by_its_own_id(app: Deferq, connect: Connect, database: Path) -> None:
    with connect() as connection:
        app.call(sample_tasks.add, 1).defer(within=connection)
    aside = database.with_name("aside.db")
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(aside)) as target:
        source.backup(target)
        target.execute("update deferq_meta set value = 'another' where key = 'database_id'")
        target.commit()
    app.close()
    for end in ("", "-wal", "-shm"):
        database.with_name(database.name + end).unlink(missing_ok=True)
    shutil.move(aside, database)
    database.chmod(0o600)
    with connect() as connection:
        handle = app.call(sample_tasks.add, 1).defer(within=connection)
    assert handle.state is State.PENDING


def test_a_store_that_was_written_over_in_place_is_known_by_its_new_id(app: Deferq, connect: Connect) -> None:
    with connect() as connection:
        app.call(sample_tasks.add, 1).defer(within=connection)
        connection.execute("update deferq_meta set value = 'another' where key = 'database_id'")
    with connect() as connection:
        handle = app.call(sample_tasks.add, 1).defer(within=connection)
    assert handle.state is State.PENDING


@pytest.mark.parametrize("within", [5, object(), threading.Lock])
def test_what_is_no_connection_is_refused(app: Deferq, within: object) -> None:
    with pytest.raises(NotTransactional, match=r"sqlite3\.Connection"):
        app.call(sample_tasks.add, 1).defer(within=within)


def test_a_store_in_memory_takes_part_in_nothing(connect: Connect) -> None:
    with Deferq("memory://") as app:
        for within in (connect(), True):
            with pytest.raises(NotTransactional, match="memory"):
                app.call(sample_tasks.add, 1).defer(within=within)
        assert app.call(sample_tasks.add, 1).defer(within=False).state is State.PENDING


# ---- when it cannot be


def test_a_transaction_that_has_read_what_is_old_by_now_cannot_write(app: Deferq, connect: Connect) -> None:
    connection = connect(isolation_level=None)
    connection.execute("begin")
    connection.execute("select count(*) from customer").fetchall()
    app.defer(sample_tasks.add, 1)
    with pytest.raises(CannotUpgrade, match="BEGIN IMMEDIATE"):
        app.call(sample_tasks.add, 1).defer(within=connection)
    connection.execute("rollback")
    connection.execute("begin immediate")
    handle = app.call(sample_tasks.add, 1).defer(within=connection)
    connection.execute("commit")
    assert handle.state is State.PENDING


@pytest.mark.parametrize("options", [{}, {"name": "once"}], ids=["plain", "named"])
@pytest.mark.parametrize("begin", ["begin", ""])
def test_a_transaction_that_has_not_read_yet_waits_for_whoever_writes(
    app: Deferq, connect: Connect, begin: str, options: dict[str, Any]
) -> None:
    connection, other = connect(isolation_level=None if begin else "", timeout=60), connect(check_same_thread=False)
    if begin:
        connection.execute(begin)
    other.execute("insert into customer values ('ann')")
    releasing = threading.Timer(0.05, other.commit)
    releasing.start()
    handle = app.call(sample_tasks.add, 1).defer(within=connection, **options)
    connection.commit()
    releasing.join()
    assert handle.state is State.PENDING


def test_a_transaction_that_has_read_while_another_writes_cannot_write(app: Deferq, connect: Connect) -> None:
    connection, other = connect(isolation_level=None), connect(isolation_level=None)
    connection.execute("begin")
    connection.execute("select count(*) from customer").fetchall()
    other.execute("begin immediate")
    with pytest.raises(CannotUpgrade):
        app.call(sample_tasks.add, 1).defer(within=connection)
    other.execute("rollback")
    assert connection.in_transaction


def test_a_write_beside_an_own_transaction_says_so(
    app: Deferq, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferq.engines.sqlite.connections.BUSY_TIMEOUT_MS", 50)
    app.close()
    app._engine = None
    connection = connect()
    connection.execute("insert into customer values ('ann')")
    with Deferq(app.settings["url"]) as beside, pytest.raises(WriteBesideTransaction, match="within="):
        beside.defer(sample_tasks.add, 1)


def test_the_first_use_of_a_new_store_within_a_transaction_says_what_to_do(
    make_app: Callable[..., Deferq], database: Path
) -> None:
    app = make_app()
    with closing(sqlite3.connect(database)) as connection:
        database.chmod(0o600)
        connection.execute("create table customer (name text)")
        connection.execute("insert into customer values ('ann')")
        with pytest.raises(StoreNotPrepared, match="deferq db upgrade"):
            app.call(sample_tasks.add, 1).defer(within=connection)
        connection.commit()
        app.engine.counts()
        handle = app.call(sample_tasks.add, 1).defer(within=connection)
        connection.commit()
    assert handle.state is State.PENDING


def test_a_store_is_opened_without_waiting_for_whoever_waits_for_us(
    make_app: Callable[..., Deferq], connect: Connect, app: Deferq
) -> None:
    """Somebody at the gate waits for our transaction, and we open the store within it."""
    connection = connect()
    connection.execute("insert into customer values ('ann')")
    app.engine._gate.acquire()  # type: ignore[attr-defined]
    try:
        other = make_app()
        handle = other.call(sample_tasks.add, 1).defer(within=connection)
    finally:
        app.engine._gate.release()  # type: ignore[attr-defined]
    connection.commit()
    assert handle.state is State.PENDING


# ---- options


def test_true_asks_for_a_transaction_and_false_for_none(app: Deferq) -> None:
    with pytest.raises(NoTransaction, match="no transaction"):
        app.call(sample_tasks.add, 1).defer(within=True)
    with pytest.raises(NoTransaction):
        app.defer(sample_tasks.add, 1, _transactional=True)  # type: ignore[call-arg]
    assert app.defer(sample_tasks.add, 1, _transactional=False).state is State.PENDING  # type: ignore[call-arg]
    with pytest.raises(InvalidOption, match="_transactional"):
        app.defer(sample_tasks.add, 1, _transactional="yes")  # type: ignore[call-arg]


def test_the_calls_of_one_bulk_belong_to_one_transaction(app: Deferq, connect: Connect) -> None:
    connection = connect()
    calls = [app.call(sample_tasks.add, 1).with_options(within=connection), app.call(sample_tasks.add, 2)]
    with pytest.raises(InvalidOption, match="defer_many"):
        app.defer_many(calls)
    handles = app.defer_many([app.call(sample_tasks.add, 1)] * 250, within=connection)
    connection.rollback()
    assert app.engine.get([handle.id for handle in handles]) == []
    (handle,) = app.defer_many(calls[:1])
    connection.commit()
    assert handle.state is State.PENDING


async def _in_a_coroutine(app: Deferq, connection: sqlite3.Connection) -> int:
    return (await app.call(sample_tasks.add, 1).defer_async(within=connection)).id


def test_a_coroutine_defers_by_a_connection_of_its_thread(app: Deferq, connect: Connect) -> None:
    import asyncio

    connection = connect()
    task_id = asyncio.run(_in_a_coroutine(app, connection))
    connection.rollback()
    assert app.engine.get([task_id]) == []


# ---- waking up


def test_a_worker_wakes_after_the_commit_and_not_before(
    app: Deferq, connect: Connect, start_worker: Callable[..., Worker]
) -> None:
    start_worker(app, poll_s=40)
    sample_tasks.forget()
    connection = connect()
    handle = app.call(sample_tasks.note, "ann").defer(within=connection)
    connection.commit()
    handle.wait(20)
    assert sample_tasks.seen == [("ann",)]


def test_a_look_that_fails_is_repeated(app: Deferq, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Any = app.engine
    connection = connect()
    handle = app.call(sample_tasks.add, 1).defer(within=connection)
    connection.commit()
    with monkeypatch.context() as patch:
        patch.setattr(engine, "read", lambda look: 1 / 0)
        assert engine.within.ring([handle.id]) is None
    assert engine.within.ring([handle.id]) is True


def test_nobody_is_woken_for_what_was_rolled_back(
    app: Deferq, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung, looked = [], threading.Event()
    within: Any = app.engine.within
    ring = within.ring

    def note(ids: Any) -> Any:
        answer = ring(ids)
        if answer is not None:
            rung.append(answer)
            looked.set()
        return answer

    monkeypatch.setattr(within, "ring", note)
    connection = connect()
    app.call(sample_tasks.add, 1).defer(within=connection)
    connection.rollback()
    assert looked.wait(30)
    assert rung == [False]


# ---- settling


def ship(path: str, name: str, mode: str) -> str:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("insert into customer values (?)", (name,))
        current_task().settle_within(connection, result=f"shipped {name}")
        if mode == "rolls back":
            connection.rollback()
            return "rolled back"
        connection.commit()
    if mode == "fails":
        raise ValueError("too late to matter")
    return "dropped"


@pytest.mark.parametrize("mode", ["commits", "fails"])
def test_a_task_that_has_settled_itself_has_succeeded_whatever_it_does_then(
    app: Deferq, connect: Connect, database: Path, worker: Worker, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    handle = app.call(ship, str(database), "ann", mode).defer(name="once")
    assert handle.wait(30) == "shipped ann"
    worker.stop(5)
    assert handle.refresh().attempts == 1
    assert handle.details().failures == ()
    assert connect().execute("select name from customer").fetchall() == [("ann",)]
    assert sum(total.attempts for total in app.engine.totals(0, 2**62)) == 1
    assert ("had settled itself" in caplog.text) == (mode == "fails")
    assert "held by another worker" not in caplog.text


def test_a_rollback_takes_the_success_with_it(app: Deferq, connect: Connect, database: Path, worker: Worker) -> None:
    handle = app.call(ship, str(database), "ann", "rolls back").defer()
    assert handle.wait(30) == "rolled back"
    assert connect().execute("select name from customer").fetchall() == []


def test_nobody_settles_by_a_lease_that_is_lost(app: Deferq, connect: Connect) -> None:
    from deferq.current import CurrentTask
    from deferq.engines.base import Want
    from deferq.errors import LeaseLost, NoCurrentTask
    from deferq.transactions.settling import Settler

    with pytest.raises(NoCurrentTask):
        current_task()
    app.defer(sample_tasks.add, 1)
    (leased,) = app.engine.turn((), Want(free=1, ahead=0, lease_id=7, lease_us=1_000_000)).leased
    connection = connect()
    connection.execute("insert into customer values ('ann')")
    late = CurrentTask(leased._replace(lease_id=6), settler=Settler(app.engine, app.codec))
    with pytest.raises(LeaseLost, match="roll the transaction back"):
        late.settle_within(connection)
    CurrentTask(leased, settler=Settler(app.engine, app.codec)).settle_within(connection)
    connection.commit()
    assert app.task(leased.id).state is State.SUCCEEDED
    with pytest.raises(NotTransactional):
        CurrentTask(leased).settle_within(connection)


def test_the_package_function_takes_the_option_as_well(default_app: Deferq, connect: Connect) -> None:
    connection = connect()
    handle = call(sample_tasks.add, 1).defer(within=connection)
    connection.commit()
    assert handle.state is State.PENDING
