"""An ASGI application with a worker beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deferq.runtime.embedded import EmbeddedWorker

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class WrappedAsgi:
    """Passes everything on as it is. The server's start, or the first request, starts the process's worker."""

    def __init__(self, app: AsgiApp, embedded: Callable[[], EmbeddedWorker | None]) -> None:
        self.app = app
        self._embedded = embedded

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        worker = self._embedded()
        if worker is not None and worker.worker is None:
            import asyncio

            # Opening the store may wait for another process; the event loop must not.
            await asyncio.to_thread(worker.ensure_started)
        await self.app(scope, receive, send)
