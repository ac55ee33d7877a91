"""Databases that are not named by a path: by functions, by SQLAlchemy, by Django, by a connection."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq, RetryPolicy, call
from deferq.demo import ledger, tasks
from deferq.testing import CannotTell, FakeClock, NotIdempotent, Trials, assert_idempotent, inline, recording
from deferq.testing.crashing.databases import databases_of
from tests.crashing import shop


class Bank:
    """A database that is not SQLite, as far as anybody can see: what is not committed is not written."""

    def __init__(self) -> None:
        self.accounts: dict[str, int] = json.loads(Path(os.environ["BANK"]).read_text())

    def commit(self) -> None:
        aside = Path(os.environ["BANK"] + ".new")
        aside.write_text(json.dumps(self.accounts))
        aside.replace(os.environ["BANK"])

    async def commit_later(self) -> None:
        self.commit()


def transfer(amount: int) -> None:
    bank = Bank()
    bank.accounts["ann"] -= amount
    bank.commit()
    bank.accounts["bob"] += amount
    bank.commit()


async def transfer_later(amount: int) -> None:
    bank = Bank()
    bank.accounts["ann"] -= amount
    await bank.commit_later()
    bank.accounts["bob"] += amount
    await bank.commit_later()


def settle_accounts(amount: int) -> None:
    bank = Bank()
    bank.accounts.update(ann=100 - amount, bob=amount)
    bank.commit()


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Callable[[], Any]]]:
    path = tmp_path / "bank.json"
    monkeypatch.setenv("BANK", str(path))

    def snapshot() -> dict[str, list[dict[str, object]]]:
        return {"accounts": [{"name": name, "balance": balance} for name, balance in Bank().accounts.items()]}

    yield {"setup": lambda: path.write_text('{"ann": 100, "bob": 0}'), "snapshot": snapshot}
    assert path.read_text() == '{"ann": 100, "bob": 0}'


@pytest.mark.slow
def test_two_functions_stand_for_any_database_and_its_commits_are_named(bank: dict[str, Any]) -> None:
    trials = assert_idempotent(settle_accounts, 30, commits=[(Bank, "commit")], only=2, **bank)
    assert len(trials.points) == 3
    with pytest.raises(NotIdempotent) as caught:
        assert_idempotent(transfer, 30, commits=[(Bank, "commit")], **bank)
    assert [broke.point.number for broke in caught.value.trials.broke] == [2, 3, 4, 5]
    assert "- (name='bob', balance=30)" in str(caught.value)
    assert "in transfer" in str(caught.value)


@pytest.mark.slow
def test_a_commit_that_is_awaited_is_over_when_it_was_awaited(bank: dict[str, Any]) -> None:
    with pytest.raises(NotIdempotent) as caught:
        assert_idempotent(transfer_later, 30, commits=[(Bank, "commit_later")], **bank)
    assert [broke.point.number for broke in caught.value.trials.broke] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "given",
    [
        str,
        lambda path: f"sqlite:///{path}",
        lambda path: [path],
        lambda path: lambda: sqlite3.connect(path),
    ],
    ids=["path", "url", "list", "function"],
)
def test_a_database_can_be_given_in_many_ways(given: Callable[[Path], object], database: Path, tmp_path: Path) -> None:
    (found,) = databases_of(given(database), None, None, tmp_path)
    assert found.read()["account"].rows == [(1, 100)]


def test_a_database_can_be_given_as_a_connection(database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        (found,) = databases_of(connection, None, None, tmp_path)
    assert found.read()["account"].rows == [(1, 100)]


@pytest.fixture
def try_in_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Trials]]:
    """Tries a task of the demo, whose database is its ledger: what was noted there, however often."""
    path = tmp_path / "ledger"
    monkeypatch.setattr(tasks, "SHORT_S", 0)
    token = ledger.LEDGER.set(str(path))
    deferq = Deferq(f"sqlite:///{tmp_path}/demo.db", carry=[ledger.LEDGER])
    yield lambda task: assert_idempotent(
        deferq.call(task, 17),
        setup=lambda: path.unlink(missing_ok=True),
        snapshot=lambda: {"ledger": [sorted(words) for words in ledger.read(path).values()]},
        commits=[(ledger, "note")],
    )
    ledger.LEDGER.reset(token)


@pytest.mark.parametrize(
    "task",
    [
        tasks.send_receipt,
        pytest.param(tasks.call_shaky_service, marks=pytest.mark.slow),
        pytest.param(tasks.charge_closed_account, marks=pytest.mark.slow),
        pytest.param(tasks.wait_for_opening, marks=pytest.mark.slow),
        tasks.ask_exchange_rate,
        pytest.param(tasks.warehouse.restock, marks=pytest.mark.slow),
    ],
    ids=lambda task: task.__name__,
)
def test_the_tasks_of_the_demo_note_the_same_wherever_they_are_killed(
    task: Callable[[int], object], try_in_demo: Callable[..., Trials]
) -> None:
    trials = try_in_demo(task)
    assert trials.killed_at == list(range(1, len(trials.points) + 1))


def test_but_the_one_that_asks_for_the_number_of_its_attempt(try_in_demo: Callable[..., Trials]) -> None:
    """Killed in its first attempt, it has none that asks to be run again."""
    with pytest.raises(NotIdempotent, match=r"- \('again', 'done'\)\n    \+ \('done'\)") as caught:
        try_in_demo(tasks.wait_for_payment)
    assert [broke.point.number for broke in caught.value.trials.broke] == [1]


SQLALCHEMY = """
from sqlalchemy import create_engine, text
from deferq.testing import CannotTell, FakeClock, NotIdempotent, Trials, assert_idempotent, inline, recording

