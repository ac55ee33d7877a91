"""An ASGI application with a worker beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from deferq.runtime.delivery import KEY

if TYPE_CHECKING:
    from deferq.http.loops import ServerLoop
    from deferq.runtime.embedded import EmbeddedWorker

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class WrappedAsgi:
    """Passes everything on as it is. The worker starts and stops with the server, or starts at the first request."""

    def __init__(self, app: AsgiApp, embedded: Callable[[], EmbeddedWorker | None], server: ServerLoop) -> None:
        self.app = app
        self._embedded = embedded
        self.server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if KEY in scope:  # our own worker calls: it is there, and this is not the loop of a server
            await self.app(scope, receive, send)
            return
        self.server.seen(scope.get("state"))
        worker = self._embedded()
        if worker is None:
            await self.app(scope, receive, send)
            return
        if scope["type"] == "lifespan":
            await _in_thread(worker.start)
            await self._live(worker, scope, receive, send)
            return
        if worker.worker is None:
            await _in_thread(worker.ensure_started)
        await self.app(scope, receive, send)

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


async def _in_thread(function: Callable[[], None]) -> None:
    """Opening the store may wait for another process, and stopping for a task; the event loop must not."""
    import asyncio

    await asyncio.to_thread(function)
