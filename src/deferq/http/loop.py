"""The handler in an event loop: what may wait goes to threads, and a coroutine runs in the loop itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from deferq.codec.codec import Invocation
from deferq.codec.wire import Delivered
from deferq.http.attempt import Attempt
from deferq.http.message import Request, Response
from deferq.http.refusals import left, refuse
from deferq.http.threads import LoopThreads
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, Cancelled, Outcome
from deferq.runtime.executor import Awaiting, outcome_of
from deferq.runtime.settling import WORKER_STOPPED

if TYPE_CHECKING:
    from deferq.http.handler import Handler

#: Says a response to the client; whether it may have been heard.
Say = Callable[[Response], Awaitable[bool]]
#: Bodies up to this are verified in the loop: to go to a thread and back takes as long.
QUICK_BYTES: Final = 64 * 1024
#: So many deliveries at a time, coroutines that run and functions that wait for a thread; more are put off.
UNDER_WAY_MAX: Final = 200


class InLoop:
    """Runs deliveries that come to coroutines, for one handler."""

    def __init__(self, handler: Handler, threads: int) -> None:
        self._handler = handler
        self._threads = LoopThreads(threads)
        #: Whether a delivery was looked at before: the first one may have to wait until the store is open, and nothing
        #: in the loop is to wait with it.
        self._opened = False
        #: The loop itself would let go of them.
        self._under_way: set[asyncio.Task[Response]] = set()

    async def handle(self, request: Request, *, in_body: bool = False, say: Say | None = None) -> Response:
        """See `Handler.handle_async`.

        A server may cancel the request of a client that has left. The attempt goes on then, and is settled here; but
        within this process the client is the worker, and knows what it does.
        """
        if len(self._under_way) >= UNDER_WAY_MAX:
            return await _said(say, left(request, refuse(503, "too many are under way")))
        delivered = await self._admitted(request)
        if isinstance(delivered, Response):
            return await _said(say, left(request, delivered))
        run = _Run(self._handler, self._threads, request, delivered, in_body)
        try:
            response = left(request, await asyncio.shield(self._spawn(run.go())))
            if say is not None and not await say(response):
                run.desert()
        except asyncio.CancelledError:
            run.desert()
            raise
        return response

    async def expects(self, request: Request) -> int | Response:
        """See `Handler.expects`."""
        if self._opened:
            return self._handler.expects(request)
        length = await self._threads.call(lambda: self._handler.expects(request))
        self._opened = True
        return length

    def close(self) -> None:
        """Let the threads end that have nothing to do."""
        self._opened = False
        self._threads.close()

    async def _admitted(self, request: Request) -> Delivered | Response:
        if self._opened and isinstance(request.body, bytes) and len(request.body) <= QUICK_BYTES:
            return self._handler.admit(request)
        delivered = await self._threads.call(lambda: self._handler.admit(request))
        self._opened = True
        return delivered

    def _spawn(self, coroutine: Coroutine[Any, Any, Response]) -> asyncio.Task[Response]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task


async def _said(say: Say | None, refusal: Response) -> Response:
    if say is not None:
        await say(refusal)
    return refusal


class _Run:
    """One delivery, from its admission to the response."""

    def __init__(
        self, handler: Handler, threads: LoopThreads, request: Request, delivered: Delivered, in_body: bool
    ) -> None:
        self._handler = handler
        self._threads = threads
        self._request = request
        self._delivered = delivered
        self._in_body = in_body
        self._attempt: Attempt | None = None
        self._deserted = False
        #: Whether the loop has ended before there was anything to await in it.
        self._without_loop = False
        self._to_await: list[Invocation | Awaiting] = []

    async def go(self) -> Response:
        try:
            done = await self._threads.call(self._begin)
        except asyncio.CancelledError:
            self._without_loop = True
            self._give_back()
            raise
        if isinstance(done, Response):
            return done
        outcome = await self._await(done)
        if outcome is SUCCEEDED and not self._deserted:
            return self._conclude(outcome)
        return await self._threads.call(lambda: self._conclude(outcome))  # it may have to be stored

    def desert(self) -> None:
        """The client has left. What has ended and was told to nobody is settled, and what runs will be."""
        self._deserted = True
        if (attempt := self._attempt) is None:
            return
        if self._request.local is not None:
            attempt.cancel()
        elif (outcome := attempt.desert()) is not None:
            self._handler.keeper.settle_later(attempt, outcome)

    # ---- in a thread

    def _begin(self) -> Response | Invocation | Awaiting:
        """All of it for a plain function; for a coroutine function, what is to be awaited."""
        attempt = self._handler.begin(self._request, self._delivered)
        if isinstance(attempt, Response):
            return attempt
        self._attempt = attempt
        if self._deserted:  # just now
            self.desert()
            if self._request.local is not None:  # the worker has said already how it ended, and it may run elsewhere
                return self._conclude(INTERRUPTED)
        try:
            done: Invocation | Awaiting | Outcome = self._handler.prepare(attempt)
            if isinstance(done, Invocation) and not done.is_async:
                done = self._handler.call(attempt, done)
        except BaseException:
            self._handler.keeper.end(attempt)
            raise
        if not isinstance(done, Invocation | Awaiting):
            return self._conclude(done)
        self._to_await.append(done)
        if self._without_loop:
            self._give_back()
        return done

    def _give_back(self) -> None:
        """Nobody will await it, and as long as its lease is kept it cannot run anywhere else. Either side may ask."""
        if self._request.local is not None:
            return  # its worker settles
        with suppress(IndexError):
            done, attempt = self._to_await.pop(), self._attempt
            assert attempt is not None
            outcome = INTERRUPTED if isinstance(done, Invocation) else WORKER_STOPPED
            self._handler.keeper.settle_later(attempt, outcome)

    def _conclude(self, outcome: Outcome) -> Response:
        assert self._attempt is not None
        return self._handler.conclude(self._request, self._attempt, outcome, in_body=self._in_body)

    # ---- in the loop

    async def _await(self, what: Invocation | Awaiting) -> Outcome:
        """In a task and a context of its own, so that it can be cancelled and nothing else is."""
        attempt, executor = self._attempt, self._handler.executor
        assert attempt is not None
        assert attempt.current is not None
        if isinstance(what, Awaiting):
            coroutine, context = executor.finish(what.awaitable, attempt.current), what.context
        else:
            coroutine, context = executor.run_async(what, attempt.current), Context()
        loop = asyncio.get_running_loop()
        task = loop.create_task(coroutine, context=context)
        attempt.stop = lambda: loop.call_soon_threadsafe(task.cancel)
        if attempt.current.cancelled:  # before there was anything to stop
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:  # before its first step
            return Cancelled() if attempt.current.cancelled else INTERRUPTED
        except BaseException as error:
            return outcome_of(error)
