"""The store is out of reach: when to ask it again."""

from __future__ import annotations

import math

FIRST_S, LONGEST_S = 0.1, 60.0


class Outage:
    """Counts failures in a row and spaces the attempts out, so that a fleet does not return in one instant.

    A full or read-only store still answers whoever only reads: what failed must succeed before the outage is over.
    """

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        """`longest_s` is the most seconds between two attempts."""
        self._longest_s = longest_s
        self._failures = 0
        self._failing: set[object] = set()
        #: Monotonic time before which the store is left alone.
        self.until = -math.inf

    def __bool__(self) -> bool:
        return self._failures > 0

    def failed(self, now: float, chance: float, what: object = None) -> bool:
        """`what` failed; `chance` is random in [0, 1). True: it is the first time in this outage."""
        longest = min(self._longest_s, FIRST_S * 2.0 ** min(self._failures, 30))
        self.until = now + longest * (1.0 - chance / 2)
        self._failures += 1
        self._failing.add(what)
        return self._failures == 1

    def ended(self, what: object = None) -> bool:
        """`what` succeeded; None: the store is well. True: there was an outage, and it is over."""
        self._failing.discard(what)
        if what is not None and self._failing:
            return False
        over = bool(self)
        self._failing.clear()
        self._failures = 0
        self.until = -math.inf
        return over
