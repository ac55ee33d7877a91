"""Where tasks report to the bench: a FIFO that `bench.tasks.mark` writes and this reads."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path
from types import TracebackType

from bench.tasks import MARK

READY, FIRST, LAST = -1, -2, -3


class Silence(Exception):
    """A task did not report in time."""


class Marks:
    """Reads marks in the order in which they arrive."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "marks")
        os.mkfifo(self.path, 0o600)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)

    def __enter__(self) -> Marks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._descriptor)

    def read(self, timeout_s: float) -> tuple[int, int] | None:
        """The next mark as (tag, monotonic nanoseconds), or None after `timeout_s`."""
        readable, _, _ = select.select([self._descriptor], [], [], timeout_s)
        return MARK.unpack(os.read(self._descriptor, MARK.size)) if readable else None

    def wait(self, tag: int, timeout_s: float) -> int:
        """When task `tag` ran, in monotonic nanoseconds. Other marks are passed over."""
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            arrived = self.read(left_s)
            if arrived is not None and arrived[0] == tag:
                return arrived[1]
        raise Silence(f"no task reported within {timeout_s:.0f} s")
