"""Calling a WSGI application as a server does (PEP 3333), and keeping what it answers within bounds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NamedTuple

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_log = logging.getLogger("deferq")
#: So much of a body is read; then the application is told that nobody listens any more.
BODY_BYTES_MAX = 64 * 1024


class Answer(NamedTuple):
    """What an application answered."""

    status: int
    headers: list[tuple[str, str]]
    #: Its beginning.
    body: bytes


class BrokenAnswer(RuntimeError):
    """The application did not answer as its interface says."""


def call_wsgi(app: WsgiApp, environ: dict[str, Any]) -> Answer:
    """Call the application. Raises what it raises, and BrokenAnswer."""
    answering = _Answering()
    pieces = app(environ, answering.start_response)
    try:
        for piece in pieces:
            answering.write(piece)
            if answering.enough:
                break
    finally:
        _close(pieces)
    if answering.status is None:
        raise BrokenAnswer("The application answered without calling start_response().")
    return Answer(answering.status, answering.headers, bytes(answering.body))


def _close(pieces: object) -> None:
    """Where a server has sent the answer by then, an error here changes nothing about it."""
    close = getattr(pieces, "close", None)
    if close is None:
        return
    try:
        close()
    except Exception:
        _log.exception("the application raised an error while its answer to a delivery was closed")


class _Answering:
    """The server's side of one answer."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.enough = False
        self._sent = False

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None:
            try:
                if self._sent:  # a client would have the status already
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status is not None:
            raise BrokenAnswer("The application called start_response() a second time without exc_info.")
        self.status = _status(status)
        self.headers = list(headers)
        return self.write

    def write(self, piece: bytes) -> None:
        if self.status is None:
            raise BrokenAnswer("The application wrote a body before it called start_response().")
        if not isinstance(piece, bytes):
            raise BrokenAnswer("The application wrote a body that is not made of bytes.")
        self._sent = self._sent or bool(piece)
        self.body += piece[: BODY_BYTES_MAX - len(self.body)]
        self.enough = self.enough or len(self.body) >= BODY_BYTES_MAX


def _status(text: str) -> int:
    number = text[:3]
    if len(number) == 3 and number.isascii() and number.isdigit() and text[3:4] in ("", " "):
        return int(number)
    raise BrokenAnswer("The application answered with a status that does not begin with three digits.")
