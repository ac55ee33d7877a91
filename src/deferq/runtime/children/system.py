"""What a parent asks of the operating system about its children: the simulation answers in its place."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol


class Process(Protocol):
    """A child as the operating system knows it."""

    pid: int
    #: As `subprocess` has it, once the end was noticed: less than 0, killed by that signal.
    returncode: Any
    #: A descriptor that can be read once it is dead, where the system has such a thing.
    pidfd: int | None

    def poll(self) -> int | None:
        """Its exit code; None: it lives."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, at most so many seconds. Raises subprocess.TimeoutExpired."""

    def kill(self) -> None:
        """End it now."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal, if it lives."""

    def rss(self) -> int:
        """Bytes of memory it has; 0 where the system does not tell."""

    def close(self) -> None:
        """Nobody asks about it any more."""


class Connection(Protocol):
    """What the parent uses of the socket to a child."""

    def setblocking(self, flag: bool, /) -> None:
        """Whether calls may wait."""

    def fileno(self) -> int:
        """To be polled."""

    def send(self, data: bytes | bytearray, /) -> int:
        """Send what there is room for; returns how many bytes that were."""

    def recv(self, size: int, /) -> bytes:
        """What has come, at most so many bytes; none: the other end is closed."""

    def close(self) -> None:
        """Let the other end see that nothing more will come."""


class Poll(Protocol):
    """What the parent uses of `select.poll`."""

    def register(self, fd: int, eventmask: int, /) -> None:
        """Wait for these events of that descriptor too."""

    def poll(self, timeout: float, /) -> list[tuple[int, int]]:
        """Wait, at most so many milliseconds; the descriptors at which something happened."""


NewPoll = Callable[[], Poll]


class OsProcess(subprocess.Popen[bytes]):
    """A real one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.pidfd = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else None

    def rss(self) -> int:
        """Bytes of memory it has; 0 where the system does not tell."""
        with suppress(OSError, ValueError, IndexError), open(f"/proc/{self.pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return 0

    def close(self) -> None:
        """Give the descriptor back."""
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
