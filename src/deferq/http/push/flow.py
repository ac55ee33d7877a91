"""How many requests a base gets at a time, and when none at all.

Who cannot be reached, or answers 429 or 503, is left alone for a while, twice as long each time. Whoever did not answer
is asked by a single request then; whoever wants less, by half as many as before. Where they are answered, the number
doubles with each round of answers, as TCP does it, up to half of what it was when there was trouble; from there on it
grows slowly.
"""

from __future__ import annotations

import math
from collections.abc import Callable

FIRST_S, LONGEST_S = 0.1, 60.0
#: No base is obeyed for longer when it says when to come back.
RETRY_AFTER_S_MAX = 300.0


class Flow:
    """The window of one base. Its caller keeps threads apart."""

    def __init__(self, most: int, random: Callable[[], float]) -> None:
        """`most` requests at a time; `random` in [0, 1) spreads those who come back."""
        self._most = most
        self._random = random
        self._window = float(most)
        #: Up to here the window grows fast.
        self._fast_below = float(most)
        self._troubles = 0
        #: Monotonic time of the last trouble.
        self._trouble_at = -math.inf
        #: Monotonic time before which nothing is sent.
        self.until = -math.inf

    @property
    def window(self) -> int:
        """How many requests may be under way."""
        return int(self._window)

    @property
    def recovering(self) -> bool:
        """Whether the window may grow."""
        return self._window < self._most

    @property
    def in_trouble(self) -> bool:
        """Whether the last answer was none, or one that asked us to slow down."""
        return self._troubles > 0

    def open(self, now: float) -> bool:
        """Whether anything may be sent."""
        return now >= self.until

    def went_well(self) -> bool:
        """An answer came. True: the first after trouble."""
        recovered, self._troubles = self._troubles > 0, 0
        if self._window < self._most:
            grown = 1.0 if self._window < self._fast_below else 1.0 / self._window
            self._window = min(float(self._most), self._window + grown)
        return recovered

    def slow_down(self, sent_at: float, now: float, after_s: float | None = None, *, answered: bool = False) -> bool:
        """A request met trouble: nobody answered, or somebody who wants less; `after_s` is when to ask again.

        Those that were under way at the same time say nothing new. True: it is the first trouble after an answer.
        """
        if sent_at <= self._trouble_at:
            self.until = max(self.until, now + self._asked(after_s))
            return False
        pause = min(LONGEST_S, FIRST_S * 2.0 ** min(self._troubles, 30))
        self.until = now + max(pause * (1.0 - self._random() / 2), self._asked(after_s))
        self._fast_below = max(1.0, self._window / 2)
        self._window = self._fast_below if answered else 1.0
        self._trouble_at = now
        self._troubles += 1
        return self._troubles == 1

    def _asked(self, after_s: float | None) -> float:
        return 0.0 if after_s is None else min(RETRY_AFTER_S_MAX, after_s)
