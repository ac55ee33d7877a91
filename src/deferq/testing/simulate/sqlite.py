"""The simulated processes share an SQLite file; each has an engine and connections of its own.

A blow falls at any statement: an error before it, an error after it (so that the answer of a COMMIT is lost), or the
death of the process, whose transaction SQLite then rolls back. While the disk is full no statement can write.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from deferq.engines.base import Bell, LeasingEngine
from deferq.engines.sqlite import SqliteEngine
from deferq.engines.sqlite.bells import FifoBell
from deferq.testing.simulate.clock import SimulatedClock
from deferq.testing.simulate.stores import COMMIT, Blow, Fate, Process, ProcessDied, Store

Answer = TypeVar("Answer")
#: Files that need no disk: no power is cut in a simulation.
_IN_MEMORY = "/dev/shm"
_WRITES = ("insert", "update", "delete", "commit")


class SqliteFiles:
    """Makes SQLite stores, each a file in a temporary folder. `close` removes the folder."""

    def __init__(self, tombstone_s: float = 12.0) -> None:
        """The name of a finished task stays taken for `tombstone_s` simulated seconds."""
        self.tombstone_s = tombstone_s
        in_memory = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
        self._folder = tempfile.TemporaryDirectory(prefix="deferq-simulate-", dir=in_memory)
        self._empty: Path | None = None
        self._made = 0

    def new_store(self, clock: SimulatedClock) -> Store:
        """A store on an empty file."""
        return SqliteStore(self._new_file(), clock, self.tombstone_s)

    def __call__(self, clock: SimulatedClock) -> LeasingEngine:
        """A lone engine on an empty file."""
        return _engine(self._new_file(), clock, self.tombstone_s)

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()

    def _new_file(self) -> Path:
        """Each world has a folder, so that the bells of one are not heard in another."""
        self._made += 1
        folder = Path(self._folder.name, str(self._made))
        folder.mkdir()
        path = folder / "tasks.db"
        shutil.copyfile(self._empty_file(), path)
        path.chmod(0o600)
        return path

    def _empty_file(self) -> Path:
        """With the schema: to make it anew each time would take longer than some worlds last."""
        if self._empty is None:
            self._empty = Path(self._folder.name, "empty.db")
            engine = SqliteEngine(self._empty)
            engine.open()
            engine.close()
        return self._empty


class SqliteStore(Store):
    """One file."""

    notices_death = True

    def __init__(self, path: Path, clock: SimulatedClock, tombstone_s: float) -> None:
        self._path = path
        self._clock = clock
        self._tombstone_s = tombstone_s
        #: Whoever closes the last connection to a file tidies it up, which a process that dies does not.
        self._keeper = sqlite3.connect(path)
        self._keeper.execute("select count(*) from sqlite_master").fetchone()
        self._processes: list[SqliteProcess] = []

    def new_process(self) -> Process:
        process = SqliteProcess(self, partial(_engine, self._path, self._clock, self._tombstone_s))
        self._processes.append(process)
        return process

    def forget(self, process: SqliteProcess) -> None:
        """It has ended."""
        self._processes.remove(process)

    def close(self) -> None:
        for process in self._processes.copy():
            process.end()
        self._keeper.close()
        shutil.rmtree(self._path.parent)


class SqliteProcess(Process):
    """A process with an engine of its own."""

    def __init__(self, store: SqliteStore, make_engine: Callable[..., SqliteEngine]) -> None:
        self._store = store
        self._connections: list[StruckConnection] = []
        self.engine = make_engine(connect=self._connect)
        self.dead = False
        self._fate: Fate | None = None
        self._statements = 0

    def ask(self, question: Callable[[], Answer], fate: Fate | None, *, writes: bool = True) -> Answer:
        self._fate, self._statements = fate, 0
        try:
            return question()
        finally:
            self._fate = None

    def end(self, bell: Bell | None = None) -> None:
        self.dead = True
        if isinstance(bell, FifoBell):
            bell.abandon()  # the lock on it goes, and so the others see the death
        for connection in self._connections:
            connection.drop()
        self.engine.close()
        self._store.forget(self)

    def meet(self, connection: StruckConnection, sql: str, statement: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        """Run a statement, or meet the fate that waits there."""
        if self.dead:
            raise _error("the process is dead", sqlite3.SQLITE_IOERR)
        trouble = self._store.trouble
        if trouble == "full" and sql.lstrip().startswith(_WRITES):
            raise _error("database or disk is full", sqlite3.SQLITE_FULL)
        if trouble == "away":
            raise _error("disk I/O error", sqlite3.SQLITE_IOERR)
        self._statements += 1
        fate = self._fate
        if fate is None:
            return statement()
        if not _commits(connection, sql) if fate.statement == COMMIT else fate.statement != self._statements:
            return statement()
        self._fate = None
        return self._strike(fate.blow, connection, statement)

    @property
    def calm(self) -> bool:
        """Whether nothing can happen to a statement."""
        return self._fate is None and self._store.trouble is None and not self.dead

    def _strike(self, blow: Blow, connection: StruckConnection, statement: Callable[[], sqlite3.Cursor]) -> NoReturn:
        if blow in (Blow.ERROR_AFTER, Blow.DEATH_AFTER):
            statement().fetchall()
        if blow in (Blow.DEATH_BEFORE, Blow.DEATH_AFTER):
            self.dead = True
            raise ProcessDied
        if self._statements % 2:
            connection.rollback()  # as SQLite itself does after some errors
        raise _error("disk I/O error", sqlite3.SQLITE_IOERR)

    def _connect(self, path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=256, factory=StruckConnection
        )
        connection.process = self
        self._connections.append(connection)
        return connection


class StruckConnection(sqlite3.Connection):
    """Between an engine and SQLite."""

    process: SqliteProcess

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if self.process.calm:
            return super().execute(sql, parameters)
        return self.process.meet(self, sql, partial(super().execute, sql, parameters))

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        if self.process.calm:
            return super().executemany(sql, parameters)
        return self.process.meet(self, sql, partial(super().executemany, sql, parameters))

    def drop(self) -> None:
        """Let go of it as the kernel does when a process dies: what was not committed never was."""
        try:
            self.rollback()
        except sqlite3.ProgrammingError:
            return  # it was closed before
        self.close()


def _commits(connection: sqlite3.Connection, sql: str) -> bool:
    """Whether what was written is durable after this statement."""
    if connection.in_transaction:
        return sql.startswith("commit")
    return sql.lstrip().startswith(_WRITES)


def _engine(path: Path, clock: SimulatedClock, tombstone_s: float, **options: Any) -> SqliteEngine:
    return SqliteEngine(path, clock=clock, synchronous="OFF", tombstone_s=tombstone_s, **options)


def _error(message: str, code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"{message}, the simulation says")
    error.sqlite_errorcode = code
    return error
