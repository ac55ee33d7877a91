"""The store is out of reach: when to ask it again."""

from __future__ import annotations

import math

FIRST_S, LONGEST_S = 0.1, 60.0


class Outage:
    """Counts failures in a row and spaces the attempts out, so that a fleet does not return in one instant."""

    def __init__(self) -> None:
        self._failures = 0
        #: Monotonic time before which the store is left alone.
        self.until = -math.inf

    def __bool__(self) -> bool:
        return self._failures > 0

    def failed(self, now: float, chance: float) -> bool:
        """The store failed; `chance` is random in [0, 1). True: it is the first time in this outage."""
        longest = min(LONGEST_S, FIRST_S * 2.0 ** min(self._failures, 30))
        self.until = now + longest * (1.0 - chance / 2)
        self._failures += 1
        return self._failures == 1

    def ended(self) -> bool:
        """The store answered. True: there was an outage, and it is over."""
        over = bool(self)
        self._failures = 0
        self.until = -math.inf
        return over
