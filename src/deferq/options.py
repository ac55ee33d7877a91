"""What may be said about a call: checked at the call, with a message that names the field."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Literal, TypedDict

from deferq.errors import InvalidOption, NaiveDatetime, ScheduleError
from deferq.model.checks import check_priority, check_route, check_task_name
from deferq.model.headers import is_reserved
from deferq.model.queue import check_queue_name
from deferq.model.retry import RetryPolicy
from deferq.model.urls import check_url
from deferq.suggest import did_you_mean

US = 1_000_000
#: The last instant an id can be made for, 2091; nothing can be due later.
ETA_MAX_US = 3_800_000_000 * US
IF_EXISTS = ("raise", "return", "replace")
TAG_CHARACTERS_MAX, TAGS_MAX = 200, 50
HEADER_BYTES_MAX = 8 * 1024
# Compiled when they are first needed: importing deferq is to be quick.
_HEADER_NAME = r"[!#$%&'*+.^`|~0-9A-Za-z-]{1,200}"
_HEADER_VALUE = r"[\x20-\x7e\t]*"


class CallOptions(TypedDict, total=False):
    """Options of one call; what is not given comes from the deferrable, then from the queue, then from deferq.

    None is as good as not given; for `timeout` and `expires` it means: no limit.
    """

    queue: str | None
    #: Seconds from now, or a timedelta.
    countdown: float | timedelta | None
    #: Not before; with a time zone.
    eta: datetime | None
    name: str | None
    #: When the name is taken: "raise", "return" the handle of the task that has it, or "replace" a pending one.
    if_exists: Literal["raise", "return", "replace"]
    #: -100 to 100, higher first.
    priority: int | None
    retry: RetryPolicy | None
    #: Seconds an attempt may take, or a timedelta.
    timeout: float | timedelta | None
    #: Seconds from now after which a task that has not started is cancelled, a timedelta, or an aware datetime.
    expires: float | timedelta | datetime | None
    tags: Iterable[str] | None
    headers: Mapping[str, str] | None
    #: Which group of workers it is meant for.
    route: str | None
    #: A path of the application, such as /tasks/mail: the task is delivered there instead of being called.
    url: str | None
    #: The transaction that the task belongs to: it exists if and only if that commits. A sqlite3 connection, a session
    #: or connection of SQLAlchemy, Django's connection or its alias; True: the one that is open here, and an error if
    #: none is; False: none. Not given: the one that is open here, if any.
    within: Any


OPTION_NAMES = tuple(CallOptions.__annotations__)

#: App Engine's names for options, as `defer(fn, ..., _countdown=60)` takes them.
UNDERSCORE_NAMES = {
    "_countdown": "countdown",
    "_eta": "eta",
    "_name": "name",
    "_queue": "queue",
    "_target": "route",
    "_url": "url",
    "_headers": "headers",
    "_transactional": "within",
    "_retry_options": "retry",
}


def check_options(options: Mapping[str, Any]) -> None:
    """Raise InvalidOption if a name is unknown, or two contradict each other."""
    for name in options:
        if name not in OPTION_NAMES:
            hint = did_you_mean(name, OPTION_NAMES, otherwise=f" There are: {', '.join(OPTION_NAMES)}.")
            raise InvalidOption(f"There is no option {name!r}.{hint}", field=name)
    if options.get("eta") is not None and options.get("countdown") is not None:
        raise ScheduleError("eta and countdown: give one of them, not both.", field="eta")
    if options.get("if_exists", "raise") not in IF_EXISTS:
        raise InvalidOption(f"if_exists: expected one of {', '.join(IF_EXISTS)}.", field="if_exists")
    if options.get("if_exists") in ("return", "replace") and options.get("name") is None:
        raise InvalidOption("if_exists: only a task with a name can exist already; give it a name.", field="if_exists")


def split_keywords(
    keywords: Mapping[str, Any], accepted: frozenset[str] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separate App Engine's underscore options from the function's own keywords.

    `accepted` are the keywords that the function takes; None: any. Raises TypeError for a keyword that is neither.
    """
    options: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, value in keywords.items():
        if name in UNDERSCORE_NAMES and (accepted is None or name not in accepted):
            options[name] = value
        elif accepted is None or name in accepted:
            own[name] = value
        else:
            raise TypeError(_unknown_keyword(name, accepted))
    return translate_underscore(options), own


def translate_underscore(options: Mapping[str, Any]) -> dict[str, Any]:
    """App Engine's options in deferq's names. None means: not given."""
    translated = {UNDERSCORE_NAMES[name]: value for name, value in options.items() if value is not None}
    if "within" in translated and not isinstance(translated["within"], bool):
        raise InvalidOption("_transactional: expected True or False.", field="_transactional")
    if translated.get("url") == "":  # App Engine's way to say: the url of the queue
        del translated["url"]
    return translated


def own_url(value: Any, queue: str) -> str | None:
    """The path that a task of `queue` is delivered to; None: it is called, as App Engine's default URLs mean too."""
    if value is None or value in ("/_ah/queue/deferred", f"/_ah/queue/{queue}"):
        return None
    return check_url(value)


