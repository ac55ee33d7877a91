"""An application whose transactions roll back half the time, and tasks that settle within their own.

`python transacting.py KIND DATABASE SEED THREADS` writes a row and defers a task of the same name in each transaction,
until it is killed. KIND is sqlite3, sqlalchemy, async or django.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from deferq import call, configure, current_task, default

ROWS = "create table if not exists sold (name text)"
INSERT = "insert into sold values (?)"


class RolledBack(Exception):
    """Half of them are."""


class Chance:
    """What one thread does next."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._names = (f"n-{seed}-{number}" for number in itertools.count())

    def name(self) -> str:
        return next(self._names)

    def yes(self) -> bool:
        return self._random.random() < 0.5

    def maybe_roll_back(self) -> None:
        if self.yes():
            raise RolledBack


def task(name: str, within: Any = None) -> Any:
    """Sometimes small, sometimes with a payload of its own row."""
    body = "x" * (3000 if hash(name) % 4 == 0 else 1)
    return call(print, body).with_options(name=name, within=within, queue=f"q{len(name) % 3}")


# ---- one transaction of each kind


def by_sqlite3(path: str, chance: Chance) -> None:
    with closing(sqlite3.connect(path, timeout=60, isolation_level="IMMEDIATE")) as connection:
        while True:
            with suppress(RolledBack), connection:
                name = chance.name()
                connection.execute(INSERT, (name,))
                task(name, connection).defer()
                chance.maybe_roll_back()


def by_sqlalchemy(path: str, chance: Chance) -> None:
    from sqlalchemy.orm import Session

    engine = immediate(path, "sqlite")
    while True:
        with suppress(RolledBack), Session(engine) as session, session.begin():
            sell(session, chance)
            with suppress(RolledBack), session.begin_nested():
                sell(session, chance)
                chance.maybe_roll_back()
            chance.maybe_roll_back()


def sell(session: Any, chance: Chance) -> None:
    name = chance.name()
    session.connection().exec_driver_sql(INSERT, (name,))
    task(name, session if chance.yes() else None).defer()


def immediate(path: str, scheme: str) -> Any:
    """An engine by SQLAlchemy's recipe for savepoints, each transaction with the write lock."""
    from sqlalchemy import create_engine, event
    from sqlalchemy.ext.asyncio import create_async_engine

    create: Callable[..., Any] = create_engine if scheme == "sqlite" else create_async_engine
    engine = create(f"{scheme}:///{path}", connect_args={"timeout": 60})
    listened = getattr(engine, "sync_engine", engine)

    @event.listens_for(listened, "connect")
    def _no_begin(connection: Any, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(listened, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("begin immediate")

    return engine


def by_async(path: str, chance: Chance) -> None:
    asyncio.run(_by_async(path, chance))


async def _by_async(path: str, chance: Chance) -> None:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import AsyncSession

    engine = immediate(path, "sqlite+aiosqlite")
    while True:
        with suppress(RolledBack):
            async with AsyncSession(engine) as session, session.begin():
                name = chance.name()
                await session.execute(text("insert into sold values (:name)"), {"name": name})
                await task(name, session if chance.yes() else None).defer_async()
                chance.maybe_roll_back()


def by_django(path: str, chance: Chance) -> None:
    from django.db import connection, transaction

    while True:
        with suppress(RolledBack), transaction.atomic():
            _sell(connection, chance)
            with suppress(RolledBack), transaction.atomic():
                _sell(connection, chance)
                chance.maybe_roll_back()
            chance.maybe_roll_back()


def _sell(connection: Any, chance: Chance) -> None:
    name = chance.name()
    with connection.cursor() as cursor:
        cursor.execute("insert into sold values (%s)", [name])
    task(name, "default" if chance.yes() else None).defer()


def set_up_django(path: str) -> None:
    import django
    from django.conf import settings

    options = {"timeout": 60, "transaction_mode": "IMMEDIATE"}
    databases = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": options}}
    settings.configure(DATABASES=databases)
    django.setup()


KINDS: dict[str, Callable[[str, Chance], None]] = {
    "sqlite3": by_sqlite3,
    "sqlalchemy": by_sqlalchemy,
    "async": by_async,
    "django": by_django,
}


def main(kind: str, path: str, seed: str, threads: str) -> None:
    configure(f"sqlite:///{path}?synchronous=OFF")
    default.default().engine.counts()
    if kind == "django":
        set_up_django(path)
    for number in range(int(threads)):
        chance = Chance(f"{seed}-{number}")
        threading.Thread(target=run, args=(kind, path, chance), daemon=True).start()
    print("sells", flush=True)
    threading.Event().wait()


def run(kind: str, path: str, chance: Chance) -> None:
    try:
        KINDS[kind](path, chance)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(3)  # whoever watches us sees it


# ---- tasks


@contextmanager
def transaction_of(kind: str, path: str) -> Iterator[tuple[Any, Any]]:
    """An open transaction: what to execute by, and what to settle within."""
    if kind == "sqlalchemy":
        from sqlalchemy.orm import Session

        engine = immediate(path, "sqlite")
        with Session(engine) as session, session.begin():
            yield session.connection().exec_driver_sql, session
        engine.dispose()
    else:
        with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
            yield connection.execute, connection


def ship(kind: str, path: str, dies: str) -> None:
    """An effect that must happen once, and a death at the worst time of the first attempt."""
    first = current_task().attempt == 1
    with transaction_of(kind, path) as (execute, within):
        execute("insert into shipped values (?)", (str(current_task().id),))
        current_task().settle_within(within)
        call(follow).defer(within=within, name=f"after-{current_task().id}")
        if first and dies == "before":
            os.kill(os.getpid(), signal.SIGKILL)
    if first and dies == "after":
        os.kill(os.getpid(), signal.SIGKILL)


def follow() -> None: ...


if __name__ == "__main__":
    main(*sys.argv[1:])
