"""Tasks of a small shop: some may be repeated, and some must not be."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path

from deferq import (
    PermanentTaskFailure,
    RetryPolicy,
    RetryTask,
    Snooze,
    call,
    call_deferred,
    current_task,
    defer,
    deferrable,
)
from deferq.testing import fault_point

SCHEMA = """
    create table account (id integer primary key, balance integer not null);
    create table payment (id integer primary key autoincrement, bill integer not null, amount integer not null);
    create table once (bill integer primary key, mailed integer not null default 0);
    insert into account values (1, 100);
"""


def make_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA)


def connect(**options: object) -> sqlite3.Connection:
    return sqlite3.connect(os.environ["SHOP_DB"], **options)  # type: ignore[call-overload]


def send_mail(to: str) -> None:
    """Replaced by the tests."""


# ---- those that may be repeated


def book_once(bill: int) -> None:
    """Looks whether it is done, and does all of it in one transaction."""
    with closing(connect()) as database, database:
        if database.execute("select 1 from once where bill = ?", (bill,)).fetchone() is None:
            database.execute("insert into once (bill) values (?)", (bill,))
            database.execute("update account set balance = balance - 10")


def book_and_settle(bill: int) -> None:
    """Looks at nothing, and settles itself in the transaction of its effect; what it defers goes with both."""
    with closing(connect()) as database, database:
        database.execute("update account set balance = balance - 10")
        call(send_mail, f"customer of {bill}").defer(within=database)
        call(send_mail, f"bookkeeper of {bill}").defer(within=database, name=f"booked-{bill}")
        current_task().settle_within(database)
    defer(send_mail, "nobody", _name=f"after-{bill}")


def book_and_roll_back_once(bill: int) -> None:
    """The first transaction is rolled back, with all that belongs to it."""
    with closing(connect()) as database:
        for end in (database.rollback, database.commit):
            database.execute("update account set balance = balance - 10")
            call(send_mail, f"customer of {bill}").defer(within=database)
            current_task().settle_within(database)
            end()


def settle_too_early(bill: int) -> None:
    """Has succeeded before its effect is there."""
    with closing(connect()) as database:
        with database:
            current_task().settle_within(database)
        with database:
            database.execute("update account set balance = balance - 10")


async def book_once_later(bill: int) -> None:
    await asyncio.sleep(0)
    book_once(bill)
    await asyncio.sleep(0)


def set_balance(balance: int) -> None:
    """Says what shall be, and not what shall change."""
    with closing(connect(isolation_level=None)) as database:
        database.execute("update account set balance = ?", (balance,))
        database.execute("insert or replace into once values (?, 1)", (balance,))


@deferrable(retry=RetryPolicy(max_attempts=5), timeout=30)
def book_at_third_attempt(bill: int) -> None:
    if current_task().attempt < 3:
        raise RetryTask(after=60)
    book_once(bill)


def book_after_a_nap(bill: int) -> None:
    with closing(connect()) as database, database:
        napped = database.execute("insert or ignore into once values (?, 7)", (-bill,)).rowcount
    if napped:
        raise Snooze(3600)
    book_once(bill)


def refuse(bill: int) -> None:
    set_balance(0)
    raise PermanentTaskFailure("no such bill")


class Till:
    def __init__(self, bill: int) -> None:
        self.bill = bill

    def book(self) -> None:
        book_once(self.bill)


def defer_by_name(bill: int) -> None:
    call(book_once, bill).defer(name=f"book-{bill}", if_exists="return")


# ---- those that must not


def insert_twice(bill: int) -> None:
    with closing(connect()) as database, database:
        database.execute("insert into payment (bill, amount) values (?, 10)", (bill,))


def count_up(bill: int) -> None:
    database = connect()
    database.execute("update account set balance = balance + 1")
    database.commit()


def two_commits(bill: int) -> None:
    """Guarded, but the guard is set too late."""
    with closing(connect()) as database:
        if database.execute("select 1 from once where bill = ?", (bill,)).fetchone() is None:
            database.execute("update account set balance = balance - 10")
            database.commit()
            database.execute("insert into once (bill) values (?)", (bill,))
            database.commit()


def count_up_by_a_function(bill: int) -> None:
    """One statement, and so one commit, in the middle of which Python runs."""
    with closing(connect(isolation_level=None)) as database:
        database.create_function("one_more", 1, lambda number: int(number) + 1)
        database.execute("update account set balance = one_more(balance)")


def guard_first(bill: int) -> None:
    """Guarded, but the guard is set too early: what comes after it is lost."""
    with closing(connect()) as database:
        with database:
            if not database.execute("insert or ignore into once (bill) values (?)", (bill,)).rowcount:
                return
        with database:
            database.execute("update account set balance = balance - 10")


def mail_before_commit(bill: int) -> None:
    with closing(connect()) as database, database:
        if database.execute("select 1 from once where bill = ?", (bill,)).fetchone() is None:
            send_mail(f"customer of {bill}")
            database.execute("insert into once values (?, 1)", (bill,))


def mail_after_commit(bill: int) -> None:
    with closing(connect()) as database:
        with database:
            first = database.execute("insert or ignore into once values (?, 1)", (bill,)).rowcount
        if first:
            fault_point("before the mail")
            send_mail(f"customer of {bill}")


async def two_commits_around_an_await(bill: int) -> None:
    with closing(connect()) as database:
        if database.execute("select 1 from once where bill = ?", (bill,)).fetchone() is None:
            with database:
                database.execute("update account set balance = balance - 10")
            await asyncio.sleep(0)
            with database:
                database.execute("insert into once (bill) values (?)", (bill,))


async def mail_in_another_task(bill: int) -> None:
    """What is wrong is in a task of asyncio's own, between two awaits, and touches no database there."""

    async def mail() -> None:
        send_mail(f"customer of {bill}")
        await asyncio.sleep(0)

    if not await asyncio.to_thread(is_booked, bill):
        await asyncio.gather(mail(), asyncio.sleep(0))
        book_once(bill)


