"""The machine: versions, what is installed, room on the disk."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from deferq.cli.checkup.finding import Case, Finding, note, right, wrong
from deferq.cli.output import size
from deferq.cli.version import version
from deferq.engines.sqlite.connections import OLDEST_SQLITE

#: Versions from the first to the second, without the latter, have the defect.
WAL_RESET_DEFECT = ((3, 7, 0), (3, 51, 3))
#: What the optional packages are good for.
EXTRAS = {"rich": "tables and colours on a terminal", "watchfiles": "`deferq dev` starts anew at once"}
#: Bytes: below the first, stores soon cannot be written; below the second it is worth a look.
ROOM_MIN, ROOM_LITTLE = 100 * 1024 * 1024, 1024 * 1024 * 1024


def versions(case: Case) -> Iterator[Finding]:
    """Python and deferq."""
    yield right("python", f"Python {platform.python_version()} ({platform.python_implementation()})")
    yield right("deferq", f"deferq {version()}")


def sqlite(case: Case) -> Iterator[Finding]:
    """SQLite, and the defect that most versions have."""
    number = numbers(sqlite3.sqlite_version)
    text = f"SQLite {sqlite3.sqlite_version}"
    if number < OLDEST_SQLITE:
        yield wrong(
            "sqlite", text, "The store needs 3.38 or newer.", "Use a Python that was built with a newer SQLite."
        )
    elif WAL_RESET_DEFECT[0] <= number < WAL_RESET_DEFECT[1]:
        yield note(
            "sqlite",
            f"{text} has the WAL-reset defect (3.7.0 to 3.51.2, mended in 3.51.3).",
            "Two connections that write and checkpoint at the same moment can damage a file. deferq lets only one"
            " process at a time write or checkpoint, so its own work is safe; that of other programs on the same file"
            " is not.",
            "Let no other program write to the store, or use a Python that was built with SQLite 3.51.3 or newer.",
        )
    else:
        yield right("sqlite", text)


def numbers(text: str) -> tuple[int, ...]:
    """A version that can be compared."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def extras(case: Case) -> Iterator[Finding]:
    """Packages that are not needed."""
    for name, purpose in EXTRAS.items():
        yield right("extras", f"{name} {_installed(name)} (optional: {purpose})")


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "is not installed"


def room(case: Case) -> Iterator[Finding]:
    """Space and inodes where the store lies."""
    folder = nearest_folder(case.file)
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    text = f"{size(free)} are free where the store lies ({folder})."
    why = "Without room nothing can be deferred or settled; tasks that run meanwhile run again."
    if disk.f_files and disk.f_favail == 0:
        yield wrong("disk", f"No more files can be made in {folder}: it is out of inodes.", why, "Remove files there.")
    elif free < ROOM_MIN:
        yield wrong("disk", f"Only {text}", why, "Free some space, or move the store to a larger disk.")
    elif free < ROOM_LITTLE and free < disk.f_blocks * disk.f_frsize / 20:
        yield note("disk", f"Only {text}", why, "Free some space soon.")
    else:
        yield right("disk", text)


def nearest_folder(path: Path) -> Path:
    """The folder of a file, or the nearest one above it that is there."""
    return next(folder for folder in path.parents if os.path.isdir(folder))


CHECKS = (versions, sqlite, extras)
