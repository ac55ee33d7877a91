"""The gate: writers take turns before they ask SQLite for the write lock.

SQLite's own busy handler sleeps and tries again, and whoever sleeps longest gets least: among sixteen writing processes
some stored one task in five seconds. The kernel queues those who wait for a file lock in order. The gate is for
fairness alone; correctness rests on SQLite's lock. The kernel opens the gate when a holder dies.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct

_SIZE = 4096
_COUNTER = struct.Struct("<q")


class Gate:
    """An advisory lock on a file beside the database, one descriptor per engine.

    The file also carries one number that whoever holds the gate may read and change.
    """

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.fstat(self._fd).st_size < _SIZE:
            os.ftruncate(self._fd, _SIZE)
        self._memory = mmap.mmap(self._fd, _SIZE)

    def acquire(self) -> None:
        """Wait for our turn."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def release(self) -> None:
        """Let the next one through."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    @property
    def counter(self) -> int:
        """The number shared by all who pass the gate. Hold the gate to use it."""
        value: int = _COUNTER.unpack_from(self._memory)[0]
        return value

    @counter.setter
    def counter(self, value: int) -> None:
        _COUNTER.pack_into(self._memory, 0, value)

    def close(self) -> None:
        """Give the descriptor back. After a fork this does not open the parent's gate."""
        self._memory.close()
        os.close(self._fd)
