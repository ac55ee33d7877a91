"""When a task is due."""

from __future__ import annotations

import math
import sys
import time
import warnings
from datetime import UTC, datetime
from typing import Any

from deferq import standin
from deferq.compat.appengine.taskqueue.errors import InvalidEtaError, InvalidTaskError
from deferq.compat.appengine.taskqueue.limits import MAX_COUNTDOWN_SECONDS
from deferq.default import default


def current_s() -> float:
    """Seconds since the epoch; by the clock of the test where one has exchanged the stores. Opens no other store."""
    return time.time() if standin.current is None else default().engine.now() / 1e6


def due_at(eta: Any, countdown: Any, now_s: float) -> float:
    """Seconds since the epoch at which a task with these is due.

    A datetime without a time zone is UTC, with a warning: App Engine's library took it for the time of the machine.
    Raises InvalidTaskError, or InvalidEtaError for more than thirty days.
    """
    due = _due_at(eta, countdown, now_s)
    if due - now_s > MAX_COUNTDOWN_SECONDS:
        raise InvalidEtaError("A task can be due at most 30 days ahead, and this is further off.", field="eta")
    return due


def _due_at(eta: Any, countdown: Any, now_s: float) -> float:
    if countdown is None:
        return now_s if eta is None else _instant(eta)
    if eta is not None:
        raise InvalidTaskError("eta and countdown: give one of them, not both.")
    return now_s + _seconds(countdown)


def _instant(eta: Any) -> float:
    if not isinstance(eta, datetime):
        raise InvalidTaskError("eta: a datetime is expected.")
    if eta.utcoffset() is None:
        warnings.warn(
            "eta has no time zone, and is taken for UTC. Say so with datetime.now(UTC), or replace(tzinfo=UTC).",
            UserWarning,
            stacklevel=_outside(),
        )
        return eta.replace(tzinfo=UTC).timestamp()
    return eta.timestamp()


def _seconds(countdown: Any) -> float:
    try:
        seconds = float(countdown)
    except ValueError:
        seconds = math.nan
    except OverflowError:
        raise InvalidTaskError("countdown: out of range.") from None
    if math.isnan(seconds) or seconds == -math.inf:
        raise InvalidTaskError("countdown: a number of seconds is expected.")
    return seconds


def _outside() -> int:
    """The stack level of the application, as `warnings.warn` counts it for whoever asks here."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "deferq":
        level, frame = level + 1, frame.f_back
    return level
