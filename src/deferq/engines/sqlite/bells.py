"""Bells between processes: a FIFO per dispatcher in a folder beside the database.

Whoever stores a task that is due writes a byte into each FIFO. The dispatcher holds a lock on its FIFO for as long as
it lives: that is its pulse. The FIFO's name says who it is. So a FIFO whose lock is free says who is dead, since who
ends in order takes it down before the lock goes. It stays until no lease of the dead is left; then a worker removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import select
import time
import weakref
from collections.abc import Callable, Collection
from pathlib import Path
from threading import Lock

_IGNORED = {errno.EAGAIN, errno.EINTR}
#: No descriptor or memory is free, which passes.
_FULL = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR}
_NAME = re.compile(r"([0-9a-f]{8})-[0-9a-f]+")
#: Seconds after which a FIFO that was made and never hung up is taken for forgotten.
_FORGOTTEN_S = 3_600.0
#: Stands for the dispatcher of a FIFO whose name says nothing: no lease is its.
NOBODY = -1


class FifoBell:
    """The bell of the dispatcher `holder`. `changed` is called once it hangs, and when it is taken down.

    A forked child has no part in it: there it is closed by itself, since the lock would outlive the parent.
    """

    def __init__(self, folder: Path, holder: int, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._closed = False
        #: Held while it is hung up again or taken down.
        self._moving = Lock()
        self._path = folder / f"{holder:08x}-{secrets.token_hex(4)}"
        self._fd = self._make()
        _bells.add(self)
        self._hang()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        changed()

    def hang_again(self) -> None:
        """Make it anew if somebody has deleted it: nobody would ring any more, nor see this dispatcher die.

        The number of its descriptor stays the same, for whoever waits with it.
        """
        with self._moving:
            if self._closed or self._path.exists():
                return
            fd = self._make()
            os.dup2(fd, self._fd, inheritable=False)
            os.close(fd)
            self._hang()
        self._changed()

    def _make(self) -> int:
        """A FIFO that nobody sees yet."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        _clear_away(self._path.parent)
        os.mkfifo(self._hidden, 0o600)
        try:
            # Opened for both directions: no end of file when the last writer goes, and we can ring it ourselves.
            return os.open(self._hidden, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self._hidden.unlink()
            raise

    def _hang(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self._hidden.rename(self._path)

    @property
    def _hidden(self) -> Path:
        return self._path.with_name(f".{self._path.name}")

    def wait(self, timeout_s: float) -> bool:
        """Sleep until rung, at most `timeout_s` seconds; True if rung."""
        return bool(self._poll.poll(max(0.0, timeout_s) * 1000)) and self.heard()

    def fileno(self) -> int:
        """A descriptor that is readable while it has been rung, for whoever waits for other things as well."""
        return self._fd

    def heard(self) -> bool:
        """Whether it was rung since it was last asked; does not wait."""
        try:
            return bool(os.read(self._fd, 65_536))
        except BlockingIOError:
            return False

    def ring(self) -> None:
        """Wake the dispatcher; one byte is enough, and a full pipe has been rung already."""
        with contextlib.suppress(OSError):  # in a forked child there is nobody to wake
            os.write(self._fd, b"!")

    def close(self) -> None:
        """Take the bell down. Whoever still rings it writes into nothing."""
        with self._moving:
            if self._closed:
                return
            self._closed = True
            with contextlib.suppress(OSError):  # it is gone already, or stays and shows that nobody holds it
                self._path.unlink()
            # The number stays ours until nobody can ring any more: given back, it may be a database file's next.
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(nothing, self._fd, inheritable=False)
            os.close(nothing)
        self._changed()

    def abandon(self) -> None:
        """In a forked child: let go of it, and leave it to the parent, whose lock and name stay as they are."""
        with contextlib.suppress(OSError):  # the child of a child has let go before
            os.close(self._fd)
        self._fd, self._closed = -1, True

    def __del__(self) -> None:
        # Without `contextlib`: when the interpreter ends, modules may be gone before a bell that was kept.
        try:  # noqa: SIM105
            os.close(self._fd)
        except (OSError, AttributeError):
            pass


class Ringer:
    """Rings every bell in the folder, and sees who is dead. Keeps them open, and looks again when they have changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._seen: int | None = None
        self._bells: dict[str, int] = {}
        #: The dispatchers that died, by the names of their FIFOs.
        self._dead: dict[str, int] = {}
        self._ringing = Lock()

    def ring(self, version: int) -> None:
        """Ring them all; never blocks, never raises. `version` is a number that changes with the bells."""
        # Behind the lock nobody closes a descriptor that is about to be written to, and that another file may get.
        if version == self._seen and not self._bells:
            return
        with self._ringing:
            self._look_if_changed(version)
            for name, fd in list(self._bells.items()):
                self._ring_one(name, fd)

    def dead(self, version: int) -> frozenset[int]:
        """The numbers of dispatchers that died and whose FIFOs are still there. Costs a system call for each bell."""
        with self._ringing:
            self._look_if_changed(version)
            for name, fd in list(self._bells.items()):
                if _lock_is_free(fd):
                    self._bury(name)
            return frozenset(self._dead.values())

    def take_down(self, holders: Collection[int]) -> None:
        """Remove the FIFOs of dead dispatchers."""
        with self._ringing:
            for name in [name for name, holder in self._dead.items() if holder in holders]:
                del self._dead[name]
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self._folder, name))

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

    def _look_if_changed(self, version: int) -> None:
        if version != self._seen and self._look():
            self._seen = version

    def _look(self) -> bool:
        """Open new bells and let go of old ones; false if that has to be done again."""
        try:
            names = {name for name in os.listdir(self._folder) if not name.startswith(".")}
        except FileNotFoundError:
            names = set()
        except OSError:
            # No descriptor is free, say. What was put is stored, and dispatchers poll.
            return False
        for gone in set(self._bells) - names:
            os.close(self._bells.pop(gone))
        self._dead = {name: holder for name, holder in self._dead.items() if name in names}
        opened = [self._open(name) for name in names - set(self._bells) - set(self._dead)]
        return all(opened)

    def _open(self, name: str) -> bool:
        """Open one bell; false if that may succeed the next time."""
        path = os.path.join(self._folder, name)
        try:
            self._bells[name] = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nobody has it open for reading, and its owner always has
                self._dead[name] = _holder(name)
            return error.errno not in _FULL
        return True

    def _ring_one(self, name: str, fd: int) -> None:
        try:
            os.write(fd, b"!")
        except OSError as error:
            if error.errno not in _IGNORED:
                self._bury(name)

    def _bury(self, name: str) -> None:
        """Nobody holds this FIFO any more. Its owner died, unless it has taken it down before."""
        os.close(self._bells.pop(name))
        if os.path.exists(os.path.join(self._folder, name)):
            self._dead[name] = _holder(name)


def _clear_away(folder: Path) -> None:
    """Remove what those have left who were killed while they hung up their bells. It has no name that others see."""
    before = time.time() - _FORGOTTEN_S
    for path in folder.glob(".*"):
        with contextlib.suppress(OSError):
            if _NAME.fullmatch(path.name[1:]) and path.lstat().st_mtime < before:
                path.unlink()


def _holder(name: str) -> int:
    match = _NAME.fullmatch(name)
    return int(match[1], 16) if match else NOBODY


def _lock_is_free(fd: int) -> bool:
    """Whether the owner of a FIFO has let go of its lock. Taken as a shared one, so that others see the same."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_UN)
    except OSError:
        return False
    return True


_bells: weakref.WeakSet[FifoBell] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for bell in list(_bells):
        bell.abandon()


os.register_at_fork(after_in_child=_after_fork_in_child)
