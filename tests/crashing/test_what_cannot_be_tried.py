"""Where nothing can be told, that is said, with the reason and what to do."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deferq import InvalidOption, NotDeferrable, RetryPolicy, call
from deferq.testing import CannotTell, assert_idempotent
from tests.crashing import shop


def test_a_task_that_fails_by_itself(database: Path) -> None:
    with pytest.raises(CannotTell, match=r"ended as dead: sqlite3\.OperationalError: no such table: nowhere") as caught:
        assert_idempotent(call(shop.fail, 17).with_options(retry=RetryPolicy(max_attempts=2)), database=database)
    assert 'connect().execute("select * from nowhere")' in str(caught.value)


def test_a_task_that_leaves_nothing_to_compare(database: Path) -> None:
    with pytest.raises(CannotTell, match="leaves nothing to compare"):
        assert_idempotent(shop.do_nothing, 17, database=database)


def test_a_task_whose_runs_differ_anyway_and_what_to_ignore(database: Path) -> None:
    with pytest.raises(CannotTell, match=r"ignore=\['once.mailed'\]"):
        assert_idempotent(shop.note_the_time, 17, database=database)
    assert_idempotent(shop.note_the_time, 17, database=database, ignore=["once.mailed"], only=1)


def test_a_task_that_never_ends(database: Path) -> None:
    with pytest.raises(CannotTell, match="was started 200 times"):
        assert_idempotent(shop.snooze_for_ever, 17, database=database)


def test_a_task_that_hangs(database: Path) -> None:
    with pytest.raises(CannotTell, match=r"did not end within 0.2 s"):
        assert_idempotent(shop.hang, 17, database=database, attempt_s=0.2)


def test_a_task_that_hangs_where_other_threads_run_which_may_be_why(database: Path) -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="somebody else")
    thread.start()
    try:
        with pytest.raises(CannotTell, match=r"Other threads run in this process \(somebody else[,)]"):
            assert_idempotent(shop.hang, 17, database=database, attempt_s=0.2)
    finally:
        over.set()
        thread.join()


def test_a_task_that_ends_its_process(database: Path) -> None:
    with pytest.raises(CannotTell, match="ended by itself, with exit code 3"):
        assert_idempotent(shop.end_the_process, 17, database=database)


def test_a_connection_that_was_opened_before_and_how_it_can_be_done(database: Path) -> None:
    shop.kept_connection()
    with pytest.raises(CannotTell, match=r"shop.py:\d+ in use_kept_connection: the task uses an SQLite connection"):
        assert_idempotent(shop.use_kept_connection, 17, database=database)
    forget = shop.kept_connection.cache_clear
    assert_idempotent(shop.use_kept_connection, 17, database=database, prepare=forget, only=1)


@pytest.mark.slow
def test_a_connection_that_was_opened_before_is_not_there_in_a_new_process(database: Path) -> None:
    shop.kept_connection()
    assert_idempotent(shop.use_kept_connection, 17, database=database, start="spawn", only=1)


def test_a_prepare_that_a_new_process_cannot_find(database: Path) -> None:
    with pytest.raises(CannotTell, match="must be found by its name"):
        assert_idempotent(shop.book_once, 17, database=database, start="spawn", prepare=lambda: None)


def test_a_prepare_that_fails(database: Path) -> None:
    def prepare() -> None:
        raise ValueError("not today")

    with pytest.raises(CannotTell, match="ValueError: not today"):
        assert_idempotent(shop.book_once, 17, database=database, prepare=prepare)


@pytest.mark.parametrize("memory", [":memory:", "sqlite://", "sqlite:///:memory:", "file:x?mode=memory&cache=shared"])
def test_a_database_in_memory(memory: str) -> None:
    with pytest.raises(InvalidOption, match="lies in memory"):
        assert_idempotent(shop.book_once, 17, database=memory)


def test_a_connection_to_a_database_in_memory() -> None:
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(InvalidOption, match="lies in memory"):
        assert_idempotent(shop.book_once, 17, database=connection)


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="there is no file"):
        assert_idempotent(shop.book_once, 17, database=tmp_path / "nowhere.db")


@pytest.mark.parametrize("strange", [7, object(), "postgresql://localhost/shop"])
def test_a_database_of_another_kind(strange: Any) -> None:
    with pytest.raises(InvalidOption, match="setup="):
        assert_idempotent(shop.book_once, 17, database=strange)


def test_a_database_inside_a_transaction_of_the_test(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deferq.testing.crashing.databases._BUSY_S", 0.1)
    with closing(shop.connect()) as connection:
        connection.execute("update account set balance = 1")
        with pytest.raises(CannotTell, match=r"database is locked\. A connection of the test may be inside"):
            assert_idempotent(shop.book_once, 17, database=database)


def test_a_task_that_runs_at_most_once(database: Path) -> None:
    at_most_once = call(shop.book_once, 17).with_options(retry=RetryPolicy(max_attempts=1))
    with pytest.raises(InvalidOption, match="at most once"):
        assert_idempotent(at_most_once, database=database)


def test_what_defer_would_refuse_too(database: Path) -> None:
    with pytest.raises(NotDeferrable):
        assert_idempotent(lambda: None, database=database)
    with pytest.raises(TypeError):
        assert_idempotent(shop.book_once, 17, 18, 19, database=database)


@pytest.mark.parametrize(
    "options", [{"start": "thread"}, {"points_max": 0}, {"setup": print}], ids=lambda options: next(iter(options))
)
def test_options_that_make_no_sense(options: dict[str, Any], database: Path) -> None:
    with pytest.raises(InvalidOption, match=next(iter(options))):
        assert_idempotent(shop.book_once, 17, database=database, **options)


def test_a_point_that_does_not_exist(database: Path) -> None:
    with pytest.raises(CannotTell, match="the points 1 to 3"):
        assert_idempotent(shop.book_once, 17, database=database, only=4)
