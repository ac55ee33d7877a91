"""Tasks of `taskqueue` in transactions of the caller's: they exist if and only if it commits."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from deferq import Deferq, Queue
from deferq import errors as core
from deferq.compat.appengine import taskqueue
from deferq.engines.base import Filter

sqlalchemy = pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed; pip install '.[test]' brings it")
from sqlalchemy.orm import Session  # noqa: E402

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
Transactions = Callable[[], Any]


@pytest.fixture
def transactions(app: Deferq) -> Iterator[Transactions]:
    """`with transactions() as session:` is a transaction on the store's own database, which has written already."""
    app.engine.open()  # type: ignore[attr-defined]
    engine = sqlalchemy.create_engine(f"sqlite:///{app.engine.path}")  # type: ignore[attr-defined]
    with engine.begin() as connection:
        connection.exec_driver_sql("create table shop (id integer primary key)")
    sessions: list[Session] = []

    def begin() -> Any:
        sessions.append(Session(engine))
        sessions[-1].execute(sqlalchemy.text("insert into shop default values"))
        return sessions[-1]

    yield begin
    for session in sessions:
        session.close()
    engine.dispose()


def payloads(app: Deferq) -> list[int]:
    """How many tasks others see, and how many rows of the application."""
    with closing(sqlite3.connect(app.engine.path)) as connection:  # type: ignore[attr-defined]
        rows = connection.execute("select count(*) from shop").fetchone()[0]
    return [len(app.engine.find(Filter()).tasks), rows]


def test_a_task_is_there_when_its_transaction_has_committed(app: Deferq, transactions: Transactions) -> None:
    with transactions() as session:
        task = taskqueue.add("x", url="/x", transactional=True)
        assert task.was_enqueued
        assert payloads(app) == [0, 0]
        session.commit()
    assert payloads(app) == [1, 1]
    assert taskqueue.Queue().delete_tasks(task).was_deleted


@pytest.mark.parametrize("transactional", [True, False])
def test_a_rollback_takes_it_away(app: Deferq, transactions: Transactions, transactional: bool) -> None:
    with transactions() as session:
        taskqueue.add("x", url="/x", transactional=transactional)
        session.rollback()
    assert payloads(app) == [0, 0]


def test_rows_and_tasks_stay_equal_whatever_is_rolled_back(app: Deferq, transactions: Transactions) -> None:
    random_ = random.Random(7)
    for _ in range(40):
        with transactions() as session:
            taskqueue.add("x", url="/x", transactional=random_.random() < 0.5)
            session.commit() if random_.random() < 0.5 else session.rollback()
    tasks, rows = payloads(app)
    assert tasks == rows
    assert 5 < rows < 35


def test_outside_a_transaction_it_is_an_error_before_anything_else(app: Deferq) -> None:
    for options in ({}, {"name": "named"}):
        with pytest.raises(taskqueue.BadTransactionStateError) as raised:
            taskqueue.Task("x", url="/x", **options).add_async(transactional=True)
        assert isinstance(raised.value, core.NoTransaction)


def test_it_cannot_be_named(transactions: Transactions) -> None:
    with transactions(), pytest.raises(taskqueue.InvalidTaskNameError, match="cannot be named"):
        taskqueue.add("x", url="/x", name="named", transactional=True)


def test_a_sixth_task_in_one_transaction_is_refused(app: Deferq, transactions: Transactions) -> None:
    with transactions() as session:
        for _ in range(5):
            taskqueue.add("x", url="/x", transactional=True)
        with pytest.raises(taskqueue.DatastoreError, match="maximum allowed is 5"):
            taskqueue.add("x", url="/x", transactional=True)
        session.commit()
    assert payloads(app) == [5, 1]
    with transactions() as session:
        taskqueue.Queue().add([taskqueue.Task(url="/x") for _ in range(5)], transactional=True)
        session.rollback()
    with transactions() as session:
        with pytest.raises(taskqueue.DatastoreError):
            taskqueue.Queue().add([taskqueue.Task(url="/x") for _ in range(6)], transactional=True)
        taskqueue.Queue().add([taskqueue.Task(url="/x") for _ in range(5)], transactional=True)
        session.commit()
    assert payloads(app) == [10, 2]


def test_more_than_a_mebibyte_in_one_call_is_refused(transactions: Transactions) -> None:
    tasks = [taskqueue.Task(b"x" * 1_048_000, method="PULL"), taskqueue.Task(b"x" * 500, method="PULL")]
    assert sum(task.size for task in tasks) <= taskqueue.MAX_TRANSACTIONAL_REQUEST_SIZE_BYTES
    more = [taskqueue.Task(b"x" * 600_000, method="PULL") for _ in range(2)]
    with transactions() as session:
        with pytest.raises(taskqueue.TransactionalRequestTooLargeError):
            taskqueue.Queue("pull").add(more, transactional=True)
        taskqueue.Queue("pull").add(tasks, transactional=True)
        session.commit()
    assert len(taskqueue.Queue("pull").lease_tasks(60, 10)) == 2


def test_what_keeps_one_out_keeps_out_all(app: Deferq, transactions: Transactions) -> None:
    batch = [taskqueue.Task(url="/x"), taskqueue.Task(url="/a//b"), taskqueue.Task(url="/y")]
    with transactions() as session:
        with pytest.raises(taskqueue.InvalidUrlError):
            taskqueue.Queue().add(batch, transactional=True)
        session.commit()
    assert payloads(app) == [0, 1]
    assert [task.was_enqueued for task in batch] == [False] * 3
    with pytest.raises(taskqueue.InvalidUrlError):
        taskqueue.Queue().add(batch)
    assert [task.was_enqueued for task in batch] == [True, False, True]


def test_a_pull_queue_that_nobody_has_used_yet_comes_with_the_transaction(
    app: Deferq, transactions: Transactions
) -> None:
    with transactions() as session:
        taskqueue.add("x", method="PULL", queue_name="pull", transactional=True)
        session.rollback()
    assert taskqueue.Queue("pull").lease_tasks(60, 1) == []
    with transactions() as session:
        taskqueue.add("x", method="PULL", queue_name="pull", transactional=True)
        session.commit()
    assert [task.payload for task in taskqueue.Queue("pull").lease_tasks(60, 10)] == [b"x"]


def test_declared_queues_are_checked_in_a_transaction_too(
    configured: Callable[..., Deferq], app: Deferq, transactions: Transactions
) -> None:
    declared = configured(queues={"pull": Queue(pull=True), "mail": Queue(rate="1/s")})
    with transactions() as session:
        taskqueue.add("x", queue_name="mail", transactional=True)
        with pytest.raises(taskqueue.UnknownQueueError):
            taskqueue.add("x", queue_name="male", transactional=True)
        with pytest.raises(taskqueue.InvalidQueueModeError):
            taskqueue.add("x", queue_name="pull", transactional=True)
        session.commit()
    assert taskqueue.Queue("mail").fetch_statistics().tasks == 1
    assert {queue.name: queue.limits.rate for queue in declared.engine.queues()}["mail"] == "1/s"
