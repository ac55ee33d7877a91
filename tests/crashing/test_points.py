"""At which points a task is killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deferq import call
from deferq.testing import NotAllTried, assert_idempotent
from tests.crashing import shop

ANY = ["account", "payment", "once"]
BEFORE, AFTER = "before the commit", "after the commit"
END = "when the task was done and deferq did not know it yet"


@pytest.mark.parametrize(
    ("task", "commits"),
    [
        pytest.param(shop.count_up, 1, marks=pytest.mark.slow),
        (shop.two_commits, 2),
        (shop.autocommit, 2),
        (shop.savepoints, 2),
        (shop.script, 2),
        pytest.param(shop.own_connection, 1, marks=pytest.mark.slow),
        (shop.defer_without_name, 1),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_commit_is_two_points_and_the_end_is_one(
    task: Callable[[int], object], commits: int, database: Path
) -> None:
    points = assert_idempotent(call(task, 17), database=database, ignore=ANY, only=1).points
    kinds = [point.kind for point in points]
    if task is shop.defer_without_name:  # the store opens itself first
        assert kinds[-3:] == [BEFORE, AFTER, END]
    else:
        assert kinds == [BEFORE, AFTER] * commits + [END]


def test_points_stand_at_lines_of_the_task_and_not_of_libraries(database: Path) -> None:
    points = assert_idempotent(shop.book_once_later, 17, database=database, only=1).points
    assert [point.kind for point in points] == ["in the await", BEFORE, AFTER, "in the await", END]
    places = [point.place for point in points]
    assert [place and place.function for place in places] == [
        "book_once_later", "book_once", "book_once", "book_once_later", None,
    ]  # fmt: skip
    assert places[0] is not None
    assert places[0].code == "await asyncio.sleep(0)"


def test_every_attempt_has_an_end_of_its_own(database: Path) -> None:
    points = assert_idempotent(shop.book_at_third_attempt, 17, database=database, only=1).points
    assert [point.kind for point in points] == [END, END, BEFORE, AFTER, END]


def test_of_too_many_points_some_are_chosen_and_that_is_said(database: Path) -> None:
    chosen = []
    for _ in range(2):
        with pytest.warns(NotAllTried, match=r"killed at 1 of 61 points; chosen with seed=7, since points_max=1"):
            chosen.append(assert_idempotent(shop.many_commits, 30, database=database, points_max=1, seed=7).killed_at)
    assert len(chosen[0]) == 1
    assert chosen[0] == chosen[1]


def test_who_waits_at_a_terminal_is_told_how_far_it_is(
    database: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferq.testing.crashing.trials._SILENCE_S", -1)
    assert_idempotent(shop.set_balance, 17, database=database, only=1)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert_idempotent(shop.set_balance, 17, database=database, only=1)
    assert capsys.readouterr().err == "\rassert_idempotent: 0 of 1 points tried\n"


def test_when_the_time_is_over_the_rest_is_left_and_that_is_said(database: Path) -> None:
    with pytest.warns(NotAllTried, match=r"killed at 0 of 3 points; the 0 s of seconds= were over"):
        assert_idempotent(shop.count_up, 17, database=database, seconds=0)


def test_afterwards_the_database_is_as_it_was(database: Path, rows: Callable[[str], list[tuple[object, ...]]]) -> None:
    assert_idempotent(shop.book_once, 17, database=database, only=2)
    assert rows("select balance from account") == [(100,)]
    assert rows("select * from once") == []


def test_a_connection_of_the_test_may_stay_open(database: Path) -> None:
    connection = shop.connect()
    connection.execute("pragma journal_mode = wal")
    connection.execute("select * from account").fetchall()
    assert_idempotent(shop.book_once, 17, database=database, only=2)
    assert connection.execute("select balance from account").fetchall() == [(100,)]
    connection.close()


def test_it_may_be_called_inside_a_running_event_loop(database: Path) -> None:
    async def test() -> None:
        assert_idempotent(shop.book_once_later, 17, database=database, only=1)

    asyncio.run(test())


def test_deferq_itself_is_left_alone(database: Path, tmp_path: Path) -> None:
    assert_idempotent(shop.defer_by_name, 17, database=database, only=2)
    assert not (tmp_path / "deferq.db").exists()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="autocommit= is new in Python 3.12")
def test_a_transaction_that_python_always_keeps_open_has_its_commits(database: Path) -> None:
    points = assert_idempotent(commit_by_pep_249, 17, database=database, ignore=ANY).points
    assert [point.kind for point in points] == [BEFORE, AFTER, END]


def commit_by_pep_249(bill: int) -> None:
    connection = shop.connect(autocommit=False)
    connection.execute("insert into payment (bill, amount) values (?, 1)", (bill,))
    connection.commit()
    connection.close()


PRINTING = """
import sqlite3
from deferq.testing import assert_idempotent

def set_balance(number):
    print("run", number)
    database = sqlite3.connect("shop.db")
    with database:
        database.execute("update account set balance = 7")

if __name__ == "__main__":
    sqlite3.connect("shop.db").executescript("create table account (balance); insert into account values (1)")
    print("begin")
    assert_idempotent(set_balance, 17, database="shop.db", only=1)
    print("end")
"""


@pytest.mark.slow
def test_what_a_task_prints_is_printed_once_for_each_run_that_comes_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PRINTING)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    for _ in range(5):
        ran = subprocess.run(
            [sys.executable, "shop.py"], cwd=tmp_path, env=buffered, capture_output=True, text=True, timeout=100
        )
        (tmp_path / "shop.db").unlink()
        assert ran.stdout.splitlines() == ["begin", "run 17", "run 17", "run 17", "end"], ran.stderr
