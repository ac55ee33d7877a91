"""What SQLite complains about, in deferq's words."""

from __future__ import annotations

import os
import sqlite3
from json import JSONDecodeError
from pathlib import Path
from typing import NoReturn

from deferq.engines.sqlite import readers
from deferq.errors import StoreCorrupt, StoreError, StoreUnavailable, WriteBesideTransaction

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_IOERR: "reading or writing the file failed; look at the disk, its free space and its limits",
    sqlite3.SQLITE_READONLY: "the file or its folder may not be written; look at owner and permissions",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; look at its folder and permissions",
    sqlite3.SQLITE_BUSY: "another program held the write lock too long; find it and let it end its transaction",
    sqlite3.SQLITE_PROTOCOL: "too many processes opened the file at one moment; try again",
    sqlite3.SQLITE_LOCKED: "another statement of this process holds the table; try again",
    sqlite3.SQLITE_INTERRUPT: "the statement was interrupted; try again",
}


#: With these a statement was certainly not carried out, nor a transaction committed.
_CERTAIN = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_INTERRUPT,
}
#: After these a new connection may see more than this one, which may keep a file open that is no longer the store's.
_LASTING = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
}
NOTHING_CHANGED = "Nothing was changed."
NOT_CERTAIN = (
    "It is not certain whether it was stored: look, or do the same again under the same name, which is stored once."
)


class translated:  # noqa: N801 - it reads as a word of the statement `with`
    """Raise errors of sqlite3, and nonsense that is read, as a StoreError.

    No generator: where one is left by an exception, Python 3.12 keeps its frame, its caller's and the exception alive.
    """

    def __init__(self, path: str, *, committing: bool = False) -> None:
        self._path = path
        self._committing = committing

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception):
            raise_ours(error, self._path, committing=self._committing)


def raise_ours(error: Exception, path: str, *, committing: bool = False) -> NoReturn:
    """Raise what `translate` makes of an error, which stays its cause."""
    ours = translate(error, path, committing=committing)
    try:
        if ours is error:
            raise error
        raise ours from error
    finally:
        # Else they would keep each other, the frames that they came through, and an open cursor there.
        del ours, error


def translate(error: Exception, path: str, *, committing: bool = False) -> Exception:
    """The error to raise for this one. `committing`: it came when a commit may have been under way or done."""
    code = _primary(error)
    if code in _CORRUPT or _is_nonsense(error):
        return StoreCorrupt(
            f"The store {path} is not a usable SQLite database ({_told(error)}). It was left as it is."
            " Restore it from a backup, or move it away and let deferq make a new one."
        )
    if code == sqlite3.SQLITE_BUSY and readers.writer(Path(path)) == os.getpid():
        return beside(path)
    outcome = NOT_CERTAIN if committing and code not in _CERTAIN else NOTHING_CHANGED
    if code in _ADVICE:
        return StoreUnavailable(f"The store {path} did not answer ({error}): {_ADVICE[code]}. {outcome}")
    if _is_closed(error):
        return StoreUnavailable(f"The connection to the store {path} is closed ({error}): try again. {outcome}")
    if isinstance(error, MemoryError):
        return StoreUnavailable(
            f"There was no memory for what the store {path} holds: it is short, or a damaged row claims to be huge;"
            f" 'deferq doctor --deep' looks into the store. {outcome}"
        )
    if isinstance(error, sqlite3.IntegrityError):
        return StoreError(
            f"The store {path} refused a change ({error}): a row of it is damaged, or this is a mistake of deferq;"
            f" 'deferq doctor --deep' looks into the store. {outcome}"
        )
    if isinstance(error, sqlite3.OperationalError):
        return StoreError(
            f"The store {path} refused a statement: {error}. This is not expected; 'deferq doctor' looks into the"
            " store."
        )
    return error


def beside(path: str) -> WriteBesideTransaction:
    """The error for whoever may wait for himself."""
    return WriteBesideTransaction(
        f"The store {path} cannot be written: this process has a transaction open on the same file by another"
        " connection, which holds the write lock. Defer within that transaction (within=session, or its connection),"
        " or after its commit. Nothing was changed."
    )


def is_lasting(error: BaseException) -> bool:
    """Whether the connection should not be used any more."""
    return isinstance(error, sqlite3.Error) and (_primary(error) in _LASTING or _is_closed(error))


def _is_nonsense(error: Exception) -> bool:
    """Whether what was read makes no sense: a damaged page may still look like one to SQLite.

    Its text is no text, its JSON no JSON, its number none of those that we store; even SQLite's message may quote it.
    """
    known = type(error) is ValueError or isinstance(error, UnicodeDecodeError | JSONDecodeError)
    return known or _is_no_text(error)


def _told(error: Exception) -> str:
    """SQLite's own words; of what is no text or no number its kind alone, since its words quote what was read."""
    return str(error) if isinstance(error, sqlite3.Error) and not _is_no_text(error) else type(error).__name__


def _is_no_text(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith("Could not decode to UTF-8")


def _primary(error: Exception) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_closed(error: Exception) -> bool:
    return isinstance(error, sqlite3.ProgrammingError) and "closed database" in str(error)
