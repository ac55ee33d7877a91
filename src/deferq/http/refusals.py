"""Answers to what is not run: constant, small, and one line in the log for each.

Neither the answer nor the line shows anything of the request, nor what went wrong inside: whoever probes learns nothing
but the status, and nobody writes into our log.
"""

from __future__ import annotations

import logging
from typing import Final

from deferq.codec.wire import HELD, OUTCOME, REFUSED, SETTLED
from deferq.http.message import ANSWER_KEY, Answer, Request, Response

logger = logging.getLogger("deferq.http")

#: Seconds after which it makes sense to come again.
RETRY_AFTER_S: Final = 5
_JSON: Final = ("Content-Type", "application/json")
_RETRY_AFTER: Final = ("Retry-After", str(RETRY_AFTER_S))
#: What is said to the sender, whatever a view of the application answers.
_FOR_THE_SENDER: Final = (OUTCOME, HELD, REFUSED)
_WORDS: Final = {
    400: "malformed",
    403: "refused",
    404: "not found",
    405: "method not allowed",
    409: "held elsewhere",
    411: "length required",
    413: "too large",
    503: "unavailable",
}
_MORE: Final[dict[int, list[tuple[str, str]]]] = {
    405: [("Allow", "POST")],
    409: [_RETRY_AFTER, (HELD, "1")],
    503: [_RETRY_AFTER],
}


def answer(status: int, word: str, *more: tuple[str, str]) -> Response:
    """A response with a small body that says one word."""
    return answer_with(status, b'{"deferq": "%b"}\n' % word.encode(), *more)


def answer_with(status: int, body: bytes, *more: tuple[str, str]) -> Response:
    """A response with this JSON as its body."""
    return Response(status, [_JSON, ("Content-Length", str(len(body))), *more], body)


def refuse(status: int, why: str, *, level: int = logging.WARNING) -> Response:
    """Nothing is run: the answer, and the line. `why` is one of our own texts."""
    logger.log(level, "a delivery was refused: %s (HTTP %d)", why, status)
    return _said(status)


def complain(status: int, what: str) -> Response:
    """The same where something was run: whoever pushed it must not give the task back."""
    logger.warning("%s (HTTP %d)", what, status)
    return answer(status, _WORDS[status], _RETRY_AFTER, (HELD, "1"))


def _said(status: int) -> Response:
    return answer(status, _WORDS[status], *_MORE.get(status, ()), *_refused(status))


def _refused(status: int) -> list[tuple[str, str]]:
    return [] if status == 409 else [(REFUSED, str(status))]


def without_body(response: Response) -> Response:
    """The answer to HEAD."""
    return response._replace(body=b"")


def already_settled() -> Response:
    """The answer to a delivery of a task that has ended: there is nothing left to do."""
    logger.info("a delivery came again: its task has ended (HTTP 200)")
    return answer(200, "already settled", (OUTCOME, SETTLED))


def left(request: Request, response: Response) -> Response:
    """`response`; what it says to the sender is left where the wrapper, or the worker of this process, finds it."""
    if isinstance(place := request.environ.get(ANSWER_KEY), Answer):
        place.header = next((header for header in response.headers if header[0] in _FOR_THE_SENDER), None)
    if (local := request.local) is not None and local.outcome is None:
        local.refused = response.status
    return response
