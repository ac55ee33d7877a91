"""Requests in one thread with an event loop, by aiohttp."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from deferq.codec.requests import METHODS_WITH_BODY
from deferq.codec.wire import OUTCOME
from deferq.http.push.addresses import Guard
from deferq.http.push.bases import Base
from deferq.http.push.exchange import (
    CONNECT_S,
    DROPPED,
    HEADER_BYTES_MAX,
    KEEP_ALIVE_S,
    Answer,
    Broken,
    NotSent,
    Report,
    Request,
    Result,
    Take,
    body_limit,
)
from deferq.http.push.plain import in_words

#: aiohttp would add them.
_NO_HEADERS = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


class LoopClient:
    """A Client whose requests are coroutines of one loop. As many coroutines as there may be requests take turns."""

    def __init__(
        self, base: Base, guard: Guard, take: Take, report: Report, *, most: int, context: ssl.SSLContext | None
    ) -> None:
        self._base = base
        self._origin = base.origin
        self._guard = guard
        self._take = take
        self._report = report
        self._most = most
        self._context = context
        self._lanes: list[asyncio.Task[None]] = []
        #: Lanes without a request; each waits for its own future.
        self._idle: deque[asyncio.Future[None]] = deque()
        #: The lane of each request under way.
        self._carried: dict[Request, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="deferq-push", daemon=True)
        self._thread.start()

    # ---- see Client

    def wake(self, count: int) -> None:
        self._call(lambda: self._rouse(count))

    def drop(self, request: Request) -> None:
        self._call(lambda: self._drop(request))

    def close(self, timeout_s: float) -> None:
        self._call(self._loop.stop)
        self._thread.join(timeout_s)

    def _call(self, function: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed, and everything with it
            self._loop.call_soon_threadsafe(function)

    # ---- in the loop

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._end())
            self._loop.close()

    async def _end(self) -> None:
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _rouse(self, count: int) -> None:
        for _ in range(count):
            if self._idle:
                future = self._idle.popleft()
                if not future.done():
                    future.set_result(None)
            elif len(self._lanes) < self._most:
                self._lanes.append(self._loop.create_task(self._work()))
            else:
                return

    def _drop(self, request: Request) -> None:
        lane = self._carried.pop(request, None)
        if lane is not None:
            lane.cancel()

    async def _work(self) -> None:
        lane = asyncio.current_task()
        assert lane is not None
        while True:
            request = self._take()
            if request is None:
                future = self._loop.create_future()
                self._idle.append(future)
                await future
                continue
            self._carried[request] = lane
            result = await self._exchange(request)
            if self._carried.pop(request, None) is None:  # dropped
                lane.uncancel()
            self._report(request, result)

    async def _exchange(self, request: Request) -> Result:
        try:
            return await self._ask(request)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return NotSent(_in_words(error))
        except asyncio.CancelledError:
            if request in self._carried:
                raise
            return DROPPED
        except Exception as error:  # whatever it is, this coroutine goes on, and the task is not lost
            return Broken(_in_words(error))

    async def _ask(self, request: Request) -> Answer:
        session = self._session or self._open()
        url = URL(self._origin + request.path, encoded=True)
        data = request.body if request.body or request.method in METHODS_WITH_BODY else None
        async with session.request(
            request.method, url, data=data, headers=request.headers, allow_redirects=False
        ) as response:
            headers = [(name, value) for name, value in response.headers.items()]
            return Answer(response.status, headers, await _beginning(response))

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,
            resolver=_Resolver(self._guard),
            use_dns_cache=False,
            keepalive_timeout=KEEP_ALIVE_S,
            ssl=self._context if self._context is not None else True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NO_HEADERS,
            auto_decompress=False,
            trust_env=False,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )
        return self._session


class _Resolver(AbstractResolver):
    """Gives aiohttp the addresses that the guard lets pass, and no others."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await _in_thread(self._guard.addresses)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=number, proto=0, flags=socket.AI_NUMERICHOST)
            for number, address in addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """As much of the body as anybody reads; the connection of one that is longer is closed."""
    content = response.content
    body = await content.readany()
    if content.at_eof():
        return body
    limit, pieces, size = body_limit(response.headers.get(OUTCOME)), [body], len(body)
    while not content.at_eof() and size < limit:
        pieces.append(await content.readany())
        size += len(pieces[-1])
    if not content.at_eof():
        response.close()
    return b"".join(pieces)[:limit]


async def _in_thread(function: Callable[[], Any]) -> Any:
    """In a daemon thread: a resolver that hangs must not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def work() -> None:
        result, error = None, None
        try:
            result = function()
        except (OSError, ValueError) as raised:
            error = raised if isinstance(raised, OSError) else OSError(str(raised))
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="deferq-resolver", daemon=True).start()
    return await future


def _in_words(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return in_words(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return in_words(error.os_error)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    return in_words(error)
