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


def holders(database: Path, looks: int, pause: Callable[[], object]) -> list[str]:
    """Processes that read in each of so many looks, such as "python3 (pid 4242)". Empty: none, or nobody tells."""
    found = readers(database)
    for _ in range(looks - 1):
        pause()
        found &= readers(database)
    return [_named(pid) for pid in sorted(found)]


def readers(database: Path) -> set[int]:
    """Processes with a read transaction at this moment, without this one."""
    try:
        index = os.stat(f"{database}-shm")
        table = LOCKS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return set()
    at = f"{os.major(index.st_dev):02x}:{os.minor(index.st_dev):02x}:{index.st_ino}"
    return {pid for pid in _readers(table, at) if pid > 0 and pid != os.getpid()}


def _readers(table: str, at: str) -> set[int]:
    """Lines such as `3: POSIX  ADVISORY  READ 4242 08:01:1234 123 123`."""
    found = set()
    for line in table.splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[1] == "POSIX" and fields[3] == "READ" and fields[5] == at:
            first, last = fields[6], fields[7]
            if first.isdigit() and last.isdigit() and int(last) >= FIRST_READER and int(first) <= LAST_READER:
                found.add(int(fields[4]))
    return found


def _named(pid: int) -> str:
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        name = "process"
    return f"{name} (pid {pid})"
