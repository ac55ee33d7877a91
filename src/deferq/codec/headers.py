"""The headers of a delivery: what App Engine and Cloud Tasks send, so that a view written for them finds its way, and
what proves that the delivery is ours.

Both families carry the same names. They differ in what they count: App Engine every answer, Cloud Tasks no 5xx; and in
what they say of an attempt that got no answer at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from deferq.codec import wire
from deferq.codec.requests import StoredRequest, is_request
from deferq.codec.signing import Keyring
from deferq.model.headers import is_reserved
from deferq.model.task import Failure, Leased, decode_options

US = 1_000_000
USER_AGENT = "deferq"
CONTENT_TYPE = "application/octet-stream"
#: Of a request that App Engine's task queue would make, and whom it seems to come from.
APP_ENGINE_USER_AGENT = "AppEngine-Google; (+http://code.google.com/appengine)"
APP_ENGINE_CLIENT = "0.1.0.2"
#: The kind of error that an answer without an outcome comes to; see `deferq.http.answers`.
ANSWERED = "HttpStatus"
_STATUS = re.compile(r"HTTP (\d{3}) from ")
#: Attempts of which nothing was heard.
_UNANSWERED = {"worker lost", "worker stopped", "timed out", "no answer"}


def delivery_headers(
    task: Leased, failures: Sequence[Failure] = (), *, request: StoredRequest | None = None
) -> list[tuple[str, str]]:
    """The headers of one delivery, without those that sign it, and without Content-Length, which the transport knows.

    Args:
        task: what is delivered; its own headers win over the defaults, and are never those of the two families.
        failures: its failed attempts, oldest first, as the engine keeps them. Without them an attempt counts as one
            that raised, and -TaskPreviousResponse and -TaskRetryReason are left out.
        request: what is sent, if the task is a request of its maker; None: it is a call of ours.
    """
    own = [(name, value) for name, value in decode_options(task.options).headers if not is_reserved(name)]
    given = {name.lower() for name, _ in own}
    defaults = [("User-Agent", USER_AGENT if request is None else APP_ENGINE_USER_AGENT)]
    if request is None or request.body:
        defaults.append(("Content-Type", CONTENT_TYPE))
    past = _Past(task, failures)
    return [
        *((name, value) for name, value in defaults if name.lower() not in given),
        *own,
        *_family("X-AppEngine", task, past.answered, past.app_engine()),
        *_family("X-CloudTasks", task, past.answered_below_500, past.cloud_tasks()),
    ]


def signed_headers(
    keyring: Keyring,
    task: Leased,
    *,
    request: StoredRequest | None = None,
    path: str,
    query: str = "",
    now_s: float,
    wait_s: float | None = None,
) -> list[tuple[str, str]]:
    """The three headers that make it our delivery: the task, the time, and the signature over all of it.

    `path` is decoded, as the application sees it; `query` raw, without the question mark; `now_s` in seconds since the
    epoch; `wait_s` is for how long the sender waits, None: to the end. `request` is what is sent in place of a call.
    """
    time = str(int(now_s))
    if request is None:
        request, document = StoredRequest("POST", task.payload), wire.pack_task(task, wait_s)
    else:
        plain = task._replace(options=None) if is_request(task.payload) else task  # its headers are the request's own
        document = wire.pack_task(plain, wait_s, as_request=True)
    signature = wire.sign(keyring, wire.Signed(request.method, path, query, time, document, request.body))
    return [(wire.TASK, document), (wire.TIME, time), (wire.SIGNATURE, signature)]


def _family(prefix: str, task: Leased, answered: int, previous: tuple[str, str] | None) -> list[tuple[str, str]]:
    headers = [
        (f"{prefix}-QueueName", task.queue),
        (f"{prefix}-TaskName", task.name or str(task.id)),
        (f"{prefix}-TaskRetryCount", str(max(0, task.starts - 1))),
        (f"{prefix}-TaskExecutionCount", str(answered)),
        (f"{prefix}-TaskETA", f"{task.eta // US}.{task.eta % US:06}"),
    ]
    if previous is not None:
        response, reason = previous
        headers += [(f"{prefix}-TaskPreviousResponse", response), (f"{prefix}-TaskRetryReason", reason)]
    return headers


class _Past:
    """How the earlier attempts of a task were answered."""

    def __init__(self, task: Leased, failures: Sequence[Failure]) -> None:
        spent = [one for one in failures if one.kind != "parked" and 0 < one.attempt <= task.attempts]
        # By number, and the last of each: a task that was requeued counts from 1 again, and keeps what it had.
        statuses = {one.attempt: _status(one) for one in spent}
        unanswered = sum(status is None for status in statuses.values()) if statuses else task.crashes
        self.answered = max(0, task.attempts - unanswered)
        self.answered_below_500 = sum(status is not None and status < 500 for status in statuses.values())
        self._known = task.attempts in statuses
        self._last = statuses.get(task.attempts)

    def app_engine(self) -> tuple[str, str] | None:
        """The previous response, and the reason of the retry."""
        if not self._known:
            return None
        return ("0", "Instance Unavailable") if self._last is None else (str(self._last), "App Error")

    def cloud_tasks(self) -> tuple[str, str] | None:
        if not self._known:
            return None
        return "504" if self._last is None else str(self._last), ""


def _status(failure: Failure) -> int | None:
    """What a delivery of this attempt was answered with, or would have been; None: nothing."""
    if failure.kind in _UNANSWERED:
        return None
    said = _STATUS.match(failure.message) if failure.error_type in (ANSWERED, "") else None
    if said is not None:
        return int(said[1])
    return 408 if failure.kind == "retried" else 500
