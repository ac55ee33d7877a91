"""Who has to wait for a place that one can have at a time: each is told when to come back, one after the other."""

from __future__ import annotations

import math

#: Seconds that one turn takes: what the last one took, between these.
TURN_MIN_S, TURN_MAX_S = 0.2, 5.0
#: The longest that anybody is sent away for, in seconds.
AWAY_MAX_S = 600.0


class Turns:
    """Promises turns that follow one another, so that those who wait do not all come back at once."""

    def __init__(self) -> None:
        self._turn_s = 1.0
        #: Monotonic time up to which turns are promised.
        self._promised_until = -math.inf

    def took(self, seconds: float) -> None:
        """A turn has ended that took so long."""
        self._turn_s = min(TURN_MAX_S, max(TURN_MIN_S, seconds))

    def next_in(self, now: float) -> float:
        """Seconds until a turn that nobody else was promised."""
        self._promised_until = min(now + AWAY_MAX_S, max(now, self._promised_until) + self._turn_s)
        return self._promised_until - now
