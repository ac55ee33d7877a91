"""How far it is: one line that is redrawn on a terminal, else a plain line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from deferq.demo.visitor import Visitors
from deferq.demo.web import Look

REDRAW_S, PLAIN_S = 0.1, 2.0
_ERASE = "\r\x1b[K"


class Progress:
    """Shows what it is told, but not more often than a reader can follow."""

    def __init__(self) -> None:
        self._redraws = sys.stdout.isatty()
        self._began = time.monotonic()
        self._next_at = self._began

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._redraws:
            print(_ERASE, end="", flush=True)

    def show(self, visitors: Visitors, look: Look) -> None:
        """Tell where things stand, if it is time to."""
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + (REDRAW_S if self._redraws else PLAIN_S)
            self._write(_line(visitors, look, now - self._began))

    def _write(self, line: str) -> None:
        if self._redraws:
            print(f"{_ERASE}{line}", end="", flush=True)
        else:
            print(line, flush=True)


def _line(visitors: Visitors, look: Look, seconds: float) -> str:
    visits = f"{len(visitors.answers)} of {visitors.planned} requests answered"
    return f"demo: {seconds:4.1f} s: {visits}, {look.ended:,} tasks ended, {look.alive:,} to go"
