"""Whether the files that are open are still those that stand in their place.

SQLite goes on in a file that was deleted or replaced, and nobody else would ever see what it stores there. The same is
true of its log, which another program may delete, or SQLite itself on behalf of a program that opened and closed the
file by other means, and so gave up the locks of its process.
"""

from __future__ import annotations

import os
from pathlib import Path

from deferq.engines.sqlite import files
from deferq.errors import StoreUnavailable

Identity = tuple[int, int] | None


class Place:
    """The files of one open store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = files.identity(path)
        self._gate = files.identity(self._beside("-gate"))
        #: Of the log and its index, once they are seen.
        self._log: Identity = None
        self._index: Identity = None
        #: Whether the files are to be opened anew before they are used again.
        self.left = False

    def check(self) -> None:
        """Raise StoreUnavailable if what is open is not the store any more."""
        database = files.identity(self._path)
        if database != self._database:
            self._not_the_database(database)
        log = files.identity(self._beside("-wal"))
        if self._log is None:
            self._log, self._index = log, files.identity(self._beside("-shm"))
        elif log != self._log:
            self.left = True
            raise StoreUnavailable(
                f"The log {self._path}-wal was deleted or replaced while the store was open. Leave it to SQLite; the"
                " next use opens the store anew. Nothing was changed."
            )
        if files.identity(self._beside("-gate")) != self._gate:
            self.left = True  # others may come in by another gate; it is for fairness, so this once does no harm

    def log_may_be_new(self) -> None:
        """SQLite removes the log with the last connection, and makes another one."""
        self._log = self._index = None

    @property
    def lost_its_log(self) -> bool:
        """Whether the log was deleted, and nobody has made another one for this database."""
        same = files.identity(self._path) == self._database
        return same and self._log is not None and files.identity(self._beside("-wal")) is None

    def _not_the_database(self, found: Identity) -> None:
        what = f"The store {self._path} was deleted or replaced while it was open."
        if found is None:
            raise StoreUnavailable(f"{what} Put it back, or start this process again. Nothing was changed.")
        if self._old_log_lies_there():
            raise StoreUnavailable(
                f"{what} The log of the old one still lies beside it, and SQLite would take it for the new one's. Stop"
                f" every process that uses the store, remove {self._path}-wal and {self._path}-shm, and start this"
                " process again. Nothing was changed."
            )
        self.left = True
        raise StoreUnavailable(f"{what} The next use opens what stands there now. Nothing was changed.")

    def _old_log_lies_there(self) -> bool:
        log, index = (files.identity(self._beside(end)) for end in ("-wal", "-shm"))
        return (log is not None and log == self._log) or (index is not None and index == self._index)

    def _beside(self, end: str) -> Path:
        return self._path.with_name(self._path.name + end)


def require(path: Path) -> None:
    """Raise StoreUnavailable if no store stands there: whoever had one open does not begin with an empty one."""
    try:
        size = os.stat(path).st_size
    except OSError as error:
        raise StoreUnavailable(
            f"The store {path} was there and is gone ({error.strerror}). Put it back, or start this process again."
            " Nothing was changed."
        ) from error
    if not size:
        raise StoreUnavailable(
            f"The store {path} was replaced by an empty file. Put it back, or start this process again to begin with a"
            " new store. Nothing was changed."
        )
