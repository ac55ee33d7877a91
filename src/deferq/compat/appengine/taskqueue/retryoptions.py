"""How often a task is tried again, in App Engine's words."""

from __future__ import annotations

import math
from typing import Any

from deferq.compat.appengine.taskqueue.errors import InvalidTaskRetryOptionsError
from deferq.errors import InvalidOption
from deferq.model.retry import DEFAULT_RETRY, RetryPolicy

#: What App Engine takes for what is left out.
MIN_BACKOFF_S, MAX_BACKOFF_S, MAX_DOUBLINGS = 0.1, 3600.0, 16
#: Doubling further changes nothing: every wait has reached its cap by then.
_DOUBLINGS_MAX = 64
_FIELDS = ("min_backoff_seconds", "max_backoff_seconds", "task_age_limit", "max_doublings", "task_retry_limit")


class TaskRetryOptions:
    """Keywords, each of which may be left out: `min_backoff_seconds`, `max_backoff_seconds`, `max_doublings`,
    `task_retry_limit` (retries, without the first attempt), `task_age_limit` (seconds, rounded up).

    With both limits a task is given up when both are reached. Raises InvalidTaskRetryOptionsError for what is negative,
    or for a longest wait that is shorter than the shortest; TypeError for other keywords.
    """

    def __init__(self, **kwargs: Any) -> None:
        if unknown := sorted(kwargs.keys() - set(_FIELDS)):
            raise TypeError(f"TaskRetryOptions() takes no {', '.join(unknown)}; there are: {', '.join(_FIELDS)}.")
        for field in _FIELDS:
            value = kwargs.get(field)
            if value is not None and value < 0:
                raise InvalidTaskRetryOptionsError(f"{field}: {value!r} is negative.", field=field)
        self._min_backoff_seconds = kwargs.get("min_backoff_seconds")
        self._max_backoff_seconds = kwargs.get("max_backoff_seconds")
        self._max_doublings = kwargs.get("max_doublings")
        self._task_retry_limit = kwargs.get("task_retry_limit")
        age_limit = kwargs.get("task_age_limit")
        self._task_age_limit = None if age_limit is None else math.ceil(age_limit)
        self._check_backoff()

    def _check_backoff(self) -> None:
        shortest, longest = self._min_backoff_seconds, self._max_backoff_seconds
        if shortest is not None and longest is not None and longest < shortest:
            raise InvalidTaskRetryOptionsError(
                f"max_backoff_seconds ({longest}) is less than min_backoff_seconds ({shortest}).",
                field="max_backoff_seconds",
            )

    @property
    def min_backoff_seconds(self) -> float | None:
        """Seconds before the first retry."""
        return self._min_backoff_seconds

    @property
    def max_backoff_seconds(self) -> float | None:
        """Seconds that no wait exceeds."""
        return self._max_backoff_seconds

    @property
    def task_age_limit(self) -> int | None:
        """Seconds after which a task that fails is given up."""
        return self._task_age_limit

    @property
    def max_doublings(self) -> int | None:
        """How often the wait doubles before it grows by a constant step."""
        return self._max_doublings

    @property
    def task_retry_limit(self) -> int | None:
        """How often a task is tried again, or a pull task leased."""
        return self._task_retry_limit

    def __repr__(self) -> str:
        return f"TaskRetryOptions({', '.join(f'{field}={getattr(self, field)!r}' for field in _FIELDS)})"


def policy_of(options: Any) -> RetryPolicy:
    """The policy that `options` (a TaskRetryOptions, or what looks like one) come to; a RetryPolicy stays what it is.

    Without any limit a task is tried as often as deferq tries by default, and then kept as dead; App Engine would try
    for ever. The waits are not spread, as they are not on App Engine.

    Raises InvalidTaskRetryOptionsError for what no policy can hold.
    """
    if isinstance(options, RetryPolicy):
        return options
    retries, age_limit = options.task_retry_limit, options.task_age_limit
    shortest, longest = backoff_of(options.min_backoff_seconds, options.max_backoff_seconds)
    doublings = MAX_DOUBLINGS if options.max_doublings is None else min(options.max_doublings, _DOUBLINGS_MAX)
    try:
        return RetryPolicy(
            max_attempts=_attempts(retries, age_limit),
            min_backoff_s=shortest,
            max_backoff_s=longest,
            max_doublings=doublings,
            max_age_s=age_limit,
            jitter=False,
        )
    except InvalidOption as error:
        raise InvalidTaskRetryOptionsError(f"retry_options: {error}", field=error.field) from error


def backoff_of(shortest: float | None, longest: float | None) -> tuple[float, float]:
    """Both ends of the backoff in seconds: where one is given alone, the other gives way."""
    if shortest is None:
        return min(MIN_BACKOFF_S, MAX_BACKOFF_S if longest is None else longest), _or(longest, MAX_BACKOFF_S)
    return shortest, max(MAX_BACKOFF_S, shortest) if longest is None else longest


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _attempts(retries: int | None, age_limit: float | None) -> int | None:
    if retries is not None:
        return retries + 1
    return DEFAULT_RETRY.max_attempts if age_limit is None else None
