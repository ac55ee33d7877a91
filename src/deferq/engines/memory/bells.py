"""Bells between the threads of one process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress


class MemoryBell:
    """A lock that is held while all is quiet: ringing releases it, waiting takes it back.

    A bare lock, because unlike Event or Condition it can be released in a signal handler of the thread that waits.
    """

    def __init__(self, forget: Callable[[MemoryBell], None]) -> None:
        self._forget = forget
        self._quiet = threading.Lock()
        self._quiet.acquire()

    def wait(self, timeout_s: float) -> bool:
        return self._quiet.acquire(timeout=min(max(0.0, timeout_s), threading.TIMEOUT_MAX))

    def ring(self) -> None:
        with suppress(RuntimeError):  # it has been rung already
            self._quiet.release()

    def close(self) -> None:
        self._forget(self)
