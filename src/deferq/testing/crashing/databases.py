"""The user's databases: remembered, put back before each trial, and read after it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from deferq.errors import InvalidOption
from deferq.testing.crashing.children import CannotTell
from deferq.testing.crashing.tables import Table, Tables, table_of

_BUSY_S = 5.0
_ELSEWHERE = (
    " Of other databases, give setup= (a function that brings it to the state before the task) and snapshot= (one that"
    " returns its rows)."
)


class Database(Protocol):
    """What can be put back and read."""

    def restore(self) -> None:
        """Bring it to the state before the task."""

    def read(self) -> Tables:
        """What stands in it."""


class SqliteFile:
    """A file of SQLite's, whose state now is the state before the task.

    It is put back by SQLite's own backup, so that other connections to it may stay open, if they are idle.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        if not path.is_file():
            raise InvalidOption(
                f"database: there is no file {path}. Make it, with what the task needs, before the trial.",
                field="database",
            )
        self._path = path
        self._before = scratch / f"{path.name}.before"
        with self._opened() as database, closing(sqlite3.connect(self._before)) as before:
            _copy(database, before)

    def restore(self) -> None:
        with self._opened() as database, closing(sqlite3.connect(self._before)) as before:
            database.execute("pragma synchronous = off")
            _copy(before, database)

    def read(self) -> Tables:
        with self._opened() as database:
            names = database.execute(
                "select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\'"
                " and name not like 'deferq\\_%' escape '\\'"
            ).fetchall()
            return {name: _read_table(database, name) for (name,) in names}

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)) as database:
                # What a backup meets is a busy file without a wait: so wait here.
                database.execute("begin immediate")
                database.execute("rollback")
                yield database
        except sqlite3.OperationalError as error:
            raise CannotTell(
                f"{self._path}: {error}. A connection of the test may be inside a transaction: end it before the trial."
            ) from error


def _copy(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """SQLite's backup, which would wait for ever for a connection that reads."""
    gives_up_at = time.monotonic() + _BUSY_S

    def step(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > gives_up_at:
            raise sqlite3.OperationalError("database is locked")

    source.backup(target, progress=step, sleep=0.02)


def _read_table(database: sqlite3.Connection, name: str) -> Table:
    quoted = '"' + name.replace('"', '""') + '"'
    columns = database.execute(f"pragma table_info({quoted})").fetchall()
    keys = sorted((column for column in columns if column[5]), key=lambda column: column[5])
    names = tuple(column[1] for column in columns)
    rows = database.execute(f"select * from {quoted}").fetchall()
    return Table(names, tuple(names.index(column[1]) for column in keys), rows)


class Elsewhere:
    """Any database, by two functions of the user's."""

    def __init__(self, setup: Callable[[], object] | None, snapshot: Callable[[], object]) -> None:
        self._setup = setup
        self._snapshot = snapshot

    def restore(self) -> None:
        if self._setup is not None:
            self._setup()

    def read(self) -> Tables:
        seen = self._snapshot()
        tables = seen if isinstance(seen, Mapping) else {"snapshot": seen}
        return {str(name): table_of(rows) for name, rows in tables.items()}


def databases_of(
    database: object, setup: Callable[[], object] | None, snapshot: Callable[[], object] | None, scratch: Path
) -> list[Database]:
    """What is to be put back and compared. Raises InvalidOption for what is no database, or cannot be tried."""
    given = [] if database is None else list(database) if isinstance(database, list | tuple) else [database]
    found: list[Database] = []
    for index, one in enumerate(given):
        room = scratch / str(index)
        room.mkdir()
        found.append(SqliteFile(_path_of(one), room))
    if snapshot is not None:
        found.append(Elsewhere(setup, snapshot))
    elif setup is not None:
        raise InvalidOption("setup: it comes with snapshot=, a function that returns what is compared.", field="setup")
    return found


def _path_of(database: Any) -> Path:
    """The file behind a path, a URL, a connection, a function that opens one, a SQLAlchemy engine, or Django's."""
    if isinstance(database, str | Path):
        return _checked(_path_in_url(str(database)))
    if isinstance(database, sqlite3.Connection):
        return _checked(_file_of(database))
    if hasattr(database, "settings_dict") and hasattr(database, "vendor"):
        return _checked(str(database.settings_dict["NAME"]), database.vendor)
    if hasattr(database, "dialect") and hasattr(database, "url"):
        return _checked(str(database.url.database or ""), database.dialect.name)
    if callable(database):
        opened = database()
        if isinstance(opened, sqlite3.Connection):
            with closing(opened):
                return _checked(_file_of(opened))
    raise InvalidOption(
        "database: expected the path of an SQLite file, a connection to one, a function that opens one, a SQLAlchemy"
        f" engine or a connection of Django's, not an object of type {type(database).__name__}.{_ELSEWHERE}",
        field="database",
    )


def _checked(path: str, vendor: str = "sqlite") -> Path:
    if vendor != "sqlite":
        raise InvalidOption(f"database: this one is {vendor}, and only SQLite is known.{_ELSEWHERE}", field="database")
    if not path or ":memory:" in path or "mode=memory" in path:
        raise InvalidOption(
            "database: this one lies in memory and dies with the process, so a killed task cannot be tried on it. Use a"
            " file: tmp_path / 'app.db'; with Django, DATABASES['default']['TEST'] = {'NAME': 'test.sqlite3'}.",
            field="database",
        )
    return Path(path.removeprefix("file:").partition("?")[0]).absolute()


def _path_in_url(text: str) -> str:
    parts = urlsplit(text)
    if not parts.scheme.startswith("sqlite"):
        if "://" in text:
            return str(_checked(text, parts.scheme))
        return text
    return unquote(parts.path[1:]) or ":memory:"


def _file_of(connection: sqlite3.Connection) -> str:
    files: Iterable[tuple[int, str, str]] = connection.execute("pragma database_list").fetchall()
    return next((file for _, name, file in files if name == "main"), "")
