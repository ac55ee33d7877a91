"""The event loop in which an ASGI application lives: its server's, or one of our own where it has no server."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from deferq.errors import ConfigError
from deferq.http.callasgi import AsgiApp, Message
from deferq.http.message import DELIVERY_KEY
from deferq.locks import ProcessLock

T = TypeVar("T")
State = dict[str, Any]
_log = logging.getLogger("deferq")
#: Seconds that an application has to come to its end.
SHUTDOWN_S = 5.0


class ServerLoop:
    """Where the server of an application runs it, as far as it has been seen."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid: int | None = None
        self.state: State | None = None

    def seen(self, state: State | None = None) -> None:
        """Call it where the server calls the application. `state` is what the lifespan left for requests."""
        self._loop, self._pid = asyncio.get_running_loop(), os.getpid()
        if state is not None:
            self.state = state

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop, if there is a server in this process and it runs."""
        loop = self._loop if self._pid == os.getpid() else None
        return loop if loop is not None and loop.is_running() else None


class Loops:
    """Runs what an application is asked in its loop."""

    def __init__(self, app: AsgiApp, server: ServerLoop | None = None) -> None:
        self._app = app
        self._server = server or ServerLoop()
        self._own: OwnLoop | None = None
        self._starting = ProcessLock()

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]], *, served_only: bool = False) -> T | None:
        """What the coroutine returns; None: there is no loop that runs, and nothing was begun. Raises what it raises.

        `served_only`: the application has a server, or will have one, and is not to be started beside it. Cancelling
        the wait cancels the coroutine. It sees the context of whoever waits.
        """
        loop = self._server.loop
        if loop is None and not served_only:
            loop = await self._own_loop()
        if loop is None:
            return None
        inner = make()
        outer = _guarded(inner)
        try:
            future = asyncio.run_coroutine_threadsafe(outer, loop)
        except RuntimeError:  # it was closed just now
            outer.close()
            inner.close()
            return None
        returned, error = await asyncio.wrap_future(future)
        if error is not None:
            raise error
        return returned

    def state(self) -> State | None:
        """A copy of what the lifespan left for requests; None: it left nothing."""
        if self._server.loop is not None:
            state = self._server.state
        else:
            state = None if self._own is None else self._own.state
        return None if state is None else dict(state)

    async def _own_loop(self) -> asyncio.AbstractEventLoop:
        own = self._own
        if own is None or own.pid != os.getpid():
            own = await asyncio.to_thread(self.start)
        return own.loop

    def start(self) -> OwnLoop:
        """The loop of our own, with the application started in it. Raises ConfigError if that fails."""
        with self._starting:
            if self._own is None or self._own.pid != os.getpid():
                own = OwnLoop(self._app)
                own.start()
                self._own = own
            return self._own

    def stop(self) -> None:
        """Let the application come to its end, if it was started here."""
        own, self._own = self._own, None
        if own is not None and own.pid == os.getpid():
            own.stop()


async def _guarded(coroutine: Coroutine[Any, Any, T]) -> tuple[T | None, BaseException | None]:
    """What it returns, and what it raises: SystemExit of a view would end the loop, and the server with it."""
    try:
        return await coroutine, None
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return None, error


class OwnLoop:
    """An event loop in a thread, in which an application is started and stopped as by a server."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.state: State = {}
        self._life: asyncio.Task[None] | None = None
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._thread = threading.Thread(target=self._run, name="deferq-asgi", daemon=True)

    def start(self) -> None:
        """Raises ConfigError if the application says that it cannot start."""
        self._thread.start()
        failed = asyncio.run_coroutine_threadsafe(self._startup(), self.loop).result()
        if failed is not None:
            self._end()
            raise ConfigError(f"The application did not start: {failed or 'it does not say why'}.")

    def stop(self) -> None:
        """Wait for the application to end, but not for ever."""
        try:
            asyncio.run_coroutine_threadsafe(self._shutdown(), self.loop).result(SHUTDOWN_S)
        except Exception:
            _log.exception("the application did not come to its end")
        self._end()

    # ---- in the loop

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _startup(self) -> str | None:
        """What the application says against starting; None: nothing, or it has no lifespan."""
        scope: dict[str, Any] = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        scope[DELIVERY_KEY] = None
        self._life = self.loop.create_task(self._live(scope))
        await self._messages.put({"type": "lifespan.startup"})
        said = await self._said.get()
        return said.get("message", "") if said["type"] == "lifespan.startup.failed" else None

    async def _live(self, scope: dict[str, Any]) -> None:
        try:
            await self._app(scope, self._messages.get, self._said.put)
        except Exception as error:  # as a server takes it: the application knows no lifespan
            _log.debug("the application has no lifespan: %s", type(error).__name__)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # SystemExit would end the loop, and whoever waits for it would wait for ever
            why = f"{type(error).__name__}: {error}"
            await self._said.put({"type": "lifespan.startup.failed", "message": why})
        finally:
            await self._said.put({"type": "ended"})

    async def _shutdown(self) -> None:
        if self._life is not None and not self._life.done():
            await self._messages.put({"type": "lifespan.shutdown"})
            await asyncio.wait([self._life], timeout=SHUTDOWN_S)

    def _end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(SHUTDOWN_S)
        if not self._thread.is_alive():
            self.loop.close()
