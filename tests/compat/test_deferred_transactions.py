"""Deferred calls in transactions of SQLAlchemy and Django, large ones too: they are there if and only if it commits."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable as Making
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from deferq import Deferq, State, current_task
from deferq.compat.appengine import deferred, taskqueue
from deferq.engines.base import Filter
from deferq.model.outcome import SUCCEEDED
from tests.compat import counting
from tests.compat.deferring import run_due, stored, stored_alone
from tests.support import lease_one
from tests.support.deliveries import delivery, environ_of

sqlalchemy = pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed; pip install '.[test]' brings it")
from sqlalchemy.orm import Session  # noqa: E402

LARGE = b"much " * 40_000
pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def fresh() -> None:
    counting.forget()


@pytest.fixture
def engine(app: Deferq) -> Iterator[Any]:
    """SQLAlchemy's, on the file of the store, with a table of the application's."""
    app.engine.open()  # type: ignore[attr-defined]
    engine = sqlalchemy.create_engine(f"sqlite:///{app.engine.path}")  # type: ignore[attr-defined]
    with engine.begin() as connection:
        connection.exec_driver_sql("create table shop (id integer primary key)")
    yield engine
    engine.dispose()


def counts(app: Deferq) -> dict[str, int]:
    """Rows of the application, tasks, and what is kept beside them."""
    with closing(sqlite3.connect(app.engine.path)) as connection:  # type: ignore[attr-defined]
        return {
            table: connection.execute(f"select count(*) from {table}").fetchone()[0]
            for table in ("shop", "deferq_task", "deferq_spill", "deferq_name")
        }


def insert(session: Any) -> None:
    session.execute(sqlalchemy.text("insert into shop default values"))


class Rollback(Exception):
    pass


def in_transaction(engine: Any, work: Making[[], object], *, commit: bool) -> None:
    try:
        with Session(engine) as session, session.begin():
            insert(session)
            work()
            if not commit:
                raise Rollback
    except Rollback:
        pass


@pytest.mark.parametrize("options", [{}, {"_transactional": True}])
@pytest.mark.parametrize(("argument", "spills"), [(b"small", 0), (LARGE, 1)])
def test_a_call_is_there_when_its_transaction_has_committed(
    app: Deferq, engine: Any, argument: bytes, spills: int, options: dict[str, Any]
) -> None:
    in_transaction(engine, lambda: deferred.defer(counting.note, argument, **options), commit=True)
    assert counts(app) == {"shop": 1, "deferq_task": 1, "deferq_spill": spills, "deferq_name": 0}
    assert run_due(app) == [SUCCEEDED]
    assert counting.seen == [(argument,)]


@pytest.mark.parametrize("options", [{}, {"_transactional": True}])
@pytest.mark.parametrize("argument", [b"small", LARGE])
def test_neither_the_call_nor_what_stands_beside_it_outlives_a_rollback(
    app: Deferq, engine: Any, argument: bytes, options: dict[str, Any]
) -> None:
    """Google's library enqueues a large call at once, whatever becomes of the transaction."""
    in_transaction(engine, lambda: deferred.defer(counting.note, argument, **options), commit=False)
    assert counts(app) == {"shop": 0, "deferq_task": 0, "deferq_spill": 0, "deferq_name": 0}
    assert run_due(app) == []


@pytest.mark.parametrize("argument", [b"small", LARGE])
def test_nobody_sees_the_call_before_the_commit(app: Deferq, engine: Any, argument: bytes) -> None:
    """Google's library lets it run, find nothing, and be lost."""

    def work() -> None:
        deferred.defer(counting.note, argument, _transactional=True)
        assert run_due(app) == []

    in_transaction(engine, work, commit=True)
    assert run_due(app) == [SUCCEEDED]


def test_a_savepoint_that_is_rolled_back_takes_its_calls_with_it(app: Deferq, engine: Any) -> None:
    with Session(engine) as session, session.begin():
        insert(session)
        deferred.defer(counting.note, LARGE)
        nested = session.begin_nested()
        insert(session)
        deferred.defer(counting.note, LARGE)
        nested.rollback()
    assert counts(app) == {"shop": 1, "deferq_task": 1, "deferq_spill": 1, "deferq_name": 0}


def test_a_name_that_is_taken_leaves_nothing_behind_in_a_transaction_either(app: Deferq, engine: Any) -> None:
    deferred.defer(counting.note, 1, _name="once")

    def work() -> None:
        with pytest.raises(taskqueue.TaskAlreadyExistsError):
            deferred.defer(counting.note, LARGE, _name="once")

    in_transaction(engine, work, commit=True)
    assert counts(app) == {"shop": 1, "deferq_task": 1, "deferq_spill": 0, "deferq_name": 1}


def test_a_call_that_is_to_be_transactional_cannot_be_named(app: Deferq, engine: Any) -> None:
    def work() -> None:
        with pytest.raises(taskqueue.InvalidTaskNameError, match="cannot be named"):
            deferred.defer(counting.note, 1, _name="once", _transactional=True)

    in_transaction(engine, work, commit=True)
    assert counts(app)["deferq_task"] == 0


