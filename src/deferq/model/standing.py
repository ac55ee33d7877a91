"""How a limited queue stands: what its token bucket holds, and how many of its tasks may be leased now.

Arithmetic in whole numbers, so that nothing drifts; the time, in microseconds since the epoch, comes in as an argument.
"""

from __future__ import annotations

from typing import NamedTuple

from deferq.model.limits import Limits, Rate, rate_of

#: Whoever waits for tokens of a fast queue waits for as many as come in this time: to look for each would be to spin.
BATCH_US = 10_000
#: More than any turn leases.
UNLIMITED = 1_000_000


class Bucket(NamedTuple):
    """A token bucket as one instant: when it will be full, or has been. How much it holds follows from the time."""

    #: Microseconds since the epoch.
    full_at: int = 0
    #: And so many parts of a microsecond later; the rate's `tokens` are one microsecond.
    parts: int = 0

    def tokens(self, rate: Rate, size: int, now: int) -> int:
        """How many it holds."""
        filled = size * rate.period_us - (self.full_at - now) * rate.tokens - self.parts
        return max(0, min(size, filled // rate.period_us))

    def without(self, count: int, rate: Rate, now: int) -> Bucket:
        """The bucket after `count` tokens have been taken from it."""
        start = self if self.full_at >= now else Bucket(now)
        whole, parts = divmod(start.parts + count * rate.period_us, rate.tokens)
        return Bucket(start.full_at + whole, parts)

    def holds_at(self, count: int, rate: Rate, size: int) -> int:
        """When it will hold `count` tokens, or since when it does."""
        return self.full_at - ((size - count) * rate.period_us - self.parts) // rate.tokens

    def corrected(self, rate: Rate, size: int, now: int) -> Bucket:
        """The same, unless it is emptier than empty: the clock has been set back, or the rate raised. Then it is empty.

        Whoever corrects a bucket must store it, or it would be empty each time somebody looks.
        """
        sound = self if self.parts < rate.tokens else Bucket(self.full_at + 1)
        return min(sound, Bucket(now).without(size, rate, now))


class Standing(NamedTuple):
    """A queue that is limited, and how it stands."""

    limits: Limits
    bucket: Bucket
    #: Leased tasks, those whose lease is over and who were not rescued yet among them.
    held: int
    paused: bool = False

    def corrected(self, now: int) -> Standing:
        """With a bucket that can be true. If it differs from this one it must be stored."""
        if self.limits.rate is None:
            return self
        return self._replace(bucket=self.bucket.corrected(rate_of(self.limits.rate), self.limits.burst, now))

    def allowance(self, now: int) -> int:
        """How many of its tasks may be leased now."""
        return max(0, min(self._tokens(now), self.places))

    @property
    def places(self) -> int:
        """How many more may be leased at a time."""
        if self.paused:
            return 0
        most = self.limits.max_concurrent
        return UNLIMITED if most is None else most - self.held

    def taken(self, count: int, now: int) -> Standing:
        """After `count` of its tasks have been leased."""
        bucket = self.bucket
        if self.limits.rate is not None and count:
            bucket = bucket.without(count, rate_of(self.limits.rate), now)
        return self._replace(bucket=bucket, held=self.held + count)

    def due(self, now: int) -> int | None:
        """When its rate lets tasks start again, if only its rate holds them back now."""
        if self.limits.rate is None or self.places <= 0 or self._tokens(now):
            return None
        rate, size = rate_of(self.limits.rate), self.limits.burst
        batch = max(1, min(size // 2, BATCH_US * rate.tokens // rate.period_us))
        return self.bucket.holds_at(batch, rate, size)

    def _tokens(self, now: int) -> int:
        if self.limits.rate is None:
            return UNLIMITED
        return self.bucket.tokens(rate_of(self.limits.rate), self.limits.burst, now)
