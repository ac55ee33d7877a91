"""Time as tests know it: it stands still until somebody advances it."""

from __future__ import annotations

US = 1_000_000
#: 2026-03-02 12:00 UTC, the start of a minute.
START = 1_772_452_800 * US


class FakeClock:
    """A `Clock` for engines: microseconds since the epoch, UTC."""

    def __init__(self, now: int = START) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> int:
        """Let time pass; returns the new time."""
        self.now += round(seconds * US)
        return self.now
