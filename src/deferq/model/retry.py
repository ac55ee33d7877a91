"""When a failed task runs again, and when it is given up."""

from __future__ import annotations

from deferq.errors import InvalidOption
from deferq.frozen import Frozen

ATTEMPTS_MAX = 1_000_000
#: About 300 years: what is longer was not meant, and would overflow.
SECONDS_MAX = 10_000_000_000


class RetryPolicy(Frozen):
    """How often, and how patiently, a task is tried again.

    Source of the backoff and of the give-up rule: App Engine's task queue, as measured on its own SDK.
    """

    __slots__ = (  # noqa: RUF023 – the order in which they are shown and stored
        "max_attempts",
        "min_backoff_s",
        "max_backoff_s",
        "max_doublings",
        "max_age_s",
        "jitter",
    )

    #: Executions in all, the first one included; None: no limit by number.
    max_attempts: int | None
    #: Seconds before the first retry.
    min_backoff_s: float
    #: Seconds that no wait exceeds.
    max_backoff_s: float
    #: How often the wait doubles before it grows by a constant step.
    max_doublings: int
    #: Seconds since the task was first due after which it is given up; None: no limit by age.
    max_age_s: float | None
    #: Spread each wait over [half, whole], so that tasks that failed together do not return together.
    jitter: bool

    def __init__(
        self,
        *,
        max_attempts: int | None = 25,
        min_backoff_s: float = 0.1,
        max_backoff_s: float = 3600.0,
        max_doublings: int = 16,
        max_age_s: float | None = None,
        jitter: bool = True,
    ) -> None:
        """Raises InvalidOption for a value that makes no sense."""
        self._fill(
            max_attempts=max_attempts,
            min_backoff_s=min_backoff_s,
            max_backoff_s=max_backoff_s,
            max_doublings=max_doublings,
            max_age_s=max_age_s,
            jitter=jitter,
        )
        self._check()

    def _check(self) -> None:
        if self.max_attempts is not None:
            _whole("max_attempts", self.max_attempts, 1, ATTEMPTS_MAX)
        _whole("max_doublings", self.max_doublings, 0, 64)
        _seconds("min_backoff_s", self.min_backoff_s)
        _seconds("max_backoff_s", self.max_backoff_s)
        if self.max_age_s is not None:
            _seconds("max_age_s", self.max_age_s)
        if self.min_backoff_s > self.max_backoff_s:
            raise InvalidOption(
                f"RetryPolicy: min_backoff_s ({self.min_backoff_s}) is larger than max_backoff_s"
                f" ({self.max_backoff_s}); make it at most as large.",
                field="min_backoff_s",
            )

    @property
    def at_most_once(self) -> bool:
        """Whether a start that ended in nothing known must not be repeated."""
        return self.max_attempts == 1 and self.max_age_s is None

    def backoff_s(self, retry: int) -> float:
        """Seconds to wait before retry number `retry` (1, 2, ...), before jitter.

        min(max, min * 2^e * (retry - e)) with e = min(retry - 1, max_doublings).
        """
        doublings = min(retry - 1, self.max_doublings)
        return min(self.max_backoff_s, self.min_backoff_s * 2.0**doublings * (retry - doublings))

    def gives_up(self, attempts: int, age_s: float) -> bool:
        """Whether a task that has spent `attempts` and was first due `age_s` ago is not tried again.

        With a limit on attempts and one on age, only when both are spent.
        """
        spent = self.max_attempts is not None and attempts >= self.max_attempts
        if self.max_age_s is None:
            return spent
        too_old = age_s > self.max_age_s
        return too_old and (spent or self.max_attempts is None)


def is_seconds(value: object) -> bool:
    """Whether `value` is a sensible number of seconds: a number, not negative, not endless."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= SECONDS_MAX


def _whole(field: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidOption(f"RetryPolicy: {field} must be a whole number from {low} to {high}.", field=field)


def _seconds(field: str, value: object) -> None:
    if not is_seconds(value):
        raise InvalidOption(f"RetryPolicy: {field} must be a number of seconds, not negative.", field=field)


DEFAULT_RETRY = RetryPolicy()
