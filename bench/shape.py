"""The shape of deferq's rows, taken from a database that deferq made: floor and million rows are equal to ours."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.ours import FILE, Ours
from bench.system import opened

TABLE = "deferq_task"
KEY = "id"
STATE_SUCCEEDED, STATE_DEAD = 2, 3
NEAR_US = 120_000_000
DAY_US = 86_400_000_000
ID_STEP = 1 << 12
LEASE_US = 30_000_000

Columns = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Table, indices and one row as `defer` made them."""

    ddl: tuple[str, ...]
    #: The row of a pending no-op: the columns that differ from their defaults.
    pending: Columns

    def insert(self) -> str:
        """The statement that stores such a row."""
        return _insert(self.pending)

    def rows(self) -> Iterator[list[Any]]:
        """Rows like it without end: each an id further, its times a microsecond after those of the row before."""
        now_us = time.time_ns() // 1000
        shifts = [
            ID_STEP if name == KEY else 1 if isinstance(value, int) and abs(value - now_us) < NEAR_US else 0
            for name, value in self.pending.items()
        ]
        values = list(self.pending.values())
        number = 0
        while True:
            number += 1
            yield [value + number * by if by else value for value, by in zip(values, shifts, strict=True)]


@cache
def shape_in(parent: Path) -> Shape:
    """Let deferq make a database below `parent` and look at it."""
    with TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        with opened(Ours(), folder) as store:
            store.defer()
            with contextlib.closing(sqlite3.connect(folder / FILE)) as reader:
                return Shape(ddl=tuple(_ddl(reader)), pending=_row(reader))


def bare(file: Path, synchronous: str, *, shared: bool = False) -> sqlite3.Connection:
    """A connection as a careful programmer without deferq would open it."""
    connection = sqlite3.connect(file, isolation_level=None, timeout=30, check_same_thread=not shared)
    connection.execute("pragma journal_mode = wal")
    connection.execute(f"pragma synchronous = {synchronous}")
    return connection


def make_tables(connection: sqlite3.Connection, shape: Shape) -> None:
    """The table of tasks and its indices."""
    for statement in shape.ddl:
        connection.execute(statement)


def add_future(connection: sqlite3.Connection, shape: Shape, count: int) -> None:
    """Tasks that are due within a month, but not before tomorrow."""
    spread = f"+ {DAY_US} + n * {30 * DAY_US // count}"
    times = {name: f"{shape.pending[name]} {spread}" for name in ("leasable_at", "eta", "first_due")}
    _multiply(connection, shape.pending, count, times)


def add_finished(connection: sqlite3.Connection, shape: Shape, count: int) -> None:
    """Tasks that died just now: they are kept for a month, so the janitor has no reason to touch them."""
    like = {**shape.pending, "state": STATE_DEAD, "attempts": 1, "starts": 1, "lease_id": 1, "reason": "failed"}
    finished = {"finished_at": f"{time.time_ns() // 1000} + n"}
    _multiply(connection, {**like, "finished_at": 0}, count, finished)


def forget_succeeded(connection: sqlite3.Connection) -> None:
    """Make every round of a drain start from the same store."""
    connection.execute(f"delete from {TABLE} where state = {STATE_SUCCEEDED}")
    connection.execute("pragma wal_checkpoint(truncate)")


def _multiply(connection: sqlite3.Connection, like: Columns, count: int, computed: Mapping[str, str]) -> None:
    """Store `count` rows like one; ids lie before its id, so that they are older than every task to come."""
    expressions = {**{name: f":{name}" for name in like}, **computed, KEY: f":{KEY} - (:count - n) * {ID_STEP}"}
    select = ", ".join(expressions[name] for name in like)
    names = ", ".join(like)
    connection.execute(
        f"insert into {TABLE} ({names}) with recursive numbers(n) as"
        f" (select 0 union all select n + 1 from numbers where n + 1 < :count) select {select} from numbers",
        {**like, "count": count},
    )


def _insert(like: Columns) -> str:
    return f"insert into {TABLE} ({', '.join(like)}) values ({', '.join('?' * len(like))})"


def _ddl(reader: sqlite3.Connection) -> list[str]:
    found = reader.execute(
        "select sql from sqlite_master where tbl_name = ? and sql is not null order by type = 'index', rowid", (TABLE,)
    )
    return [sql for (sql,) in found]


def _row(reader: sqlite3.Connection) -> dict[str, Any]:
    defaults = {name: default for _, name, _, _, default, _ in reader.execute(f"pragma table_info({TABLE})")}
    cursor = reader.execute(f"select * from {TABLE} order by {KEY} desc limit 1")
    values = cursor.fetchone()
    row = {column[0]: value for column, value in zip(cursor.description, values, strict=True)}
    return {name: value for name, value in row.items() if value is not None and str(value) != defaults[name]}
