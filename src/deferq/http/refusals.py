"""Answers to what is not run: constant, small, and one line in the log for each.

Neither the answer nor the line shows anything of the request, nor what went wrong inside: whoever probes learns nothing
but the status, and nobody writes into our log.
"""

from __future__ import annotations

import logging
from typing import Final

from deferq.codec.wire import HELD, OUTCOME, SETTLED
from deferq.http.message import Response

logger = logging.getLogger("deferq.http")

#: Seconds after which it makes sense to come again.
RETRY_AFTER_S: Final = 5
_JSON: Final = ("Content-Type", "application/json")
_RETRY_AFTER: Final = ("Retry-After", str(RETRY_AFTER_S))
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
    return answer(status, _WORDS[status], *_MORE.get(status, ()))


def without_body(response: Response) -> Response:
    """The answer to HEAD."""
    return response._replace(body=b"")


def already_settled() -> Response:
    """The answer to a delivery of a task that has ended: there is nothing left to do."""
    logger.info("a delivery came again: its task has ended (HTTP 200)")
    return answer(200, "already settled", (OUTCOME, SETTLED))
