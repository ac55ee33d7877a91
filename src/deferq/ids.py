"""Ids of tasks: time-ordered 63-bit integers, made by the caller, so that a task can be signed before it is stored."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable
from threading import Lock

from deferq.model.task import EPOCH_2020_US, ID_RANDOM_BITS


class IdSource:
    """Microseconds since 2020, shifted left by 12 random bits; monotonic in this process. Safe from any thread."""

    def __init__(self, now: Callable[[], int], randbits: Callable[[int], int] = secrets.randbits) -> None:
        self._now = now
        self._randbits = randbits
        self._last = 0
        self._pid = os.getpid()
        self._lock = Lock()
        self._random = random.Random(randbits(64))

    def next(self, now: int | None = None) -> int:
        """A new id; `now` saves another look at the clock."""
        return self._reserve(1, now)

    def take(self, count: int) -> range:
        """`count` new ids, ascending."""
        first = self._reserve(count)
        return range(first, first + count)

    def _reserve(self, count: int, now: int | None = None) -> int:
        """The first of `count` ids that nobody else gets."""
        if self._pid != os.getpid():
            self._start_over()
        with self._lock:
            since = (self._now() if now is None else now) - EPOCH_2020_US
            by_time = since << ID_RANDOM_BITS | self._random.getrandbits(ID_RANDOM_BITS)
            first = by_time if by_time > self._last else self._last + 1
            self._last = first + count - 1
        return first

    def _start_over(self) -> None:
        """A forked child must not repeat its parent's random numbers, and cannot trust a lock another thread held."""
        self._pid = os.getpid()
        self._lock = Lock()
        self._random = random.Random(self._randbits(64))
