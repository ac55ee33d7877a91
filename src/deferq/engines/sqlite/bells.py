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
from collections.abc import Callable
from pathlib import Path
from threading import Lock

_IGNORED = {errno.EAGAIN, errno.EINTR}
#: A FIFO without a reader is removed once it is this old; a younger one may be about to be opened.
ORPHAN_AGE_S = 5.0


class FifoBell:
    """The bell of one dispatcher. `changed` is called once it hangs, and when it is taken down."""

    def __init__(self, folder: Path, changed: Callable[[], None]) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._changed = changed
        self._closed = False
        self._path = folder / secrets.token_hex(8)
        hidden = folder / f".{self._path.name}"
        os.mkfifo(hidden, 0o600)
        # Opened for both directions: no end of file when the last writer goes, and we can ring it ourselves.
        self._fd = os.open(hidden, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        hidden.rename(self._path)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        changed()

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
        """Take the bell down. Whoever still rings it writes into nothing."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        # The number stays ours until nobody can ring any more: given back, it may be a database file's next.
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(nothing, self._fd, inheritable=False)
        os.close(nothing)
        self._changed()

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._fd)


class Ringer:
    """Rings every bell in the folder. Keeps them open, and looks again when they have changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._seen: int | None = None
        self._bells: dict[str, int] = {}
        self._ringing = Lock()

    def ring(self, version: int) -> None:
        """Ring them all; never blocks, never raises. `version` is a number that changes with the bells."""
        # Behind the lock nobody closes a descriptor that is about to be written to, and that another file may get.
        if version == self._seen and not self._bells:
            return
        with self._ringing:
            if version != self._seen and self._look():
                self._seen = version
            for name, fd in list(self._bells.items()):
                self._ring_one(name, fd)

    def close(self) -> None:
        """Close the descriptors."""
        with self._ringing:
            while self._bells:
                os.close(self._bells.popitem()[1])
            self._seen = None

    def abandon(self) -> None:
        """In a forked child: close without the lock, which a thread of the parent may have held."""
        for fd in self._bells.values():
            os.close(fd)

    def _look(self) -> bool:
        """Open new bells and let go of old ones; false if the folder could not be read."""
        try:
            names = {name for name in os.listdir(self._folder) if not name.startswith(".")}
        except FileNotFoundError:
            names = set()
        except OSError:
            # No descriptor is free, say. What was put is stored, and dispatchers poll.
            return False
        for gone in set(self._bells) - names:
            os.close(self._bells.pop(gone))
        for name in names - set(self._bells):
            self._open(name)
        return True

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
            if error.errno not in _IGNORED:
                os.close(self._bells.pop(name))
                _remove_orphan(os.path.join(self._folder, name))


def _remove_orphan(path: str) -> None:
    """Remove a FIFO whose dispatcher died without taking it down."""
    with contextlib.suppress(OSError):
        if time.time() - os.stat(path).st_mtime > ORPHAN_AGE_S:
            os.unlink(path)
