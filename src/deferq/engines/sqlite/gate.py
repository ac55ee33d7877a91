"""The gate: writers take turns before they ask SQLite for the write lock.

SQLite's own busy handler sleeps and tries again, and whoever sleeps longest gets least: among sixteen writing processes
some stored one task in five seconds. The kernel queues those who wait for a file lock in order. The gate is for
fairness alone; correctness rests on SQLite's lock. The kernel opens the gate when a holder dies.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
from threading import Lock

_SIZE = 4096
_NUMBER = struct.Struct("<q")
#: What the disk, a quota or a limit of the process may say.
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LOGGED_AT, _BELLS_AT, _LOG_BYTES_AT, _ROOM_ENDS_AT = 0, 8, 16, 24


def _take_space(fd: int) -> None:
    """The kernel ends a process by SIGBUS that writes to mapped memory for which the disk has no space left."""
    try:
        os.posix_fallocate(fd, 0, _SIZE)
    except (AttributeError, OSError) as error:  # not every system and file system can do that
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            raise
        if os.fstat(fd).st_size < _SIZE:
            os.pwrite(fd, b"\0", _SIZE - 1)


class Gate:
    """An advisory lock on a file beside the database, one descriptor per engine.

    The file is mapped into memory and carries four numbers that all processes share. They are hints: nothing is lost
    if the file is.
    """

    def __init__(self, path: str) -> None:
        """Raises OSError if the file cannot be opened, or there is no space for it."""
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _take_space(self._fd)
            self._memory = mmap.mmap(self._fd, _SIZE)
        except BaseException:
            os.close(self._fd)
            raise
        # The kernel's lock belongs to the descriptor: between threads that share it, it excludes nobody.
        self._threads = Lock()

    def acquire(self) -> None:
        """Wait for our turn."""
        self._threads.acquire()
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except BaseException:  # an interrupt may come just after the lock was given to us
            self.release()
            raise

    def release(self) -> None:
        """Let the next one through."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    @property
    def logged(self) -> int:
        """About how many bytes were written to the log since the last checkpoint. Hold the gate to change it."""
        return self._get(_LOGGED_AT)

    @logged.setter
    def logged(self, value: int) -> None:
        _NUMBER.pack_into(self._memory, _LOGGED_AT, value)

    @property
    def log_bytes(self) -> int:
        """The size of the log file after the last checkpoint. Hold the gate to change it."""
        return self._get(_LOG_BYTES_AT)

    @log_bytes.setter
    def log_bytes(self, value: int) -> None:
        _NUMBER.pack_into(self._memory, _LOG_BYTES_AT, value)

    @property
    def room_ends(self) -> int:
        """The size to which the log file was lengthened ahead of writes. Hold the gate to change it."""
        return self._get(_ROOM_ENDS_AT)

    @room_ends.setter
    def room_ends(self, value: int) -> None:
        _NUMBER.pack_into(self._memory, _ROOM_ENDS_AT, value)

    @property
    def bells(self) -> int:
        """A number that changes whenever a bell is hung up or taken down."""
        return self._get(_BELLS_AT)

    def bells_changed(self) -> None:
        """Let everybody look for bells again."""
        self.acquire()
        try:
            _NUMBER.pack_into(self._memory, _BELLS_AT, self._get(_BELLS_AT) + 1)
        finally:
            self.release()

    def _get(self, at: int) -> int:
        value: int = _NUMBER.unpack_from(self._memory, at)[0]
        return value

    def close(self) -> None:
        """Give the descriptor back. After a fork this does not open the parent's gate."""
        self._memory.close()
        os.close(self._fd)
