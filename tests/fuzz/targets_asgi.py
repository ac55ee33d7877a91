"""Any bytes as an ASGI scope and its messages: a refusal, unless it is signed; nothing runs, unless it is sealed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from deferq.http.asgi import WrappedAsgi
from deferq.http.loops import ServerLoop
from deferq.http.message import Request, path_of_scope
from tests.fuzz.checks import HANDLER, OWN_STATUS, Watched
from tests.fuzz.drawn import Drawn, draw, requests

seeds_asgi = requests
_LOOP = asyncio.new_event_loop()


class ClientGone(OSError):
    """What a server raises where nobody hears any more."""


def fuzz_asgi(data: bytes) -> None:
    """Raises AssertionError if a promise is broken, and whatever comes through the adapter."""
    drawn = draw(data)
    watched, scope = Watched(drawn), _scope(drawn)
    messages, said = _messages(drawn), []

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        if drawn.wishes.get(b"out") == b"raise":
            raise ClientGone
        said.append(message)

    try:
        _LOOP.run_until_complete(_WRAPPED(scope, receive, send))
    except ClientGone:  # the application's own response could not be sent: that is between it and the server
        assert scope["type"] != "http" or not path_of_scope(scope).startswith("/_deferq/")

    watched.check_quiet()
    if said:
        start, *rest = said
        assert [start["type"], *(message["type"] for message in rest)] == ["http.response.start", "http.response.body"]
        headers = [(name.decode("ascii"), value.decode("ascii")) for name, value in start["headers"]]
        assert all(name == name.lower() for name, _ in headers)
        watched.check(start["status"], headers, rest[0]["body"], scope)


async def _application(scope: Any, receive: Any, send: Any) -> None:
    """Has a view that takes deliveries."""
    if scope["type"] == "http" and scope["path"] == "/view":
        response = await HANDLER.handle_async(Request.from_asgi(scope, (await receive()).get("body", b"")))
        status, body = response.status, response.body
        headers = [(name.lower().encode(), value.encode()) for name, value in response.headers]
    else:
        status, headers, body = OWN_STATUS, [], b""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


_WRAPPED = WrappedAsgi(_application, lambda: None, lambda: HANDLER, ServerLoop())


def _scope(drawn: Drawn) -> dict[str, Any]:
    """As servers make it: the path is decoded, and names of headers are in lower case, or should be."""
    scope: dict[str, Any] = {"type": drawn.wishes.get(b"type", b"http").decode("latin-1")}
    scope |= {"method": drawn.method, "path": drawn.path, "query_string": drawn.query.encode("latin-1")}
    scope["headers"] = drawn.headers
    if root := drawn.wishes.get(b"root", b"").decode("latin-1"):
        scope |= {"root_path": root, "path": root + drawn.path}
    if b"nothing" in drawn.wishes:
        scope = {key: scope[key] for key in scope if key in ("type", "method", "path") or scope[key]}
    return scope


def _messages(drawn: Drawn) -> Iterator[dict[str, Any]]:
    """The body, whole or in pieces; it may break off."""
    wish = drawn.wishes.get(b"in", b"")
    if wish == b"raise":
        return
    if wish == b"short":
        for at in range(0, len(drawn.body), 3):
            yield {"type": "http.request", "body": drawn.body[at : at + 3], "more_body": True}
        yield {"type": "http.request"}
    else:
        yield {"type": "http.request", "body": drawn.body}
