"""Connections to the database file: one that writes, and as many readers as threads read at the same time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from deferq.errors import ConfigError, DeferqError

Connect = Callable[[str], sqlite3.Connection]

#: Milliseconds to wait for a writer that does not use the gate, such as the sqlite3 shell.
BUSY_TIMEOUT_MS = 30_000
#: Of a new file. A commit writes whole pages, and a lone task touches two of them; see design note 8.
PAGE_BYTES = 2048
#: A log that starts over is cut to this.
LOG_LIMIT_BYTES = 64 * 1024 * 1024
SYNCHRONOUS = ("FULL", "NORMAL", "OFF", "EXTRA")
OLDEST_SQLITE = (3, 38, 0)


def connect(path: str) -> sqlite3.Connection:
    """A connection without Python's implicit transactions, usable from any thread (one at a time)."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)


def first_row(connection: sqlite3.Connection, statement: str, parameters: Mapping[str, Any] | None = None) -> Any:
    """The first row of the answer, or None; whatever happens, nothing stays open."""
    with closing(connection.execute(statement, parameters or {})) as rows:
        return rows.fetchone()


def check_version() -> None:
    """Raise ConfigError if this Python's SQLite is too old for the engine's SQL (`->>`, STRICT, UPDATE FROM)."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise ConfigError(
            f"This Python was built with SQLite {sqlite3.sqlite_version}; the embedded store needs 3.38 or newer."
            " Use a newer Python build."
        )


class Connections:
    """Opens connections with the pragmas the engine relies on, and keeps the idle readers."""

    def __init__(self, path: Path, synchronous: str, connect: Connect) -> None:
        self._path = str(path)
        self._synchronous = synchronous
        self._connect = connect
        self._readers: list[sqlite3.Connection] = []
        self._light_writers: list[sqlite3.Connection] = []
        self._all: list[sqlite3.Connection] = []

    def writer(self) -> sqlite3.Connection:
        """A new connection for writing."""
        return self._open(
            f"pragma page_size = {PAGE_BYTES}",
            "pragma journal_mode = wal",
            f"pragma synchronous = {self._synchronous}",
            # Checkpoints run behind the gate and nowhere else; see checkpoint.py.
            "pragma wal_autocheckpoint = 0",
            f"pragma journal_size_limit = {LOG_LIMIT_BYTES}",
            "pragma foreign_keys = on",
        )

    def reader(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection for reading, handed back afterwards. It never holds a snapshot open in between."""
        return self._borrowed(self._readers, "pragma wal_autocheckpoint = 0", "pragma query_only = on")

    def light_writer(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection whose commits do not wait for the disk, handed back afterwards; see design note 17.

        The log is one file: who commits on the other connection syncs what was committed here before.
        """
        mode = "OFF" if self._synchronous == "OFF" else "NORMAL"
        return self._borrowed(self._light_writers, "pragma wal_autocheckpoint = 0", f"pragma synchronous = {mode}")

    @contextmanager
    def _borrowed(self, idle: list[sqlite3.Connection], *pragmas: str) -> Iterator[sqlite3.Connection]:
        try:
            connection = idle.pop()
        except IndexError:
            connection = self._open(*pragmas)
        try:
            yield connection
        except DeferqError:
            idle.append(connection)
            raise
        except BaseException:  # it may be of no more use, or have a statement under way
            self.drop(connection)
            raise
        idle.append(connection)

    def drop(self, connection: sqlite3.Connection) -> None:
        """Close a connection that nobody else uses; an open transaction of it is rolled back."""
        if connection in self._all:
            self._all.remove(connection)
        with suppress(sqlite3.Error):
            connection.close()

    def close(self) -> None:
        """Close every connection that was opened here."""
        self._readers.clear()
        self._light_writers.clear()
        while self._all:
            self._all.pop().close()

    def abandon(self) -> list[sqlite3.Connection]:
        """Forget all connections without closing them, and return them: closing is the parent's right after a fork."""
        abandoned, self._all, self._readers, self._light_writers = self._all, [], [], []
        return abandoned

    def _open(self, *pragmas: str) -> sqlite3.Connection:
        connection = self._connect(self._path)
        try:
            connection.execute(f"pragma busy_timeout = {BUSY_TIMEOUT_MS}")
            connection.execute("pragma temp_store = memory")
            connection.execute("pragma cache_size = -16000")
            for pragma in pragmas:
                connection.execute(pragma)
        except BaseException:  # the file cannot be read: each attempt would leave one behind
            connection.close()
            raise
        self._all.append(connection)
        return connection
