"""Limits of a queue: how fast its tasks start, and how many are leased at a time."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from deferq.errors import InvalidOption

#: The value of one limit.
Limit = str | int | None
US = 1_000_000
#: A bucket that nobody gave a size holds as much as App Engine's, or what its rate brings in so many microseconds.
BUCKET_SIZE, BUCKET_US = 5, 100_000
BUCKET_SIZE_MAX = 100_000
CONCURRENT_MAX = 1_000_000
#: Per second. The slowest rate is one in a year.
RATE_MAX = 1_000_000
YEAR_US = 366 * 24 * 3600 * US
_PERIODS_US = {"s": US, "m": 60 * US, "h": 3600 * US, "d": 24 * 3600 * US}
_RATE = re.compile(r"([0-9]{1,12})(?:\.([0-9]{0,12}))?\s*/\s*([smhd])")
#: As large as what is stored of a bucket may become.
_TOKENS_MAX = 10**18


class Rate(NamedTuple):
    """So many `tokens` in each `period_us`, in lowest terms."""

    tokens: int
    period_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What limits a queue; None: nothing does. Each value is checked, and `rate` is brought into its shortest form."""

    #: Starts in a time: "5/s", "0.5/s", "100/m", "10/h", "1/d".
    rate: str | None = None
    #: How many may start at once after a pause; None: 5, or what a fast rate brings in a tenth of a second.
    bucket_size: int | None = None
    #: How many are leased at a time, by all workers together.
    max_concurrent: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))
        _whole("bucket_size", self.bucket_size, BUCKET_SIZE_MAX)
        if self.max_concurrent == 0 and self.max_concurrent is not False:
            raise InvalidOption(
                "max_concurrent: with 0 no task would ever start; pause the queue instead (deferq queues pause).",
                field="max_concurrent",
            )
        _whole("max_concurrent", self.max_concurrent, CONCURRENT_MAX)

    def __bool__(self) -> bool:
        """Whether anything is limited."""
        return self.rate is not None or self.max_concurrent is not None

    @property
    def burst(self) -> int:
        """The size of its bucket, given or not."""
        if self.bucket_size is not None or self.rate is None:
            return self.bucket_size or BUCKET_SIZE
        rate = rate_of(self.rate)
        return max(BUCKET_SIZE, -(-rate.tokens * BUCKET_US // rate.period_us))


def check_rate(value: object) -> str | None:
    """A rate in its shortest form, such as "5/s". Takes "5/s", "0.5 / m" and numbers per second, or None.

    Raises InvalidOption for what is no rate, for none at all, and for one beyond what can be kept.
    """
    if value is None:
        return None
    match = _RATE.fullmatch(_rate_text(value).strip())
    if match is None:
        raise InvalidOption(
            'rate: expected a number of tasks per s, m, h or d, such as "5/s", "0.5/s" or "100/h", or a number per'
            " second.",
            field="rate",
        )
    whole, parts, period = match[1].lstrip("0") or "0", (match[2] or "").rstrip("0"), match[3]
    text = f"{whole}.{parts}/{period}" if parts else f"{whole}/{period}"
    _check_range(rate_of(text))
    return text


def _rate_text(value: object) -> str:
    if isinstance(value, str):
        return "0/s" if value.strip() == "0" else value
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 10**12:
        return ""
    return f"{value:.12f}/s" if value < 1 else f"{value:.6f}/s"


def _check_range(rate: Rate) -> None:
    if rate.tokens == 0:
        raise InvalidOption(
            "rate: at 0 no task would ever start; pause the queue instead (deferq queues pause).", field="rate"
        )
    if rate.tokens * US > RATE_MAX * rate.period_us or rate.period_us > YEAR_US * rate.tokens:
        raise InvalidOption(
            f"rate: expected at most {RATE_MAX:,} a second and at least one in a year; leave it out for no limit.",
            field="rate",
        )
    if rate.tokens > _TOKENS_MAX:
        raise InvalidOption("rate: this has too many digits; round it.", field="rate")


@lru_cache(maxsize=1024)
def rate_of(text: str) -> Rate:
    """What a rate in its shortest form means."""
    number, _, period = text.partition("/")
    whole, _, parts = number.partition(".")
    tokens, period_us = int(whole + parts), _PERIODS_US[period] * 10 ** len(parts)
    common = math.gcd(tokens, period_us)
    return Rate(tokens // common, period_us // common)


def seconds_between(text: str) -> float:
    """How many seconds lie between two starts at a rate in its shortest form."""
    rate = rate_of(text)
    return rate.period_us / rate.tokens / US


def _whole(field: str, value: object, most: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidOption(f"{field}: expected a whole number from 1 to {most:,}.", field=field)


NO_LIMITS = Limits()
FIELDS = ("rate", "bucket_size", "max_concurrent")


def given(limits: Limits) -> dict[str, Limit]:
    """The limits that are there, by field."""
    return {name: value for name in FIELDS if (value := getattr(limits, name)) is not None}
