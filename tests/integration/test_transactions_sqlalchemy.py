"""Tasks in transactions of SQLAlchemy: by `within=`, and because one is open."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")

from sqlalchemy import Engine, create_engine, event, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from deferq import Deferq, TaskHandle, current_task
from deferq.contrib.sqlalchemy import pending, watch
from deferq.errors import (
    AsyncTransaction,
    NoTransaction,
    NotTransactional,
    OtherDatabase,
    StoreUnavailable,
    WriteBesideTransaction,
)
from deferq.model.state import State
from deferq.runtime.worker import Worker
from deferq.transactions import detecting
from tests.support import sample_tasks


class Base(DeclarativeBase): ...


class Customer(Base):
    __tablename__ = "customer"
    name: Mapped[str] = mapped_column(primary_key=True)


def begin_at_once(engine: Engine) -> Engine:
    """SQLAlchemy's own recipe, without which savepoints of SQLite do not work."""

    @event.listens_for(engine, "connect")
    def _no_begin(connection: Any, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("begin immediate")

    return engine


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deferq.engines.sqlite.within.PATIENCE_MS", 20)


@pytest.fixture(params=["as it is", "begin immediate"])
def engine(app: Deferq, database: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The application's engine, in both modes of transactions."""
    app.engine.counts()
    made = create_engine(f"sqlite:///{database}")
    if request.param == "begin immediate":
        begin_at_once(made)
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def immediate(app: Deferq, database: Path) -> Iterator[Engine]:
    app.engine.counts()
    made = begin_at_once(create_engine(f"sqlite:///{database}"))
    Base.metadata.create_all(made)
    yield made
    made.dispose()


def exists(app: Deferq, *handles: TaskHandle) -> list[bool]:
    there = {task.id for task in app.engine.get([handle.id for handle in handles])}
    return [handle.id in there for handle in handles]


def names(engine: Engine) -> list[str]:
    with Session(engine) as session:
        return sorted(row.name for row in session.query(Customer))


# ---- within


def test_a_task_shares_the_fate_of_a_sessions_transaction(app: Deferq, engine: Engine) -> None:
    for ends in ("commit", "rollback"):
        with Session(engine) as session:
            session.add(Customer(name=ends))
            handle = app.call(sample_tasks.add, 1).defer(within=session)
            assert exists(app, handle) == [False]
            getattr(session, ends)()
            assert exists(app, handle) == [ends == "commit"]
    assert names(engine) == ["commit"]


def test_a_session_is_reused_and_each_of_its_transactions_decides_for_itself(app: Deferq, engine: Engine) -> None:
    handles = []
    with Session(engine) as session:
        for number in range(6):
            session.add(Customer(name=f"c{number}"))
            handles.append(app.call(sample_tasks.add, number).defer(within=session))
            if number % 2:
                session.rollback()
            else:
                session.commit()
    assert exists(app, *handles) == [True, False] * 3
    assert names(engine) == ["c0", "c2", "c4"]


def test_a_connection_a_scoped_session_and_a_maker_s_session_are_taken(app: Deferq, engine: Engine) -> None:
    with engine.begin() as connection:
        by_connection = app.call(sample_tasks.add, 1).defer(within=connection)
    with engine.connect() as connection:
        never = app.call(sample_tasks.add, 1).defer(within=connection)  # it begins, and is closed
    scope = scoped_session(sessionmaker(engine))
    by_scope = app.call(sample_tasks.add, 1).defer(within=scope)
    scope.commit()
    scope.remove()
    with sessionmaker(engine).begin() as session:
        by_maker = app.call(sample_tasks.add, 1).defer(within=session)
    assert exists(app, by_connection, never, by_scope, by_maker) == [True, False, True, True]


def test_savepoints_take_their_tasks_with_them(app: Deferq, immediate: Engine) -> None:
    with Session(immediate) as session, session.begin():
        session.add(Customer(name="outer"))
        outer = app.defer(sample_tasks.add, 1)
        with session.begin_nested():
            session.add(Customer(name="kept"))
            kept = app.defer(sample_tasks.add, 2)
        with suppress(ValueError), session.begin_nested():
            session.add(Customer(name="dropped"))
            dropped = app.defer(sample_tasks.add, 3)
            raise ValueError
    assert exists(app, outer, kept, dropped) == [True, True, False]
    assert names(immediate) == ["kept", "outer"]


def test_what_has_no_transaction_on_our_database_is_refused(app: Deferq, engine: Engine, tmp_path: Path) -> None:
    call = app.call(sample_tasks.add, 1)
    with Session(create_engine("sqlite://")) as session, pytest.raises(OtherDatabase, match="in memory"):
        call.defer(within=session)
    with Session(create_engine(f"sqlite:///{tmp_path}/b.db")) as session, pytest.raises(OtherDatabase, match=r"b\.db"):
        call.defer(within=session)
    for within in (engine, sessionmaker(engine)):
        with pytest.raises(NotTransactional):
            call.defer(within=within)
    with Session() as session, pytest.raises(NotTransactional, match="which"):
        call.defer(within=session)
    plain = create_engine(engine.url)  # without the event that begins transactions even now
    with (
        plain.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        pytest.raises(NoTransaction, match="no transaction is open"),
    ):
        call.defer(within=connection)


def test_a_session_in_which_a_statement_has_failed_takes_nothing(app: Deferq, engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.add(Customer(name="ann"))
    with Session(engine) as session:
        session.add(Customer(name="ann"))
        with pytest.raises(IntegrityError):
            session.flush()
        for within in (session, True):
            with pytest.raises(NoTransaction, match="Roll it back"):
                app.call(sample_tasks.add, 1).defer(within=within)
        session.rollback()
        assert app.defer(sample_tasks.add, 1).state is State.PENDING


# ---- detection


def test_a_plain_defer_belongs_to_the_transaction_that_is_open(app: Deferq, engine: Engine) -> None:
    with Session(engine) as session:
        session.add(Customer(name="ann"))  # nothing was sent to the database yet
        added = app.defer(sample_tasks.add, 1)
        session.rollback()
    with suppress(ValueError), Session(engine) as session, session.begin():
        begun = app.defer(sample_tasks.add, 2)
        raise ValueError
    with engine.begin() as connection:
        connection.execute(text("insert into customer values ('core')"))
        core = app.defer(sample_tasks.add, 3, _transactional=True)  # type: ignore[call-arg]
        assert exists(app, core) == [False]
    many = app.defer_many(app.call(sample_tasks.add, n) for n in range(3))
    with Session(engine) as session, session.begin():
        within = app.defer_many(app.call(sample_tasks.add, n) for n in range(3))
        assert exists(app, *within) == [False] * 3
    assert exists(app, added, begun, core, *many, *within) == [False, False, True, *[True] * 6]


def test_outside_of_transactions_and_beside_other_databases_nothing_changes(
    app: Deferq, engine: Engine, tmp_path: Path
) -> None:
    other = create_engine(f"sqlite:///{tmp_path}/other.db")
    Base.metadata.create_all(other)
    with Session(other) as session:
        session.add(Customer(name="ann"))
        beside = app.defer(sample_tasks.add, 1)
        session.rollback()
    with Session(engine) as session:
        session.add(Customer(name="ann"))
        session.commit()
        after = app.defer(sample_tasks.add, 1)
    with Session() as unbound:
        unbound.add(Customer(name="ann"))
        without = app.defer(sample_tasks.add, 1)
    assert exists(app, beside, after, without) == [True] * 3


@pytest.mark.parametrize("how", ["autocommit", "the driver begins nothing"])
def test_a_session_that_commits_each_statement_is_no_transaction(app: Deferq, database: Path, how: str) -> None:
    app.engine.counts()
    engine = create_engine(f"sqlite:///{database}", isolation_level="AUTOCOMMIT" if how == "autocommit" else None)
    if how != "autocommit":
        event.listen(engine, "connect", lambda connection, record: setattr(connection, "isolation_level", None))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Customer(name="ann"))
        session.flush()
        assert exists(app, app.defer(sample_tasks.add, 1)) == [True]
        with pytest.raises(NoTransaction):
            app.call(sample_tasks.add, 1).defer(within=True)
    engine.dispose()


def test_a_session_that_cannot_begin_gets_no_task_beside_it(app: Deferq, database: Path) -> None:
    """Its rows will not be stored, so the task must not be either."""
    app.engine.counts()
    engine = begin_at_once(create_engine(f"sqlite:///{database}", connect_args={"timeout": 0.01}))
    Base.metadata.create_all(engine)
    writer = sqlite3.connect(database, isolation_level=None)
    with closing(writer), Session(engine) as session:
        session.add(Customer(name="ann"))
        writer.execute("begin immediate")
        with pytest.raises(StoreUnavailable, match="session cannot be used"):
            app.defer(sample_tasks.add, 1)
        writer.execute("commit")
    assert app.engine.counts().queues == ()
    engine.dispose()


def test_what_fails_on_another_database_is_none_of_ours(app: Deferq, engine: Engine, tmp_path: Path) -> None:
    """A failed session, and a pool that is used up."""
    other = create_engine(f"sqlite:///{tmp_path}/elsewhere.db", pool_size=1, max_overflow=0, pool_timeout=0.01)
    Base.metadata.create_all(other)
    with Session(other) as session:
        session.add_all([Customer(name="ann")])
        session.commit()
        session.add(Customer(name="ann"))
        with pytest.raises(IntegrityError):
            session.flush()
        assert exists(app, app.defer(sample_tasks.add, 1)) == [True]
        session.rollback()
        session.connection()
        with Session(other) as second, second.begin():
            assert exists(app, app.defer(sample_tasks.add, 1)) == [True]
    other.dispose()


def test_the_session_that_was_used_last_counts(app: Deferq, immediate: Engine) -> None:
    with Session(immediate) as reading:
        reading.info["waits"] = True
        reading.begin()
        with Session(immediate) as writing, writing.begin():
            writing.add(Customer(name="ann"))
            handle = app.defer(sample_tasks.add, 1)
        assert exists(app, handle) == [True]


def test_listeners_to_a_commit_defer_beside_it(app: Deferq, engine: Engine) -> None:
    handles = []
    with Session(engine) as session:
        event.listen(session, "after_commit", lambda session: handles.append(app.defer(sample_tasks.add, 1)))
        event.listen(session, "before_commit", lambda session: handles.append(app.defer(sample_tasks.add, 2)))
        session.add(Customer(name="ann"))
        session.commit()
    assert exists(app, *handles) == [True, True]


def test_listeners_hear_of_a_released_savepoint_and_defer_within_what_is_around_it(
    app: Deferq, immediate: Engine
) -> None:
    handles: list[TaskHandle] = []
    with Session(immediate) as session:
        event.listen(session, "after_commit", lambda session: handles.append(app.defer(sample_tasks.add, 1)))
        for ends in ("commit", "rollback"):
            with session.begin_nested(), session.begin_nested():
                session.add(Customer(name=ends))
            getattr(session, ends)()
    assert exists(app, *handles) == [*[True] * 3, *[False] * 2]


def test_a_listener_of_the_application_that_raises_silences_no_bell(
    app: Deferq, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(session: Session) -> None:
        raise LookupError

    rung: list[object] = []
    monkeypatch.setattr(app.engine.within, "ring", rung.append)
    for name, listener in pending._EVENTS:  # as in a process that has deferred within no session yet
        if event.contains(Session, name, listener):
            event.remove(Session, name, listener)
    event.listen(Session, "after_commit", fail)
    try:
        with Session(engine) as session:
            session.add(Customer(name="ann"))
            handle = app.defer(sample_tasks.add, 1)
            with pytest.raises(LookupError):
                session.commit()
    finally:
        event.remove(Session, "after_commit", fail)
    assert rung == [[handle.id]]
    assert exists(app, handle) == [True]


def test_a_session_of_another_thread_is_none_of_ours(app: Deferq, engine: Engine) -> None:
    with Session(engine) as session:
        session.begin()
        session.connection()
        if engine.dispatch.begin:
            session.rollback()  # it would hold the write lock
            session.begin()
        with ThreadPoolExecutor() as pool:
            handle = pool.submit(app.defer, sample_tasks.add, 1).result()
        assert exists(app, handle) == [True]


def test_a_session_that_was_begun_elsewhere_is_found_where_it_is_used(app: Deferq, engine: Engine) -> None:
    """As with dependencies that a framework runs in another thread."""
    with ThreadPoolExecutor(1) as pool:
        session = pool.submit(Session(engine).__enter__).result()
        pool.submit(session.begin).result()
        session.add(Customer(name="ann"))
        handle = app.defer(sample_tasks.add, 1)
        assert exists(app, handle) == [False]
        session.rollback()
        session.close()
    assert exists(app, handle) == [False]


def test_a_session_that_was_begun_elsewhere_is_found_where_it_executes(app: Deferq, engine: Engine) -> None:
    with ThreadPoolExecutor(1) as pool:
        session = pool.submit(Session(engine).__enter__).result()
        pool.submit(lambda: list(session.execute(text("select 1")))).result()
    session.execute(insert(Customer), {"name": "x"})
    handle = app.defer(sample_tasks.add, 1)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: list(session.execute(text("select 1")))).result()
    assert exists(app, handle) == [False]
    session.rollback()
    session.close()
    assert exists(app, handle) == [False]


def test_false_stores_beside_it_or_says_that_it_cannot(app: Deferq, engine: Engine) -> None:
    with Session(engine) as session:
        session.begin()
        if not engine.dispatch.begin:  # nothing was sent to the database yet, so nothing is locked
            assert exists(app, app.call(sample_tasks.add, 1).defer(within=False)) == [True]
        session.add(Customer(name="ann"))
        session.flush()
        with pytest.raises(WriteBesideTransaction, match="within="):
            app.call(sample_tasks.add, 1).defer(within=False)


@pytest.fixture(params=["as it is", "begin"])
def reading(app: Deferq, database: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The application's engine, in both modes in which a session that reads does not lock."""
    app.engine.counts()
    made = create_engine(f"sqlite:///{database}")
    if request.param == "begin":
        event.listen(made, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
        event.listen(made, "begin", lambda connection: connection.exec_driver_sql("begin"))
    Base.metadata.create_all(made)
    yield made
    made.dispose()


def test_a_session_that_reads_again_after_its_commit_takes_no_task_away_with_it(app: Deferq, reading: Engine) -> None:
    with Session(reading) as session:
        customer = Customer(name="ann")
        session.add(customer)
        session.commit()
        handle = app.defer(sample_tasks.add, customer.name)
    assert exists(app, handle) == [True]


def test_a_session_that_has_begun_by_itself_and_only_read_is_no_transaction(app: Deferq, reading: Engine) -> None:
    with Session(reading) as session:
        session.scalars(select(Customer)).all()
        handle = app.defer(sample_tasks.add, 1)
        assert exists(app, handle) == [True]
        session.rollback()
    assert exists(app, handle) == [True]


def test_a_connection_that_only_reads_is_none_either(app: Deferq, reading: Engine) -> None:
    with reading.connect() as connection:
        connection.execute(select(Customer)).all()
        first = app.defer(sample_tasks.add, 1)
        connection.commit()
        connection.exec_driver_sql("select 1").all()
        second = app.defer(sample_tasks.add, 1)
    assert exists(app, first, second) == [True, True]


@pytest.mark.parametrize(
    "begins",
    [
        lambda connection: connection.begin(),
        lambda connection: connection.begin_nested(),
        lambda connection: connection.execute(insert(Customer), {"name": "ann"}),
    ],
)
def test_a_connection_that_was_begun_or_writes_is_one(
    app: Deferq, reading: Engine, begins: Callable[[Any], object]
) -> None:
    with reading.connect() as connection:
        begins(connection)
        connection.execute(select(Customer)).all()
        handle = app.defer(sample_tasks.add, 1)
    assert exists(app, handle) == [False]


@pytest.mark.parametrize(
    "writes",
    [
        lambda session: session.begin_nested(),
        lambda session: session.add(Customer(name="ann")),
        lambda session: session.execute(insert(Customer), {"name": "ann"}),
        lambda session: session.connection().exec_driver_sql("update customer set name = 'bob'"),
    ],
)
def test_a_session_that_is_about_to_write_or_has_is_one(
    app: Deferq, reading: Engine, writes: Callable[[Session], object]
) -> None:
    with Session(reading) as session:
        session.scalars(select(Customer)).all()
        writes(session)
        handle = app.defer(sample_tasks.add, 1)
        session.rollback()
    assert exists(app, handle) == [False]


@pytest.mark.parametrize("how", ["begun", "named", "demanded"])
def test_so_is_one_that_was_begun_or_is_asked_for(app: Deferq, reading: Engine, how: str) -> None:
    with Session(reading) as session:
        if how == "begun":
            session.begin()
        session.scalars(select(Customer)).all()
        within = {"begun": None, "named": session, "demanded": True}[how]
        handle = app.call(sample_tasks.add, 1).defer(within=within)
        session.rollback()
    assert exists(app, handle) == [False]


def test_a_session_that_is_closed_without_a_commit_is_worth_a_warning(
    app: Deferq, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with Session(engine) as session:
        session.add(Customer(name="ann"))
        app.defer(sample_tasks.add, 1)
        session.rollback()
    with suppress(ValueError), Session(engine) as session:
        session.add(Customer(name="ann"))
        app.defer(sample_tasks.add, 1)
        raise ValueError
    assert caplog.records == []
    with Session(engine) as session:
        app.call(sample_tasks.add, 1).defer(within=session)
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "without a commit" in record.getMessage()


FIRST_USE = """
import asyncio, sys
from deferq import defer
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
engine = create_engine("sqlite:///" + sys.argv[1])
class Odd:
    @property
    def __dict__(self):
        raise RuntimeError("not in a request")
class Shop:
    def __init__(self):
        self.session = Session(engine)
    def sell(self):
        odd, task_local = Odd(), async_scoped_session(async_sessionmaker(), asyncio.current_task)
        self.session.execute(text("insert into customer values ('ann')"))
        print(defer(print).id)
shop = Shop()
{begin}
shop.sell()
shop.session.rollback()
"""


@pytest.mark.slow
@pytest.mark.parametrize("begin", ["", "shop.session.begin()"])
def test_the_first_task_of_a_process_belongs_to_a_transaction_that_began_before(
    app: Deferq, immediate: Engine, database: Path, begin: str
) -> None:
    code = FIRST_USE.replace("{begin}", begin)
    run = subprocess.run(
        [sys.executable, "-c", code, str(database)],
        env={**__import__("os").environ, "DEFERQ_URL": f"sqlite:///{database}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert app.engine.get([int(run.stdout)]) == []


#: Two threads are in transactions when the first of them defers, and the second defers while deferq begins to watch.
FIRST_USE_OF_TWO = """
import sys, threading
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from deferq import Deferq
from deferq.transactions import detecting

app = Deferq("sqlite:///" + sys.argv[1])
app.engine.counts()
detecting._watching.clear(); detecting.detectors = (); detecting.nothing_new = 1
engine = create_engine("sqlite:///" + sys.argv[1], connect_args={"timeout": 60})
begun, importing = threading.Barrier(2), threading.Event()
load = detecting.import_module

def slowly(name):
    importing.set()
    second.join(1)
    return load(name)

def sell(first):
    with Session(engine) as session:
        session.begin()
        begun.wait()
        if not first:
            importing.wait()
        print(app.defer(abs, 1).id, flush=True)

detecting.import_module = slowly
second = threading.Thread(target=sell, args=(False,))
second.start()
sell(True)
second.join()
"""


def test_the_first_tasks_of_several_threads_belong_to_their_transactions(app: Deferq, database: Path) -> None:
    app.engine.counts()
    command = [sys.executable, "-c", FIRST_USE_OF_TWO, str(database)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    first, second = run.stdout.split()
    assert app.engine.get([int(first), int(second)]) == []


def test_a_package_that_is_too_old_is_not_watched_and_harms_nobody(
    app: Deferq, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(detecting, "_WATCHERS", {"sqlalchemy.engine": "deferq.contrib.no_such_module"})
    monkeypatch.setattr(detecting, "_watching", set())
    monkeypatch.setattr(detecting, "nothing_new", 0)
    assert exists(app, app.defer(sample_tasks.add, 1), app.defer(sample_tasks.add, 2)) == [True, True]
    assert caplog.text.count("too old") == 1


def test_watching_twice_is_watching_once() -> None:
    assert watch() is watch()


# ---- waking up


@pytest.mark.parametrize("by", ["session", "savepoint", "connection", "outer connection"])
def test_a_worker_wakes_after_the_commit(
    app: Deferq, immediate: Engine, start_worker: Callable[..., Worker], by: str
) -> None:
    start_worker(app, poll_s=40)
    if by == "connection":
        with immediate.begin():
            handle = app.defer(sample_tasks.add, 1)
    elif by == "outer connection":
        with immediate.connect() as connection, connection.begin(), Session(connection) as session:
            handle = app.call(sample_tasks.add, 1).defer(within=session)
            session.commit()
    else:
        with Session(immediate) as session, session.begin():
            if by == "savepoint":
                with session.begin_nested():
                    handle = app.defer(sample_tasks.add, 1)
            else:
                handle = app.defer(sample_tasks.add, 1)
    assert handle.wait(20) == 1


# ---- async


def in_loop(database: Path, work: Callable[[Any], Any]) -> Any:
    """Run `work(engine)` with an async engine on the file."""

    async def main() -> Any:
        engine = create_async_engine(f"sqlite+aiosqlite:///{database}")
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(main())


def test_async_sessions_and_connections_take_tasks(app: Deferq, database: Path, engine: Engine) -> None:
    async def work(engine: Any) -> list[TaskHandle]:
        call = app.call(sample_tasks.add, 1)
        handles = []
        for ends in ("commit", "rollback"):
            async with AsyncSession(engine) as session:
                session.add(Customer(name=ends))
                handles.append(await call.defer_async(within=session, name=ends, queue="new"))
                handles.append(await app.defer_async(sample_tasks.add, 2))
                handles += await session.run_sync(lambda inner: app.defer_many([call] * 3, within=inner))
                handles += await session.run_sync(lambda inner: [app.defer(sample_tasks.add, 3)])
                await getattr(session, ends)()
        async with engine.begin() as connection:
            handles.append(await call.defer_async(within=connection))
        scope = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
        handles.append(await call.defer_async(within=scope))
        await scope.rollback()
        await scope.remove()
        return handles

    assert exists(app, *in_loop(database, work)) == [*[True] * 6, *[False] * 6, True, False]


def test_what_cannot_wait_for_an_async_session_says_so(app: Deferq, database: Path, engine: Engine) -> None:
    async def work(engine: Any) -> None:
        call = app.call(sample_tasks.add, 1)
        async with AsyncSession(engine) as session:
            session.add(Customer(name="ann"))
            with pytest.raises(AsyncTransaction, match="await"):
                call.defer(within=session)
            with pytest.raises(AsyncTransaction, match="await"):
                app.defer(sample_tasks.add, 1)
            await session.flush()
            with pytest.raises(WriteBesideTransaction):
                await call.defer_async(within=False)
            with pytest.raises(WriteBesideTransaction):
                call.defer(within=False)

    in_loop(database, work)


def test_an_async_session_of_another_task_or_file_is_none_of_ours(
    app: Deferq, database: Path, engine: Engine, tmp_path: Path
) -> None:
    async def work(engine: Any) -> TaskHandle:
        other = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/other.db")
        async with AsyncSession(engine) as session, AsyncSession(other) as elsewhere:
            await session.begin()
            handle = await asyncio.create_task(app.defer_async(sample_tasks.add, 1))
            await session.rollback()
            await elsewhere.begin()
            app.defer(sample_tasks.add, 1)
        await other.dispose()
        return handle

    assert exists(app, in_loop(database, work)) == [True]


# ---- settling


def ship(path: str, name: str, ends: str) -> str:
    with Session(create_engine(f"sqlite:///{path}")) as session:
        session.add(Customer(name=name))
        session.flush()
        current_task().settle_within(session if ends == "commit" else True, result="settled")
        getattr(session, ends)()
    return "returned"


async def ship_async(path: str, name: str) -> str:
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with AsyncSession(engine) as session, session.begin():
        session.add(Customer(name=name))
        await current_task().settle_within_async(session, result="settled")
    await engine.dispose()
    return "returned"


def test_a_task_settles_within_a_session(app: Deferq, database: Path, immediate: Engine, worker: Worker) -> None:
    committed = app.defer(ship, str(database), "ann", "commit")
    rolled_back = app.defer(ship, str(database), "bob", "rollback")
    by_async = app.defer(ship_async, str(database), "cy")
    assert [committed.wait(30), rolled_back.wait(30), by_async.wait(30)] == ["settled", "returned", "settled"]
    assert names(immediate) == ["ann", "cy"]
