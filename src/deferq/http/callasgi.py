"""Calling an ASGI application as a server does, and keeping what it answers within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from deferq.http.callwsgi import BODY_BYTES_MAX, Answer, BrokenAnswer

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class _Enough(OSError):
    """Nobody reads the answer any more: what a server raises when its client has gone."""


async def call_asgi(app: AsgiApp, scope: Scope, body: bytes) -> Answer:
    """Call the application. Raises what it raises, and BrokenAnswer."""
    exchange = _Exchange(body)
    try:
        await app(scope, exchange.receive, exchange.send)
    except Exception:
        if not exchange.enough:
            raise
    finally:
        exchange.over.set()
    if exchange.status is None:
        raise BrokenAnswer("The application ended without an answer.")
    return Answer(exchange.status, exchange.headers, bytes(exchange.body))


class _Exchange:
    """The server's side of one request and its answer."""

    def __init__(self, request: bytes) -> None:
        self._request: bytes | None = request
        self.over = asyncio.Event()
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.enough = False

    async def receive(self) -> Message:
        if self._request is not None:
            body, self._request = self._request, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.over.wait()  # whoever listens for the end of the connection may do so until there is an answer
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and self.status is None:
            self.status = int(message["status"])
            self.headers = [_header(*header) for header in message.get("headers", ())]
        elif kind == "http.response.body" and self.status is not None:
            self._write(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise BrokenAnswer(f"The application sent {kind!r} at a time when it may not.")

    def _write(self, piece: bytes, *, more: bool) -> None:
        if self.enough:
            raise _Enough("the connection is closed")
        self.body += piece[: BODY_BYTES_MAX - len(self.body)]
        if len(self.body) >= BODY_BYTES_MAX:
            self.enough = True
        if self.enough or not more:
            self.over.set()


def _header(name: bytes, value: bytes) -> tuple[str, str]:
    return name.decode("latin-1"), value.decode("latin-1")
