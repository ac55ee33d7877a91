"""Time as the simulation knows it: it stands still until somebody sets it."""

from __future__ import annotations

US = 1_000_000
#: 2026-03-02 12:00 UTC, the start of a minute.
START = 1_772_452_800 * US


class SimulatedClock:
    """The clock of a simulated machine, as engines take one: calling it gives microseconds since the epoch, UTC."""

    def __init__(self, now: int = START) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now
