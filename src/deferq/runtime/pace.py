"""How fast tasks finish, and so how many to lease before there is room for them."""

from __future__ import annotations

import math

#: Over how many seconds the rate is smoothed.
SMOOTHING_S = 0.5


class Pace:
    """A smoothed rate that forgets: where nothing finishes any more it falls by itself."""

    def __init__(self, *, prefetch_s: float, least: int, most: int) -> None:
        """`least` is what makes leasing ahead worth it: fewer would mean that tasks are slow."""
        self._prefetch_s = prefetch_s
        self._least = least
        self._most = most
        self._rate = 0.0
        self._at = -math.inf

    def note(self, finished: int, now: float) -> None:
        """So many tasks finished since the last note."""
        passed = now - self._at
        self._at = now
        if passed <= 0.0:
            self._rate += finished / SMOOTHING_S
            return
        kept = math.exp(-passed / SMOOTHING_S)
        self._rate = self._rate * kept + finished * (1.0 - kept) / passed

    def ahead(self) -> int:
        """How many tasks will start within the prefetch window; 0 while tasks are slow."""
        ahead = min(self._most, int(self._rate * self._prefetch_s))
        return ahead if ahead >= self._least else 0
