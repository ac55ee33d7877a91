"""Who reads in a store right now, as the kernel tells it: the locks that SQLite takes on the index of the log.

Only Linux tells. The index is not opened for it: closing it would drop the locks that this process holds on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

LOCKS = Path("/proc/locks")
#: SQLite's locks for readers are single bytes of the index; see "File Locking" in its wal.c.
FIRST_READER, LAST_READER = 123, 127
#: The same for the one that writes.
WRITER = 120


def holders(database: Path, looks: int, pause: Callable[[], object]) -> list[str]:
    """Processes that read in each of so many looks, such as "python3 (pid 4242)". Empty: none, or nobody tells."""
    found = readers(database)
    for _ in range(looks - 1):
        pause()
        found &= readers(database)
    return [_named(pid) for pid in sorted(found)]


def readers(database: Path) -> set[int]:
    """Processes with a read transaction at this moment, without this one."""
    found = _who(database, "READ", FIRST_READER, LAST_READER)
    return {pid for pid in found if pid > 0 and pid != os.getpid()}


def writer(database: Path) -> int | None:
    """The process that has the write lock at this moment; None: none has, or nobody tells."""
    return next(iter(_who(database, "WRITE", WRITER, WRITER)), None)


def may_write(database: Path) -> bool:
    """Whether this process may have the write lock at this moment: where nobody tells, it may."""
    return writer(database) == os.getpid() or not os.access(LOCKS, os.R_OK)


def _who(database: Path, kind: str, first: int, last: int) -> set[int]:
    """Processes with such a lock on one of these bytes of the index."""
    try:
        index = os.stat(f"{database}-shm")
        table = LOCKS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return set()
    device, inode = f"{os.major(index.st_dev):02x}:{os.minor(index.st_dev):02x}:", str(index.st_ino)
    found = _holders(table, device + inode, kind, first, last)
    # Btrfs and overlays show files another device than the locks on them, and both are made up: major number 0.
    return found or (_holders(table, inode, kind, first, last) if device.startswith("00:") else found)


def _holders(table: str, at: str, kind: str, first: int, last: int) -> set[int]:
    """Lines such as `3: POSIX  ADVISORY  READ 4242 08:01:1234 123 123`. `at` without a device: on any made-up one."""
    found = set()
    for line in table.splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[1] == "POSIX" and fields[3] == kind and _is_at(fields[5], at):
            begin, end = fields[6], fields[7]
            if begin.isdigit() and end.isdigit() and int(end) >= first and int(begin) <= last:
                found.add(int(fields[4]))
    return found


def _is_at(place: str, at: str) -> bool:
    return place == at if ":" in at else place.startswith("00:") and place.endswith(f":{at}")


def _named(pid: int) -> str:
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        name = "process"
    return f"{name} (pid {pid})"
