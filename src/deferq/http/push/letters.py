"""From a task to its request, and from the answer to what became of the task."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from deferq.codec import wire
from deferq.codec.headers import CONTENT_TYPE, USER_AGENT, delivery_headers, signed_headers
from deferq.codec.requests import StoredRequest, request_in
from deferq.codec.signing import Keyring
from deferq.codec.wire import OUTCOME, RUN_PATH, unpack_answer
from deferq.errors import CodecNotAllowed, InvalidOption, PayloadCorrupt, UnknownKey, UnsupportedEnvelope
from deferq.http.answers import HELD, Held, outcome_of_answer, refused_with
from deferq.http.push.bases import Base
from deferq.http.push.exchange import Answer, Request
from deferq.model.outcome import SUCCEEDED, ErrorText, Failed, Interrupted, Outcome, Parked
from deferq.model.task import Failure, Leased, decode_options
from deferq.model.urls import URL_BYTES_MAX, check_url

#: A handler that ends a task at its timeout has so many seconds to say so.
GRACE_S = 5.0
#: The handler takes over somewhat before we stop waiting, so that somebody always has the task in hand.
MARGIN_S = 1.0
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[ -~]*")
#: The statuses by which a base asks for less.
_BUSY = (429, 503)
#: Those by which a proxy says that it does not know what the application has done.
_UNKNOWN = (502, 504)
#: A process with other keys, or a newer release, may know better.
_NOT_HERE = (UnknownKey, UnsupportedEnvelope, CodecNotAllowed)
_OUTCOME, _HELD = OUTCOME.lower(), wire.HELD.lower()
_PLAIN = [("User-Agent", USER_AGENT), ("Content-Type", CONTENT_TYPE)]


class Reading(NamedTuple):
    """What an answer says."""

    #: HELD: somebody else has the lease, or has settled. None: nobody knows whether it ran.
    outcome: Outcome | Held | None
    #: What is wrong with the base; empty: nothing.
    trouble: str = ""
    #: When it wants to be asked again, in seconds.
    after_s: float | None = None


#: What a handler says of a task that returned None.
_SAYS_SUCCEEDED, _SUCCEEDED = wire.pack_header(SUCCEEDED), Reading(SUCCEEDED)


class Letters:
    """Writes the requests to one base and reads the answers."""

    def __init__(
        self,
        base: Base,
        keyring: Keyring,
        *,
        verify: Callable[[Leased], None],
        deadline_s: float,
        now_s: Callable[[], float],
        failures: Callable[[Leased], Sequence[Failure]] = lambda task: (),
    ) -> None:
        """`verify` raises PayloadError for what was forged: it must not travel under our signature to any path.

        `failures` gives the failed attempts of a task, for views that want to know how the last one ended.
        """
        self._base = base
        self._keyring = keyring
        self._verify = verify
        self._deadline_s = deadline_s
        self._now_s = now_s
        self._failures = failures

    def write(self, task: Leased, now: float, wait_s: float | None = None) -> Request | Outcome:
        """The request that delivers `task`; or its outcome, if what is stored cannot be delivered.

        `wait_s` is how long its answer is waited for; None: as long as may be.
        """
        try:
            return self._written(task, now, self._wait_s(task) if wait_s is None else wait_s)
        except _NOT_HERE as error:
            return Parked(error=_text(error))
        except Exception as error:  # whatever is stored there, the task must not be lost
            return Failed(error=_text(error), permanent=True, reason="corrupt")

    def renew(self, request: Request, now: float) -> None:
        """It is sent once more: signed anew, since a signature gets old, and waited for no longer than before."""
        written = self.write(request.task, now, max(0.0, request.let_go_at - MARGIN_S - now))
        if isinstance(written, Request):
            request.headers, request.sent_at = written.headers, now

    def _written(self, task: Leased, now: float, wait_s: float) -> Request:
        if task.url is not None:
            self._verify(task)
        request = None if task.url is None else request_in(task.payload)
        url = RUN_PATH if task.url is None else check_url(task.url)  # what is stored may be damaged
        path, _, query = url.partition("?")
        now_s = self._now_s()
        headers = [
            *(_PLAIN if task.url is None else self._headers_of_delivery(task, request)),
            *signed_headers(
                self._keyring, task, request=request, path=unquote(path), query=query, now_s=now_s, wait_s=wait_s
            ),
        ]
        method, body = request or ("POST", task.payload)
        return Request(
            task,
            self._base.path + url,
            headers,
            let_go_at=now + wait_s + MARGIN_S,
            sent_at=now,
            method=method,
            body=body,
        )

    def _wait_s(self, task: Leased) -> float:
        """How long to wait for the answer: the deadline of deliveries, or the task's own timeout if that is shorter."""
        own = decode_options(task.options).timeout_s
        return self._deadline_s if own is None else min(own + GRACE_S, self._deadline_s)

    def _headers_of_delivery(self, task: Leased, request: StoredRequest | None) -> list[tuple[str, str]]:
        headers = delivery_headers(task, self._failures(task) if task.attempts else (), request=request)
        for name, value in headers:
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                raise InvalidOption("headers: a name or value cannot travel as a header.", field="headers")
        return headers

    def read(self, request: Request, answer: Answer) -> Reading:
        """What the answer means for the task, and for the base."""
        status, headers, body = answer
        known = {name.lower(): value for name, value in headers}
        if known.get(_OUTCOME) == _SAYS_SUCCEEDED:  # as most do
            return _SUCCEEDED
        if _OUTCOME in known:
            with suppress(PayloadCorrupt):  # then the status says it
                return Reading(unpack_answer(known[_OUTCOME], body) or HELD)
        if _HELD in known:  # with 503: it has run, and the handler could not store what came of it
            return Reading(HELD)
        refused = refused_with(known)
        own_url = request.task.url is not None and refused is None
        status = status if refused is None else refused
        path = request.path.partition("?")[0]
        outcome = outcome_of_answer(status, headers, own_url=own_url, body=body, path=path, now_s=self._now_s())
        if isinstance(outcome, Held):
            return Reading(outcome)
        if 300 <= status < 400 and isinstance(outcome, Failed):
            outcome = replace(outcome, error=_pointing(outcome.error, headers))
        if own_url:
            busy = status in _BUSY
            return Reading(outcome, f"it answers {status}" if busy else "", _after_s(outcome) if busy else None)
        return self._of_nobody(outcome, status)

    def _of_nobody(self, outcome: Outcome, status: int) -> Reading:
        """Our handler did not speak. The base rests; whether the task has run, some answers leave open."""
        after_s = _after_s(outcome) if status in _BUSY else None
        if isinstance(outcome, Interrupted):
            if status in _UNKNOWN:
                return Reading(None, outcome.reason)
            return Reading(replace(outcome, after_s=0.0), outcome.reason, after_s)
        error = getattr(outcome, "error", None)
        return Reading(outcome, error.message if isinstance(error, ErrorText) else f"it answers {status}")


def _pointing(error: ErrorText, headers: list[tuple[str, str]]) -> ErrorText:
    """Where it was to be sent: the host, since paths and queries may tell more than a log should know."""
    location = next((value for name, value in headers if name.lower() == "location"), "")
    with suppress(ValueError):
        host = urlsplit(location[:URL_BYTES_MAX]).hostname
        if host and host.isprintable():
            return replace(error, message=f"{error.message}; this one points to {host[:100]}")
    return error


def _text(error: Exception) -> ErrorText:
    return ErrorText(error_type=type(error).__name__, message=f"It cannot be pushed: {error}")


def _after_s(outcome: Outcome) -> float | None:
    return getattr(outcome, "after_s", None)
