"""What SQLite complains about, in deferq's words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from deferq.errors import StoreCorrupt, StoreError, StoreUnavailable

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_IOERR: "reading or writing the file failed; look at the disk and its limits",
    sqlite3.SQLITE_READONLY: "the file or its folder may not be written; look at owner and permissions",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; look at its folder and permissions",
    sqlite3.SQLITE_BUSY: "another program held the write lock too long; find it and let it end its transaction",
    sqlite3.SQLITE_PROTOCOL: "too many processes opened the file at one moment; try again",
    sqlite3.SQLITE_LOCKED: "another statement of this process holds the table; try again",
}


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise errors of sqlite3 as StoreUnavailable or StoreCorrupt; mistakes of ours (IntegrityError, ...) pass."""
    try:
        yield
    except sqlite3.Error as error:
        raise_ours(error, path)


def raise_ours(error: sqlite3.Error, path: str) -> NoReturn:
    """Raise what `translate` makes of an error, which stays its cause."""
    ours = translate(error, path)
    if ours is error:
        raise error
    raise ours from error


def translate(error: sqlite3.Error, path: str) -> Exception:
    """The error to raise for one of sqlite3."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in _CORRUPT:
        return StoreCorrupt(
            f"The store {path} is not a usable SQLite database ({error}). It was left as it is."
            " Restore it from a backup, or move it away and let deferq make a new one."
        )
    if primary in _ADVICE:
        return StoreUnavailable(f"The store {path} did not answer ({error}): {_ADVICE[primary]}. Nothing was changed.")
    if isinstance(error, sqlite3.OperationalError):
        return StoreError(f"The store {path} refused a statement: {error}.")
    return error
