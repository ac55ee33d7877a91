"""Writing by a connection of the caller's, in the caller's transaction.

Such a transaction does not come through the gate: SQLite alone says who writes. Nothing here may wait for somebody who
waits for the caller, so nothing takes the gate while the caller may hold SQLite's write lock.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from deferq.engines.answers import PutAnswer
from deferq.engines.base import RING_AHEAD_US, Settlement, check_sizes
from deferq.engines.declaring import what_differs
from deferq.engines.sqlite import changing, files, migrations, putting, readers, reading, settling
from deferq.engines.sqlite.connections import first_row
from deferq.engines.sqlite.place import Identity
from deferq.engines.sqlite.rows import json_list
from deferq.engines.sqlite.statements import statements
from deferq.engines.sqlite.trouble import beside, raise_ours, translated
from deferq.errors import (
    CannotUpgrade,
    NotTransactional,
    OtherDatabase,
    StoreNotPrepared,
    StoreUnavailable,
)
from deferq.model.queue import Queue
from deferq.model.task import NewTask

if TYPE_CHECKING:
    from deferq.engines.sqlite.engine import SqliteEngine
    from deferq.engines.within import CallersConnection

Answer = TypeVar("Answer")
SQL = statements("within")
#: Milliseconds for which a write beside an open transaction waits before it asks who is in the way.
PATIENCE_MS = 500
#: Seconds after which somebody else's lock is given up on.
GIVE_UP_S = 30.0


class SqliteWithin:
    """The engine's work by connections of others."""

    def __init__(self, engine: SqliteEngine) -> None:
        self._engine = engine
        #: Which file the id was read from, and the id.
        self._known: tuple[Identity, str] | None = None

    # ---- which database it is

    def is_on(self, connection: CallersConnection) -> bool:
        """Whether it is a connection to the file that is the store, or is to be. The id is for `prepare` to look at."""
        if connection.dialect != "sqlite":
            return False
        with self._told(connection):
            main = _files(connection)["main"]
        return bool(main) and self.is_place(main)

    def prepare(self, connection: CallersConnection) -> None:
        """Open the store without waiting for the caller, and make sure that the connection is on it."""
        if connection.dialect != "sqlite":
            raise NotTransactional(
                f"within: {connection.what} is on {connection.dialect}, and the store {self._path} is an SQLite file."
                " Use one database for both, or leave within out and defer after the commit."
            )
        with self._told(connection):
            listed = _files(connection)
        if not listed["main"] or not self.is_place(listed["main"]):
            raise self._other(connection, self._where_instead(listed))
        self._open(connection)

    def _check_id(self, connection: CallersConnection) -> None:
        """The file is the right one; whether the database in it is, too, its id tells. A copy has the same id."""
        is_ours, is_hidden = connection.execute(SQL["whose"], {"id": self._id()}).fetchone()
        if not is_ours:  # perhaps another store was written over ours since it was last read
            self._known = None
            is_ours, is_hidden = connection.execute(SQL["whose"], {"id": self._id()}).fetchone()
        if is_hidden:
            hidden = "it has tables of its own named deferq_... among its temporary ones, which hide the store's"
            raise self._other(connection, hidden)
        if not is_ours:
            raise self._other(connection, "it has another database id")

    def _other(self, connection: CallersConnection, why: str) -> OtherDatabase:
        return OtherDatabase(
            f"within: {connection.what} is on another database than the store {self._path}: {why}. Let the"
            ' application and deferq use the same file: configure("sqlite:///that file").'
        )

    @property
    def _path(self) -> Path:
        return self._engine.path

    def _where_instead(self, listed: Mapping[str, str]) -> str:
        for name, file in listed.items():
            if file and self.is_place(file):
                return (
                    f"that one is only attached, as {name!r}, and a transaction over two files is none when the power"
                    " fails"
                )
        return f"it is on {listed['main']}" if listed["main"] else "its main database is in memory"

    def _id(self) -> str:
        """The id of the engine's database."""
        now = files.identity(self._path)
        if self._known is None or self._known[0] != now:
            with translated(str(self._path)), self._look() as reader:
                self._known = now, str(first_row(reader, SQL["database_id"])[0])
        return self._known[1]

    @contextmanager
    def _look(self) -> Iterator[sqlite3.Connection]:
        """A connection for a look that needs no open store. It is not the last one: the caller has one."""
        with closing(self._engine.connect()) as reader:
            yield reader

    def _open(self, connection: CallersConnection) -> None:
        if self._engine.is_open:
            return
        if not connection.in_transaction:
            self._engine.open()
            return
        if not self._is_ready():
            raise StoreNotPrepared(
                f"within: the tables of the store {self._path} are not there yet, or of an older release, and they"
                f" cannot be made while {connection.what} has a transaction open. Run 'deferq db upgrade', or start a"
                " worker, before the first transaction."
            )
        self._engine.open(behind_gate=False)

    def _is_ready(self) -> bool:
        """Whether opening the store would write nothing."""
        if not files.check(self._path):
            return False
        with translated(str(self._path)), self._look() as reader:
            newest = migrations.schema_version(reader) >= migrations.newest_version()
            return newest and first_row(reader, "pragma journal_mode")[0] == "wal"

    # ---- writing

    def put(
        self, connection: CallersConnection, tasks: Sequence[NewTask], declared: Mapping[str, Queue]
    ) -> list[PutAnswer]:
        """Store tasks as the engine's own `put` does."""
        check_sizes(tasks, self._engine.payload_limit)

        def write(by: sqlite3.Connection) -> list[PutAnswer]:
            self._declare(by, declared)
            # What is made here may be rolled back, so it does not become known.
            putting.add_queues(by, self._engine.unknown(task.queue for task in tasks))
            return putting.put(by, tasks, self._engine.now())

        return self._stroke(connection, write)

    def _declare(self, by: sqlite3.Connection, declared: Mapping[str, Queue]) -> None:
        if declared and (changes := what_differs(reading.queues(by), declared)):
            changing.change_queues(by, changes)

    def uncommitted(self, connection: CallersConnection, ids: Sequence[int]) -> list[int]:
        """Those that this connection sees, and nobody else does yet."""
        if not ids:
            return []
        seen = {task.id for task in self._stroke(connection, lambda by: reading.get(by, ids))}
        return sorted(seen - {task.id for task in self._engine.get(ids)})

    def settle(self, connection: CallersConnection, settlement: Settlement) -> bool:
        """Write the end of a lease; false: it is lost."""
        now, tombstone_us = self._engine.now(), self._engine.tombstone_us
        return not self._stroke(connection, lambda by: settling.settle(by, [settlement], now, tombstone_us))

    def is_settled(self, settlement: Settlement) -> bool:
        """Whether it stands so in the store."""
        found = self._engine.get([settlement.task.id])
        return bool(found) and (found[0].lease_id, found[0].state) == (
            settlement.task.lease_id,
            settlement.transition.state,
        )

    def _stroke(self, connection: CallersConnection, write: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """All that `write` does or nothing of it: what fails leaves the transaction as it was."""
        was_open = connection.in_transaction
        with self._told(connection, was_open=was_open):
            began = connection.begin()
            try:
                connection.execute("savepoint deferq")
                connection.execute(SQL["lock"])
                self._check_id(connection)
                answer = write(cast(sqlite3.Connection, connection))
                connection.execute("release deferq")
            except BaseException:
                _undo(connection, began)
                raise
        return answer

    @contextmanager
    def _told(self, connection: CallersConnection, *, was_open: bool = False) -> Iterator[None]:
        """Raise what SQLite says about the caller's connection in our words."""
        try:
            yield
        except sqlite3.Error as error:
            self._raise_ours(error, connection, was_open)

    def _raise_ours(self, error: sqlite3.Error, connection: CallersConnection, was_open: bool) -> None:
        code = getattr(error, "sqlite_errorcode", None) or 0
        what = connection.what
        gone = " SQLite has rolled the transaction back." if was_open and not _is_open(connection) else ""
        if code == sqlite3.SQLITE_BUSY_SNAPSHOT or (was_open and code & 0xFF == sqlite3.SQLITE_BUSY):
            raise CannotUpgrade(
                f"within: {what} cannot write in its transaction ({error}): it began without the write lock, and"
                " another one has written since, or does now. Begin with BEGIN IMMEDIATE (Django: OPTIONS"
                ' {"transaction_mode": "IMMEDIATE"}), and run this transaction again from its start. Nothing was'
                " stored."
            ) from error
        if code & 0xFF == sqlite3.SQLITE_AUTH:
            raise StoreUnavailable(
                f"within: the authorizer of {what} does not let deferq write its tables ({error}). Let it allow"
                f" statements on deferq_*. Nothing was stored.{gone}"
            ) from error
        if code & 0xFF == sqlite3.SQLITE_READONLY:
            raise StoreUnavailable(
                f"within: {what} may only read ({error}). Use a connection without mode=ro and query_only. Nothing was"
                f" stored.{gone}"
            ) from error
        raise_ours(error, str(self._path))

    # ---- afterwards, and beside

    def rings_for(self, eta: int) -> bool:
        """Whether a task that is due then is worth a ring."""
        return eta <= self._engine.now() + RING_AHEAD_US

    def ring(self, ids: Sequence[int]) -> bool | None:
        """Wake dispatchers if one of these tasks is committed; a bell for nothing would be rung in vain.

        A transaction that has stored them holds the write lock to its end. So if nobody here holds it, and they are not
        there, they never will be.
        """
        may_come = readers.may_write(self._path)  # asked first: the lock goes when the tasks are there
        try:
            if self._engine.read(lambda reader: first_row(reader, SQL["any_stored"], {"ids": json_list(ids)})):
                self._engine.ring()
                return True
        except Exception:  # it is called from commits of others; and nobody knows yet
            return None
        return None if may_come else False

    def is_place(self, file: str) -> bool:
        """Whether the store lies in this file."""
        found = files.identity(Path(file))
        return found is not None and found == files.identity(self._path)

    def may_be_writing(self) -> bool:
        """Whether a connection of this process may hold the write lock."""
        return readers.may_write(self._path)

    def check_free(self) -> None:
        """Raise WriteBesideTransaction if a connection of this process keeps us from writing.

        The kernel says which process has the lock; where it does not, who holds it for long is taken for ourselves.
        """
        if files.identity(self._path) is None:
            return  # nobody holds anything yet; and what opens it may wait for whoever waits for us
        give_up = time.monotonic() + GIVE_UP_S
        with translated(str(self._path)), closing(self._engine.connect()) as probe:
            probe.execute(f"pragma busy_timeout = {PATIENCE_MS}")
            while not _may_write(probe):
                if readers.writer(self._path) in (None, os.getpid()) or time.monotonic() > give_up:
                    raise beside(str(self._path))


def _files(connection: CallersConnection) -> dict[str, str]:
    """Which file each of its databases lies in; empty: in memory."""
    return {row[1]: row[2] for row in connection.execute("pragma database_list")}


def _may_write(probe: sqlite3.Connection) -> bool:
    try:
        probe.execute("begin immediate")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return False
        raise
    probe.execute("commit")  # of nothing
    return True


def _undo(connection: CallersConnection, began: bool) -> None:
    """Take back what was written. After some errors SQLite has rolled back everything by itself."""
    with suppress(sqlite3.Error):
        if not connection.in_transaction:
            return
        if began:
            connection.execute("rollback")
        else:
            connection.execute("rollback to deferq")
            connection.execute("release deferq")


def _is_open(connection: CallersConnection) -> bool:
    with suppress(sqlite3.Error):
        return connection.in_transaction
    return False


__all__ = ["SqliteWithin"]
