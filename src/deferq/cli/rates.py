"""How fast tasks are run, from the totals of the last minutes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from deferq.cli.times import US
from deferq.engines.base import MINUTE_US, Total

#: The windows of `deferq status`, in minutes.
WINDOWS = (1, 5)


class Rate(NamedTuple):
    """What attempts came to in so many seconds."""

    span_s: float
    attempts: int = 0
    failures: int = 0
    duration_us: int = 0
    duration_us_max: int = 0

    @property
    def per_s(self) -> float:
        """Attempts a second."""
        return self.attempts / self.span_s

    @property
    def failed_share(self) -> float:
        """Failed attempts, as a share of all."""
        return self.failures / self.attempts if self.attempts else 0.0

    @property
    def mean_s(self) -> float | None:
        """How long an attempt ran; None: there was none."""
        return self.duration_us / self.attempts / US if self.attempts else None

    @property
    def max_s(self) -> float | None:
        """How long the longest ran; None: there was none."""
        return self.duration_us_max / US if self.attempts else None

    def plus(self, total: Total) -> Rate:
        """With one more total in it."""
        return Rate(
            self.span_s,
            self.attempts + total.attempts,
            self.failures + total.failures,
            self.duration_us + total.duration_us,
            max(self.duration_us_max, total.duration_us_max),
        )


class Window(NamedTuple):
    """Rates of the last minutes, together and by queue."""

    minutes: int
    all: Rate
    queues: Mapping[str, Rate]

    def of(self, queue: str) -> Rate:
        """The rate of one queue."""
        return self.queues.get(queue, Rate(self.all.span_s))


def window_start(now: int, minutes: int) -> int:
    """Where a window begins: at a full minute, since the totals of past minutes are folded into one.

    So it is up to a minute longer than its name says; rates divide by its true length.
    """
    ago = now - minutes * MINUTE_US
    return ago - ago % MINUTE_US


def window(totals: Iterable[Total], now: int, minutes: int) -> Window:
    """The rates of one window, from totals that may reach further back."""
    since = window_start(now, minutes)
    nothing = Rate((now - since) / US)
    everything, queues = nothing, dict[str, Rate]()
    for total in totals:
        if since <= total.at <= now:
            everything = everything.plus(total)
            queues[total.queue] = queues.get(total.queue, nothing).plus(total)
    return Window(minutes, everything, queues)