engine = create_engine("sqlite:///shop.db")

def count_up(number):
    with engine.begin() as connection:
        connection.execute(text("update account set balance = balance + 1"))

def set_balance(number):
    with engine.begin() as connection:
        connection.execute(text("update account set balance = 7"))

if __name__ == "__main__":
    with engine.begin() as connection:  # leaves a connection in the pool
        connection.execute(text("create table account (id integer primary key, balance integer)"))
        connection.execute(text("insert into account values (1, 100)"))
    print(assert_idempotent(set_balance, 17, database=engine))
    try:
        assert_idempotent(count_up, 17, database=engine)
    except NotIdempotent as error:
        print(error)
"""

IMPORTED = """
import sqlite3
import django.db
from deferq.testing import assert_idempotent

def set_balance(number):
    connection = sqlite3.connect("shop.db")
    connection.execute("update account set balance = 7")
    connection.commit()

if __name__ == "__main__":
    sqlite3.connect("shop.db").executescript("create table account (balance integer); insert into account values (1)")
    print(assert_idempotent(set_balance, 17, database="shop.db"))
"""
DJANGO = """
import django
from django.conf import settings
from deferq.testing import CannotTell, NotIdempotent, assert_idempotent

settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.db"}})
django.setup()
from django.db import connection, transaction

def count_up(number):
    with transaction.atomic(), connection.cursor() as cursor:
        with transaction.atomic():
            cursor.execute("update account set balance = balance + 1")

def set_balance(number):
    with connection.cursor() as cursor:
        cursor.execute("update account set balance = 7")

if __name__ == "__main__":
    with connection.cursor() as cursor:
        cursor.execute("create table account (id integer primary key, balance integer)")
        cursor.execute("insert into account values (1, 100)")
    print(assert_idempotent(set_balance, 17, database=connection))
    try:
        assert_idempotent(count_up, 17, database=connection)
    except NotIdempotent as error:
        print(error)
    with transaction.atomic():
        try:
            assert_idempotent(set_balance, 17, database=connection)
        except CannotTell as error:
            print(error)
"""


def run(program: str, folder: Path) -> str:
    (folder / "shop.py").write_text(program)
    ran = subprocess.run([sys.executable, "shop.py"], cwd=folder, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_sqlalchemy_connects_anew_in_each_process(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    told = run(SQLALCHEMY, tmp_path)
    assert "killed at 3 of 3 points\n" in told
    assert "after the commit at shop.py:8 in count_up" in told
    assert "balance is 102, and should be 101" in told


def test_django_may_be_imported_and_have_no_settings(tmp_path: Path) -> None:
    assert "killed at 3 of 3 points\n" in run(IMPORTED, tmp_path)


@pytest.mark.slow
def test_django_connects_anew_in_each_process(tmp_path: Path) -> None:
    pytest.importorskip("django")
    told = run(DJANGO, tmp_path)
    assert "killed at 3 of 3 points\n" in told
    assert "in count_up" in told
    assert "balance is 102, and should be 101" in told
    assert "TransactionTestCase" in told


@pytest.mark.slow
def test_a_call_of_another_deferq_defers_into_the_store_of_the_trial(tmp_path: Path) -> None:
    own = Deferq(f"sqlite:///{tmp_path}/own.db")
    with pytest.raises(NotIdempotent, match="deferred twice instead of once"):
        assert_idempotent(own.call(shop.defer_without_name, 17))
    assert_idempotent(call(shop.defer_by_name, 17), only=2)
    assert not (tmp_path / "own.db").exists()


@pytest.mark.parametrize("mode", [recording, inline])
def test_a_test_that_has_exchanged_the_stores_can_try_a_task_all_the_same(mode: Callable[..., Any]) -> None:
    with mode(clock=FakeClock(datetime(2001, 1, 1, tzinfo=UTC))) as tasks:
        with pytest.raises(NotIdempotent, match="deferred twice instead of once"):
            assert_idempotent(call(shop.defer_without_name, 17).with_options(expires=60), only=2)
        assert tasks.deferred_tasks() == []
        call(shop.do_nothing, 17).defer()
        assert len(tasks.deferred_tasks()) == 1


def test_a_task_that_waits_for_another_one_cannot_be_tried() -> None:
    with pytest.raises(CannotTell, match="nothing that it defers runs"):
        assert_idempotent(call(shop.wait_for_another, 17).with_options(retry=RetryPolicy(max_attempts=2)))
