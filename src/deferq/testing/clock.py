"""The time of a test: it goes with the system's clock until somebody moves it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from deferq.options import US, check_instant, check_seconds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FakeClock:
    """The time by which deferq's stores go in a test: eta, countdown, expiry, backoff, rates, names, retention.

    It goes with the system's clock until it is moved (`advance`, `move_to`) or told to stand still (`freeze`). From
    then on it stands still, and only the test moves it. So what is due "now" by the system's clock is due at once, and
    after `advance(60)` a countdown of 60 seconds is over.

    It changes nothing but deferq's own time: `datetime.now()` in your code is as it was.
    """

    def __init__(self, start: datetime | None = None) -> None:
        """`start`, with a time zone: it stands still there. None: it goes with the system's clock.

        Raises ScheduleError, or NaiveDatetime.
        """
        #: Where it stands; None: it goes with the system's clock, as far ahead of it as `_ahead` says.
        self._stands_at = None if start is None else check_instant("start", start)
        self._ahead = 0
        self._moved: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"<FakeClock {self.now().isoformat()}{'' if self._stands_at is None else ', stands still'}>"

    def __call__(self) -> int:
        """The time in microseconds since the epoch, as engines ask for it."""
        return time.time_ns() // 1_000 + self._ahead if self._stands_at is None else self._stands_at

    def now(self) -> datetime:
        """The time, in UTC."""
        return _EPOCH + timedelta(microseconds=self())

    def freeze(self) -> datetime:
        """Stand still from now on; returns the time."""
        self._stands_at = self()
        return self.now()

    def advance(self, seconds: float | timedelta) -> datetime:
        """Let time pass, and stand still there; returns the new time.

        In inline mode what has become due runs now, and what dies raises here. Raises ScheduleError if the time is no
        number, or negative.
        """
        return self._move(self() + round(check_seconds("seconds", seconds) * US))

    def move_to(self, instant: datetime) -> datetime:
        """Let it be `instant`, which has a time zone, and stand still there; returns it.

        In inline mode what has become due runs now, and what dies raises here. Raises ScheduleError, or NaiveDatetime.
        """
        return self._move(check_instant("instant", instant))

    # ---- for deferq.testing

    def skip_to(self, instant_us: int) -> None:
        """Let time pass until then, if it has not. The clock goes on, or stands still, as it did before."""
        left = instant_us - self()
        if left <= 0:
            return
        if self._stands_at is None:
            self._ahead += left
        else:
            self._stands_at += left

    def when_moved(self, tell: Callable[[], object]) -> Callable[[], None]:
        """Call `tell` after each move by the test; the answer ends that."""
        self._moved.append(tell)
        return lambda: self._moved.remove(tell)

    def _move(self, instant_us: int) -> datetime:
        self._stands_at = instant_us
        moved = self.now()
        for tell in tuple(self._moved):
            tell()
        return moved
