"""Tests of applications whose tasks belong to transactions: in the modes of tests, tasks are stored at once."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

import deferq
from deferq import call, current_task, defer_many
from deferq.errors import NoTransaction, NotTransactional
from deferq.testing import inline, recording
from tests.testkit import jobs


def settles(name: str) -> str:
    with closing(sqlite3.connect(":memory:")) as connection:
        current_task().settle_within(connection, result="settled")
    return name


def test_a_task_within_a_transaction_is_stored_when_it_is_deferred() -> None:
    with recording() as tasks, closing(sqlite3.connect(":memory:")) as connection:
        call(jobs.note, 1).defer(within=connection)
        defer_many([call(jobs.note, 2), call(jobs.note, 3)], within=connection)
        call(jobs.note, 4).defer(within=False)
        assert len(tasks.deferred_tasks()) == 4
        tasks.drain()


def test_what_is_no_transaction_is_an_error_in_tests_as_well() -> None:
    with recording():
        with pytest.raises(NotTransactional):
            call(jobs.note, 1).defer(within=7)
        with pytest.raises(NoTransaction):
            call(jobs.note, 1).defer(within=True)


def test_an_open_session_is_found_in_tests_as_well() -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    from sqlalchemy.orm import Session

    with recording() as tasks, Session(sqlalchemy.create_engine("sqlite://")) as session, session.begin():
        deferq.defer(jobs.note, 1, _transactional=True)  # type: ignore[call-arg]
        assert len(tasks.deferred_tasks()) == 1
        session.rollback()


def test_a_task_that_settles_itself_comes_to_what_its_function_comes_to() -> None:
    with inline():
        assert call(settles, "ann").defer().wait() == "ann"
