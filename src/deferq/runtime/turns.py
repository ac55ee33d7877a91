"""Who has to wait for a place that one can have at a time: each is told when to come back, one after the other."""

from __future__ import annotations

import math

#: Seconds that one turn counts for, whatever it took, at least and at most.
TURN_MIN_S, TURN_MAX_S = 0.2, 5.0
#: How much of what is known of a turn comes from the last one; the rest comes from those before it.
LAST_ONE = 0.25
#: Whoever waits comes back after this share of the turns before it. To come too early costs a turn of the store. Who
#: comes too late, since turns are estimates and there may be other places, leaves the place empty.
EARLY = 0.25
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
        last = min(TURN_MAX_S, max(TURN_MIN_S, seconds))
        self._turn_s += LAST_ONE * (last - self._turn_s)

    def next_in(self, now: float) -> float:
        """Seconds until one comes back whom nobody else is to meet."""
        begins = max(now, self._promised_until)
        self._promised_until = min(now + AWAY_MAX_S, begins + EARLY * self._turn_s)
        return self._promised_until - now