def _unknown_keyword(name: str, accepted: frozenset[str]) -> str:
    """Say what was probably meant: an option of deferq, or an argument of the function."""
    known = [f"_{name}"] if f"_{name}" in UNDERSCORE_NAMES else [*UNDERSCORE_NAMES, *accepted]
    hint = did_you_mean(name, known)
    return (
        f"defer() got the keyword {name!r}, which the function does not take.{hint}"
        " Options go into call(fn, ...).defer(countdown=...)."
    )


# ---- single values


def due_at(options: Mapping[str, Any], now: int) -> int:
    """Microseconds since the epoch at which the task is due; past times mean now."""
    eta = options.get("eta")
    if eta is not None:
        return check_instant("eta", eta)
    countdown = options.get("countdown")
    if countdown is None:
        return now
    due = now + _microseconds(max(0.0, check_seconds("countdown", countdown, negative=True)))
    if due > ETA_MAX_US:
        raise ScheduleError(
            "countdown: nothing can be due after the year 2090. It is a number of seconds.", field="countdown"
        )
    return due


def expires_at(value: Any, now: int) -> int | None:
    """Microseconds since the epoch after which the task is not started; None: never."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return check_instant("expires", value)
    return min(ETA_MAX_US, now + _microseconds(check_seconds("expires", value)))


def _microseconds(seconds: float) -> int:
    """As a whole number; what lies beyond every time that can be stored stays beyond it."""
    return int(min(seconds * US, 2.0 * ETA_MAX_US))


def check_instant(field: str, value: Any) -> int:
    """Microseconds since the epoch of an aware datetime between 1970 and 2090."""
    if not isinstance(value, datetime):
        raise ScheduleError(f"{field}: expected a datetime with a time zone.", field=field)
    try:
        naive = value.utcoffset() is None
    except Exception as error:
        raise ScheduleError(f"{field}: its time zone raised {type(error).__name__}. Use UTC.", field=field) from error
    if naive:
        raise NaiveDatetime(
            f"{field}: a datetime without a time zone could mean any of 38 instants. Use datetime.now(UTC) or"
            " value.replace(tzinfo=...).",
            field=field,
        )
    try:
        instant = value.timestamp()
    except (OverflowError, ValueError):
        instant = -1.0
    if not 0 <= instant * US <= ETA_MAX_US:
        raise ScheduleError(f"{field}: expected a time between the years 1970 and 2090.", field=field)
    return round(instant * US)


def check_seconds(field: str, value: Any, *, negative: bool = False) -> float:
    """A finite number of seconds from a number or a timedelta."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):  # an int of 400 digits
            seconds = float(value)
    if not math.isfinite(seconds):
        raise ScheduleError(f"{field}: expected a number of seconds or a timedelta.", field=field)
    if seconds < 0 and not negative:
        raise ScheduleError(f"{field}: a number of seconds cannot be negative.", field=field)
    return seconds


def check_timeout(value: Any) -> float | None:
    """Seconds an attempt may take, more than none."""
    if value is None:
        return None
    seconds = check_seconds("timeout", value)
    if seconds == 0:
        raise InvalidOption("timeout: no task finishes in 0 seconds. Leave it out for no limit.", field="timeout")
    return seconds


def check_retry(value: Any) -> RetryPolicy | None:
    """A RetryPolicy or None."""
    if value is None or isinstance(value, RetryPolicy):
        return value
    raise InvalidOption("retry: expected a RetryPolicy, such as RetryPolicy(max_attempts=5).", field="retry")


def check_tags(value: Any) -> tuple[str, ...]:
    """Up to 50 printable tags of up to 200 characters."""
    tags = tuple(islice(value, TAGS_MAX + 1)) if isinstance(value, Iterable) and not isinstance(value, str) else None
    if tags is None or len(tags) > TAGS_MAX or not all(isinstance(tag, str) and _is_tag(tag) for tag in tags):
        raise InvalidOption(
            f"tags: expected up to {TAGS_MAX} texts of 1 to {TAG_CHARACTERS_MAX} printable characters.", field="tags"
        )
    return tags


def _is_tag(tag: str) -> bool:
    return 0 < len(tag) <= TAG_CHARACTERS_MAX and tag.isprintable()


def check_headers(value: Any) -> tuple[tuple[str, str], ...]:
    """Header names by RFC 9110's token rule, without those that HTTP or a task queue sets; values in visible ASCII."""
    if not isinstance(value, Mapping):
        raise InvalidOption('headers: expected a mapping of names to values, such as {"X-Shop": "7"}.', field="headers")
    headers = tuple(value.items())
    for name, text in headers:
        if not isinstance(name, str) or not re.fullmatch(_HEADER_NAME, name):
            raise InvalidOption("headers: a header name has ASCII letters, digits and dashes.", field="headers")
        if is_reserved(name):
            raise InvalidOption(f"headers: {name} is set by deferq or by HTTP itself; leave it out.", field="headers")
        if not isinstance(text, str) or not re.fullmatch(_HEADER_VALUE, text) or len(text) > HEADER_BYTES_MAX:
            raise InvalidOption(f"headers: the value of {name} must be short, in visible ASCII.", field="headers")
    return headers


def check_name(value: Any) -> str | None:
    """The name of a task, or None."""
    return None if value is None else check_task_name(value)


__all__ = [
    "CallOptions",
    "check_headers",
    "check_name",
    "check_options",
    "check_priority",
    "check_queue_name",
    "check_retry",
    "check_route",
    "check_tags",
    "check_timeout",
    "due_at",
    "expires_at",
    "own_url",
    "split_keywords",
]