def test_outside_of_a_transaction_there_is_none_to_belong_to(app: Deferq, engine: Any) -> None:
    with pytest.raises(taskqueue.BadTransactionStateError):
        deferred.defer(counting.note, LARGE, _transactional=True)
    with pytest.raises(taskqueue.BadTransactionStateError):
        deferred.defer(counting.note, 1, _transactional=True, _name="once")
    with pytest.raises(taskqueue.BadTransactionStateError):
        taskqueue.add(url="/x", transactional=True)
    assert app.engine.find(Filter()).tasks == []


def test_a_delivered_call_settles_within_the_transaction_of_its_effect(app: Deferq, engine: Any) -> None:
    """And fails afterwards: what was committed counts."""
    global database
    database = engine
    deferred.defer(settle_and_fail, _url="/custom/path")
    environ = environ_of(delivery(app, lease_one(app.engine, delivers=True), path="/custom/path"))
    assert deferred.Handler().post(environ)[0] == "Success"
    assert counts(app)["shop"] == 1
    assert stored_alone(app).state is State.SUCCEEDED


database: Any = None


def settle_and_fail() -> None:
    with Session(database) as session, session.begin():
        insert(session)
        current_task().settle_within(session)
    raise ValueError("too late")


def test_who_says_that_it_belongs_to_none_stores_it_at_once(app: Deferq, engine: Any) -> None:
    """Before the transaction has written; afterwards each would wait for the other."""

    def read_and_defer() -> None:
        deferred.defer(counting.note, 1, _transactional=False)

    try:
        with Session(engine) as session, session.begin():
            session.execute(sqlalchemy.text("select count(*) from shop"))
            read_and_defer()
            raise Rollback
    except Rollback:
        pass
    assert run_due(app) == [SUCCEEDED]


def test_behind_a_first_write_that_is_an_error_and_not_a_wait_without_end(app: Deferq, engine: Any) -> None:
    with Session(engine) as session, session.begin():
        session.execute(sqlalchemy.text("insert into shop values (1)"))
        with pytest.raises(taskqueue.DatastoreError, match="Defer within that transaction"):
            deferred.defer(counting.note, 1, _transactional=False)
    assert run_due(app) == []


def test_a_call_too_large_for_the_store_leaves_the_transaction_as_it_was(
    configured: Making[..., Deferq],
) -> None:
    app = configured(payload_limit=300_000)
    app.engine.open()  # type: ignore[attr-defined]
    engine = sqlalchemy.create_engine(f"sqlite:///{app.engine.path}")  # type: ignore[attr-defined]
    with engine.begin() as connection:
        connection.exec_driver_sql("create table shop (id integer primary key)")

    def work() -> None:
        with pytest.raises(taskqueue.TaskTooLargeError):
            deferred.defer(counting.note, b"x" * 400_000)
        deferred.defer(counting.note, LARGE)

    in_transaction(engine, work, commit=True)
    assert counts(app) == {"shop": 1, "deferq_task": 1, "deferq_spill": 1, "deferq_name": 0}
    engine.dispose()


def test_a_queue_that_is_declared_takes_its_first_call_in_a_transaction(configured: Making[..., Deferq]) -> None:
    """What is declared is written within it, too: beside it, each would wait for the other."""
    from deferq import Queue

    app = configured(queues={"mail": Queue(rate="5/s")})
    app.engine.open()  # type: ignore[attr-defined]
    engine = sqlalchemy.create_engine(f"sqlite:///{app.engine.path}")  # type: ignore[attr-defined]
    with engine.begin() as connection:
        connection.exec_driver_sql("create table shop (id integer primary key)")
    in_transaction(engine, lambda: deferred.defer(counting.note, LARGE, _queue="mail"), commit=True)
    (queue,) = [one for one in app.engine.queues() if one.name == "mail"]
    assert queue.limits.rate == "5/s"
    engine.dispose()


def test_rows_and_calls_are_as_many_where_half_of_the_transactions_roll_back(app: Deferq, engine: Any) -> None:
    chance = random.Random(7)
    for number in range(60):
        argument = LARGE if number % 3 == 0 else number
        in_transaction(
            engine,
            lambda argument=argument: deferred.defer(counting.note, argument),
            commit=chance.random() < 0.5,
        )
    found = counts(app)
    assert found["shop"] == found["deferq_task"] > 10
    assert len(run_due(app)) == 10
    assert stored_spills(app) == found["deferq_spill"]


def stored_spills(app: Deferq) -> int:
    tasks = app.engine.find(Filter()).tasks
    return sum(app.engine.spill(task.id) is not None for task in tasks)


def test_the_task_that_comes_back_knows_its_key(app: Deferq, engine: Any) -> None:
    tasks: list[Any] = []
    in_transaction(engine, lambda: tasks.append(deferred.defer(counting.note, LARGE)), commit=True)
    (task,) = tasks
    assert task.was_enqueued
    assert str(stored(app, task).id).encode() in task.payload
