"""Bells between processes: a FIFO per dispatcher in a folder beside the database.

Whoever stores a task that is due writes a byte into each FIFO. The dispatcher holds a lock on its FIFO for as long as
it lives, so that a free lock shows that its owner is dead.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import select
import time
from pathlib import Path

_IGNORED = {errno.EAGAIN, errno.EINTR}
#: A FIFO without a reader is removed once it is this old; a younger one may be about to be opened.
ORPHAN_AGE_S = 5.0


class FifoBell:
    """The bell of one dispatcher."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.name = secrets.token_hex(8)
        self._path = folder / self.name
        hidden = folder / f".{self.name}"
        os.mkfifo(hidden, 0o600)
        # Opened for both directions: no end of file when the last writer goes, and we can ring it ourselves.
        self._fd = os.open(hidden, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        hidden.rename(self._path)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def wait(self, timeout_s: float) -> bool:
        """Sleep until rung, at most `timeout_s` seconds; True if rung."""
        if not self._poll.poll(max(0.0, timeout_s) * 1000):
            return False
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 65_536)
        return True

    def ring(self) -> None:
        """Wake the dispatcher; one byte is enough, and a full pipe has been rung already."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._fd, b"!")

    def close(self) -> None:
        """Take the bell down."""
        if self._fd >= 0:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
            os.close(self._fd)
            self._fd = -1

    def abandon(self) -> None:
        """After a fork: give up our copy of the descriptor, and leave the parent's bell where it is."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Ringer:
    """Rings every bell in the folder. Keeps them open, and looks again when the folder has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._seen = -1
        self._bells: dict[str, int] = {}

    def ring(self) -> None:
        """Ring them all; never blocks, never raises."""
        try:
            changed = os.stat(self._folder).st_mtime_ns
        except OSError:
            return
        if changed != self._seen:
            self._look()
            # A change within the clock's granularity would go unseen: look again unless the folder has been quiet.
            self._seen = changed if time.time_ns() - changed > 50_000_000 else -1
        for name, fd in list(self._bells.items()):
            self._ring_one(name, fd)

    def close(self) -> None:
        """Close the descriptors."""
        bells, self._bells, self._seen = self._bells, {}, -1
        for fd in bells.values():
            os.close(fd)

    def _look(self) -> None:
        names = {name for name in os.listdir(self._folder) if not name.startswith(".")}
        for gone in set(self._bells) - names:
            os.close(self._bells.pop(gone))
        for name in names - set(self._bells):
            self._open(name)

    def _open(self, name: str) -> None:
        path = os.path.join(self._folder, name)
        try:
            self._bells[name] = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENXIO:
                _remove_orphan(path)

    def _ring_one(self, name: str, fd: int) -> None:
        try:
            os.write(fd, b"!")
        except OSError as error:
            if error.errno in _IGNORED:
                return
            os.close(self._bells.pop(name, fd))
            _remove_orphan(os.path.join(self._folder, name))


def _remove_orphan(path: str) -> None:
    """Remove a FIFO whose dispatcher died without taking it down."""
    with contextlib.suppress(OSError):
        if time.time() - os.stat(path).st_mtime > ORPHAN_AGE_S:
            os.unlink(path)
