"""The floor: the least that a program without deferq would have to do for the same rows, through bare sqlite3."""

from __future__ import annotations

import contextlib
import hmac
import pickle
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench import tasks
from bench.ours import Ours
from bench.shape import LEASE_US, TABLE, Shape, bare, make_tables, shape_in
from bench.system import Candidate, Sink

BATCH = 200
MAC_BYTES = 16


class _BareStore(Sink):
    """One INSERT in a transaction of its own for each task."""

    def __init__(self, folder: Path, shape: Shape, synchronous: str, *, shared: bool = False) -> None:
        self._connection = bare(folder / "floor.db", synchronous, shared=shared)
        make_tables(self._connection, shape)
        self._insert = shape.insert()
        self._rows = shape.rows()

    def defer(self) -> None:
        self._connection.execute(self._insert, next(self._rows))

    def defer_many(self, count: int) -> None:
        rows = self._rows
        self._connection.execute("begin immediate")
        self._connection.executemany(self._insert, (next(rows) for _ in range(count)))
        self._connection.execute("commit")

    def close(self) -> None:
        self._connection.close()


class Floor(Candidate):
    """Bare sqlite3: WAL, the same `synchronous`, an equal table with equal indices, equal rows."""

    name = "floor: bare sqlite3"
    role = "floor"
    bulk = True

    def __init__(self, synchronous: str = "FULL") -> None:
        self._synchronous = synchronous
        self.durability = f"WAL, synchronous={synchronous}"

    def missing(self) -> str:
        return Ours().missing()

    def open(self, folder: Path) -> Sink:
        return _BareStore(folder, shape_in(folder.parent), self._synchronous)


class _SharedStore(_BareStore):
    """The same for many threads: one connection, one lock."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        super().__init__(folder, shape, "FULL", shared=True)
        self._lock = threading.Lock()

    def defer(self) -> None:
        with self._lock:
            super().defer()


class SharedFloor(Floor):
    """Bare sqlite3 as threads would share it."""

    name = "floor: bare sqlite3, one lock"

    def open(self, folder: Path) -> Sink:
        return _SharedStore(folder, shape_in(folder.parent))


def drain_rate(folder: Path, count: int) -> float:
    """Tasks a second of the bare loop: lease 200, verify, unpickle, call, settle 200 with the next lease."""
    shape = shape_in(folder.parent)
    secret = b"floor" * 8
    with contextlib.closing(bare(folder / "drain.db", "FULL")) as connection:
        make_tables(connection, shape)
        _fill(connection, shape, secret, count)
        begun_s = time.perf_counter()
        _drain(connection, secret)
        return count / (time.perf_counter() - begun_s)


def _fill(connection: sqlite3.Connection, shape: Shape, secret: bytes, count: int) -> None:
    body = pickle.dumps((tasks.noop, (), {}), protocol=5)
    signed = hmac.digest(secret, body, "sha256")[:MAC_BYTES] + body
    place = list(shape.pending).index("payload")
    rows = shape.rows()
    connection.execute("begin immediate")
    for _ in range(count):
        row = next(rows)
        row[place] = signed
        connection.execute(shape.insert(), row)
    connection.execute("commit")
    connection.execute("pragma wal_checkpoint(truncate)")


_LEASE = f"""
update {TABLE} set state = 1, lease_id = :lease, leasable_at = :until, starts = starts + 1
where id in (select id from {TABLE} where state = 0 and url is null and queue = :queue and priority = 0
             and leasable_at <= :now order by leasable_at, id limit {BATCH})
returning id, payload"""
_SETTLE = f"update {TABLE} set state = 2, attempts = 1, finished_at = ? where id = ? and lease_id = ?"


def _drain(connection: sqlite3.Connection, secret: bytes) -> None:
    (queue,) = connection.execute(f"select queue from {TABLE} limit 1").fetchone()
    done: list[int] = []
    lease = 0
    while True:
        now_us = time.time_ns() // 1000 + LEASE_US  # the rows' times run ahead by a microsecond each
        connection.execute("begin immediate")
        connection.executemany(_SETTLE, [(now_us, task_id, lease) for task_id in done])
        lease += 1
        named = {"lease": lease, "until": now_us + LEASE_US, "queue": queue, "now": now_us}
        leased = connection.execute(_LEASE, named).fetchall()
        connection.execute("commit")
        if not leased:
            return
        done = [_run(task_id, payload, secret) for task_id, payload in leased]


def _run(task_id: int, payload: bytes, secret: bytes) -> int:
    mac, body = payload[:MAC_BYTES], payload[MAC_BYTES:]
    if not hmac.compare_digest(mac, hmac.digest(secret, body, "sha256")[:MAC_BYTES]):
        raise ValueError("forged")
    function, arguments, keywords = _call(body)
    function(*arguments, **keywords)
    return task_id


def _call(body: bytes) -> tuple[Callable[..., object], tuple[object, ...], dict[str, object]]:
    return pickle.loads(body)  # type: ignore[no-any-return]
