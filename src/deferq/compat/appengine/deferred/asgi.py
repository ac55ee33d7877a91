"""The same for ASGI, which App Engine's library does not know.

A signed delivery runs as our own handler runs it: a plain function in a thread, a coroutine in the loop of the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from deferq.compat.appengine.deferred.answers import Answer, answer
from deferq.compat.appengine.wrapping import TOLD_KEY
from deferq.default import default
from deferq.http.message import OUTCOME_KEY, Request, path_of_scope
from deferq.model.outcome import Failed, Outcome, Retried, Snoozed, Succeeded

if TYPE_CHECKING:
    from deferq.compat.appengine.deferred.handler import Handler

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_SIGNED: Final = b"x-deferq-task"


async def post(handler: Handler, scope: Scope, body: bytes) -> Answer:
    """What `handler.post_async` does."""
    if not any(name.lower() == _SIGNED for name, _ in scope["headers"]):
        return await asyncio.to_thread(handler.post, _on_app_engine(environ_of(scope, body)))
    response = await default().handler().handle_async(Request.from_asgi(scope, body))
    if response.status == HTTPStatus.FORBIDDEN:
        return handler.refusal(environ_of(scope, body))
    status = HTTPStatus(response.status)
    return answer(status, _word(scope.get(OUTCOME_KEY)) or status.phrase)


def _on_app_engine(environ: dict[str, Any]) -> dict[str, Any]:
    """There the server sees the front end alone, which says whom it asks for."""
    if "HTTP_X_APPENGINE_USER_IP" in environ:
        environ[TOLD_KEY] = environ["HTTP_X_APPENGINE_USER_IP"]
    return environ


def _word(outcome: Outcome | None) -> str:
    """As App Engine's library says it; empty: it has no word for that."""
    match outcome:
        case Succeeded():
            return "Success"
        case Retried() | Snoozed():
            return "SingularTaskFailure"
        case Failed(permanent=True):
            return "PermanentTaskFailure"
        case _:
            return ""


async def serve(handler: Handler, scope: Scope, receive: Receive, send: Send) -> None:
    """The handler as an application."""
    if scope["method"] != "POST":
        text, status, headers = answer(HTTPStatus.METHOD_NOT_ALLOWED, "", ("Allow", "POST"))
    else:
        body = await _read(receive, default().settings["payload_limit"])
        if body is None:
            return
        text, status, headers = await handler.post_async(scope, body)
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status.value, "headers": raw})
    await send({"type": "http.response.body", "body": text.encode()})


async def _read(receive: Receive, most: int) -> bytes | None:
    """The body, or one byte more than there may be; None: the client has left."""
    pieces, left = [], most + 1
    while left > 0:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b"")[:left])
        left -= len(pieces[-1])
        if not message.get("more_body", False):
            break
    return b"".join(pieces)


def environ_of(scope: Scope, body: bytes) -> dict[str, Any]:
    """What a WSGI server would have made of the request. The server has read the body to its end."""
    client = scope.get("client") or ("", 0)
    environ = {
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": path_of_scope(scope),
        "REMOTE_ADDR": client[0],
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
    }
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").upper().replace("-", "_")
        name = name if name in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{name}"
        environ[name] = value.decode("latin-1")
    return environ
