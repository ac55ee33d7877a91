"""The database file on disk: who may read and replace it.

The file is never opened here: closing a descriptor would drop the locks that other connections of this process hold on
it (POSIX locks belong to a process and a file, not to a descriptor).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from pathlib import Path

from deferq.engines.sqlite.connections import first_row
from deferq.errors import InsecurePath, StoreCorrupt, StoreUnavailable

logger = logging.getLogger("deferq.sqlite")

#: One page of the smallest size. SQLite takes a file of one byte for an empty one.
SMALLEST_DATABASE = 512


def prepare(path: Path) -> None:
    """Make sure that `path` is a database file, or an empty new one, that only its owner can read and replace.

    Raises InsecurePath, StoreCorrupt or StoreUnavailable; an existing file is never written to.
    """
    if not check(path):
        _create(path)
    elif readable_by_others(path):
        logger.warning("Other users may open the store %s. Run: chmod 600 '%s'", path, path)


def check(path: Path) -> bool:
    """The same without making anything; false: no file stands there."""
    _check_folder(path.parent)
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:  # a folder that may not be entered
        raise StoreUnavailable(
            f"The store {path} cannot be looked at ({error.strerror}). Run as its owner, or mend the mode of its"
            " folder."
        ) from error
    _check_file(path, status)
    return True


def _create(path: Path) -> None:
    """An empty file of mode 0600; SQLite gives its -wal and -shm the mode of the database."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass  # another process was faster; it made the same file
    except OSError as error:
        raise StoreUnavailable(
            f"The store {path} cannot be made ({error.strerror}). Is its folder writable?"
        ) from error


def _check_folder(folder: Path) -> None:
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        raise StoreUnavailable(
            f"The folder {folder} of the store cannot be used ({error.strerror}). Make it, or name another one."
        ) from error
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise InsecurePath(
            f"Everybody may write in the folder {folder}, so anybody could replace the store."
            f" Run: chmod o-w '{folder}'."
        )


def _check_file(path: Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise InsecurePath(f"The store {path} is a symbolic link, which others may redirect. Name the file itself.")
    if not stat.S_ISREG(status.st_mode):
        raise StoreCorrupt(f"The store {path} is not a regular file. It was left as it is. Name another one.")
    if 0 < status.st_size < SMALLEST_DATABASE:
        raise StoreCorrupt(f"The file {path} is not an SQLite database. It was left as it is. Name another one.")
    if status.st_uid != os.geteuid() and os.geteuid() != 0:
        raise InsecurePath(f"The store {path} belongs to another user. Run as that user, or name another file.")


def readable_by_others(path: Path) -> bool:
    """Whether somebody else than its owner may read or write the file."""
    try:
        return bool(path.lstat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False


def identity(path: Path) -> tuple[int, int] | None:
    """Which file stands there; None: none does."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def check_length(path: Path, connection: sqlite3.Connection) -> None:
    """Raise StoreCorrupt if the file is shorter than the database in it, which nothing in a log explains."""
    (pages,) = first_row(connection, "pragma page_count")
    (page_size,) = first_row(connection, "pragma page_size")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise StoreUnavailable(f"The store {path} cannot be looked at ({error.strerror}). Put it back.") from error
    if size < pages * page_size and not _has_wal(path):
        raise StoreCorrupt(
            f"The store {path} is truncated: {size} bytes, where its header promises {pages * page_size}."
            " It was left as it is. Restore it from a backup."
        )


def _has_wal(path: Path) -> bool:
    try:
        return os.stat(f"{path}-wal").st_size > 0
    except OSError:
        return False
