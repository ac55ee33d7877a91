"""An ASGI application with a worker beside it, and with the handler under `/_deferq/`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from deferq.http.message import ANSWER_KEY, DELIVERY_KEY, Answer, Request, Response, path_of_scope
from deferq.http.paths import OUR_PATHS, RUN_PATH
from deferq.http.wsgi import not_found

if TYPE_CHECKING:
    from deferq.http.handler import Handler
    from deferq.http.loops import ServerLoop
    from deferq.runtime.embedded import EmbeddedWorker

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: Who had to wait so long for the answer may have left, and is looked for.
LOOK_FROM_S: Final = 1.0
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class WrappedAsgi:
    """Passes everything on as it is. The worker starts and stops with the server, or starts at the first request.

    What comes to `/_deferq/` is not passed on: the handler takes deliveries there. Where a view takes one, its outcome
    is written on the response.
    """

    def __init__(
        self,
        app: AsgiApp,
        embedded: Callable[[], EmbeddedWorker | None],
        handler: Callable[[], Handler],
        server: ServerLoop,
    ) -> None:
        self.app = app
        self._embedded = embedded
        self._handler = handler
        self.server = server
        #: The Deferq that has wrapped it; None: whichever is the default one.
        self.owner: object = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Where our own worker calls, it is there, and this need not be the loop of a server.
        worker = None if DELIVERY_KEY in scope else self._worker_beside(scope)
        if worker is not None:
            if scope["type"] == "lifespan":
                await _in_thread(worker.start)
                await self._live(worker, scope, receive, send)
                return
            if worker.worker is None:
                await _in_thread(worker.ensure_started)
        if scope["type"] == "websocket" and "path" in scope and path_of_scope(scope).startswith(OUR_PATHS):
            await _close_websocket(receive, send)
        elif scope["type"] != "http":
            await self.app(scope, receive, send)
        elif (path := path_of_scope(scope)).startswith(OUR_PATHS):
            await self._serve(path, scope, receive, send)
        else:
            await self.app(scope, receive, _saying_outcome(scope, send) if _is_delivery(scope) else send)

    def _worker_beside(self, scope: Scope) -> EmbeddedWorker | None:
        self.server.seen(scope.get("state"))
        return self._embedded()

    async def _serve(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        voice = _Voice(receive, send)
        if path != RUN_PATH:
            await voice.say(not_found(scope["method"]))
            return
        handler = self._handler()
        request = Request.from_asgi(scope, b"")
        length = await handler.expects_async(request)
        if isinstance(length, Response):
            await voice.say(length)
            return
        body = await _read(receive, length)
        if body is not None:
            request.body = body
            await handler.run_async(request, voice.say)

    async def _live(self, worker: EmbeddedWorker, scope: Scope, receive: Receive, send: Send) -> None:
        """The life of the server. An application may know nothing of it; the worker stops all the same."""
        told = False

        async def receive_and_stop() -> Message:
            nonlocal told
            told = True
            return await _receive_and_stop(worker, receive)

        try:
            await self.app(scope, receive_and_stop, send)
        except Exception:
            if told:
                raise
            await _live_alone(worker, receive, send)


async def _receive_and_stop(worker: EmbeddedWorker, receive: Receive) -> Message:
    """The server's next word. Its farewell is passed on once the worker has stopped."""
    message = await receive()
    if message["type"] == "lifespan.shutdown":
        await _in_thread(worker.stop)
    return message


async def _live_alone(worker: EmbeddedWorker, receive: Receive, send: Send) -> None:
    """Answer the server in place of an application that refused the lifespan scope."""
    while True:
        message = await _receive_and_stop(worker, receive)
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _close_websocket(receive: Receive, send: Send) -> None:
    """Nothing under our path reaches the application. The server answers 403 to one that was never accepted."""
    from deferq.http.refusals import refuse

    refuse(403, "a delivery is no websocket")
    await receive()
    await send({"type": "websocket.close", "code": 1008})


async def _read(receive: Receive, length: int) -> bytes | None:
    """The body, as far as it is no longer than it should be and a little; None: the client has left."""
    pieces: list[bytes] = []
    while length >= 0:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b""))
        length -= len(pieces[-1])
        if not message.get("more_body", False):
            break
    return b"".join(pieces)


class _Voice:
    """Says responses to a client, who may have left."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._began = time.monotonic()

    async def say(self, response: Response) -> bool:
        """Whether the client is there to hear it, as far as the server knows."""
        if time.monotonic() > self._began + LOOK_FROM_S and await self._has_left():
            return False
        headers = [(name.lower().encode(), value.encode()) for name, value in response.headers]
        try:
            await self._send({"type": "http.response.start", "status": response.status, "headers": headers})
            await self._send({"type": "http.response.body", "body": response.body})
        except Exception:  # each server has its own error for it
            return False
        return True

    async def _has_left(self) -> bool:
        """Some servers drop what is said to a client that is gone, and tell only whoever asks."""
        import asyncio

        noticed = asyncio.ensure_future(self._receive())
        await asyncio.wait({noticed}, timeout=0)
        if noticed.done() and not noticed.cancelled() and noticed.exception() is None:
            return bool(noticed.result()["type"] == "http.disconnect")
        noticed.cancel()
        return False


def _is_delivery(scope: Scope) -> bool:
    return any(name.lower() == b"x-deferq-task" for name, _ in scope.get("headers", ()))


def _saying_outcome(scope: Scope, send: Send) -> Send:
    """`send`, which writes what the handler says on the response, whatever the view answers."""
    answer = scope[ANSWER_KEY] = Answer()

    async def send_with_outcome(message: Message) -> None:
        if message["type"] == "http.response.start" and answer.header is not None:
            ours, value = (text.encode() for text in answer.header)
            headers = [header for header in message.get("headers", ()) if header[0].lower() != ours.lower()]
            message = {**message, "headers": [*headers, (ours.lower(), value)]}
        await send(message)

    return send_with_outcome


async def _in_thread(function: Callable[[], None]) -> None:
    """Opening the store may wait for another process, and stopping for a task; the event loop must not."""
    import asyncio

    await asyncio.to_thread(function)