def is_booked(bill: int) -> bool:
    with closing(connect()) as database:
        return database.execute("select 1 from once where bill = ?", (bill,)).fetchone() is not None


def pull_through(bill: int) -> None:
    """Tidies up whatever is raised; a process that dies raises nothing."""
    database = connect()
    database.execute("update account set balance = balance - 10")
    database.commit()
    try:
        fault_point("in between")
    except BaseException:
        database.execute("update account set balance = balance + 10")
        database.commit()
    finally:
        database.execute("insert or replace into once (bill) values (?)", (bill,))
        database.commit()


def defer_without_name(bill: int) -> None:
    defer(book_once, bill)


def defer_and_raise(bill: int) -> None:
    call(book_once, bill).defer(name=f"book-{bill}")


def leave_a_lock(bill: int) -> None:
    """What a killed process has locked by hand stays locked."""
    lock = Path(os.environ["SHOP_DB"] + ".lock")
    if lock.exists():
        os._exit(3)
    lock.touch()
    fault_point("locked")
    set_balance(bill)
    lock.unlink()


@call_deferred(queue="books")
def book_deferred(bill: int) -> None:
    book_once(bill)


# ---- ways to commit


def autocommit(bill: int) -> None:
    database = connect(isolation_level=None)
    database.execute("select 1").fetchall()
    database.execute("insert into payment (bill, amount) values (?, 1)", (bill,))
    database.execute(
        "-- a comment\n  with one(x) as (select 5) insert into payment (bill, amount) select x, x from one"
    )
    database.execute("with one(x) as (select 5) select x from one").fetchall()


def savepoints(bill: int) -> None:
    database = connect(isolation_level=None)
    database.execute("savepoint outer_one")
    database.execute("savepoint inner_one")
    database.execute("insert into payment (bill, amount) values (?, 1)", (bill,))
    database.execute("release inner_one")
    database.execute("release savepoint outer_one")
    database.execute("begin immediate")
    database.execute("insert into payment (bill, amount) values (?, 2)", (bill,))
    database.execute("rollback")
    database.execute("begin")
    database.execute("insert into payment (bill, amount) values (?, 3)", (bill,))
    database.execute("end")


def script(bill: int) -> None:
    database = connect()
    database.executescript("update account set balance = 1; update account set balance = 2;")


class OwnConnection(sqlite3.Connection):
    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.execute("pragma foreign_keys = on")


def own_connection(bill: int) -> None:
    database = OwnConnection(os.environ["SHOP_DB"])
    with database:
        database.execute("insert into payment (bill, amount) values (?, 1)", (bill,))


def in_a_thread(bill: int) -> None:
    import threading

    thread = threading.Thread(target=insert_twice, args=(bill,))
    thread.start()
    thread.join()


def forgotten_connections(bill: int) -> None:
    """Each is closed by nobody, and rolls back when it is collected."""
    for balance in range(3):
        connect().execute("update account set balance = ?", (balance,))
        gc.collect()
    set_balance(7)


# ---- trouble


@cache
def kept_connection() -> sqlite3.Connection:
    return connect()


def use_kept_connection(bill: int) -> None:
    with kept_connection() as database:
        database.execute("update account set balance = 7")


def fail(bill: int) -> None:
    connect().execute("select * from nowhere")


def do_nothing(bill: int) -> None: ...


def note_the_time(bill: int) -> None:
    with closing(connect()) as database, database:
        database.execute("insert or replace into once values (1, random())")


def snooze_for_ever(bill: int) -> None:
    raise Snooze(0)


def wait_for_another(bill: int) -> None:
    defer(set_balance, bill).wait(timeout=30)


def end_the_process(bill: int) -> None:
    os._exit(3)


def hang(bill: int) -> None:
    import threading

    threading.Event().wait()


def many_commits(number: int) -> None:
    with closing(connect(isolation_level=None)) as database:
        for balance in range(number):
            database.execute("update account set balance = ?", (balance,))
