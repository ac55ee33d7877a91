"""The handler: runs one attempt of a task that was delivered by a request, and answers what it came to.

The steps, in order: the request is admitted, or refused (`admission.py`); the lease is taken up in the store, so that
of many deliveries of it one begins; the attempt runs; the outcome goes back to the sender, who settles. What the sender
will not hear, or cannot carry, is settled here (`keeper.py`). A delivery within the process does neither: there the
lease is in the hands of the same process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextvars import Context
from typing import Final, NamedTuple

from deferq.codec import wire
from deferq.codec.codec import Codec, Invocation
from deferq.codec.wire import IN_BODY, OUTCOME, SETTLED, Delivered, pack_body, pack_fitting
from deferq.engines.answers import TakeUp
from deferq.engines.base import LeasingEngine
from deferq.errors import ConfigError, StoreError
from deferq.http.admission import admit, expects, is_genuine
from deferq.http.attempt import Attempt
from deferq.http.keeper import Keeper
from deferq.http.loop import InLoop, Say
from deferq.http.message import OUTCOME_KEY, Request, Response
from deferq.http.refusals import already_settled, answer, answer_with, complain, left, refuse
from deferq.model.outcome import Cancelled, Failed, Interrupted, Outcome, Parked, Retried, Snoozed, Succeeded
from deferq.model.transitions import US
from deferq.runtime.executor import Awaiting, Executor, outcome_of, timed_out
from deferq.runtime.guarded import LEFT_FROM, left_to_others
from deferq.runtime.listeners import Listeners
from deferq.runtime.pools import end_if_forked
from deferq.runtime.settling import settle

#: What each outcome is called in the body, for people.
_WORDS: Final[dict[type[Outcome], str]] = {
    Succeeded: "succeeded",
    Failed: "failed",
    Retried: "retried",
    Snoozed: "snoozed",
    Cancelled: "cancelled",
    Parked: "parked",
    Interrupted: "interrupted",
}


class Parts(NamedTuple):
    """What a handler works with. Each request asks for them anew: an application may have been closed and reopened."""

    engine: LeasingEngine
    codec: Codec


class Handler:
    """Takes deliveries. Safe from any thread, and after a fork; making one opens nothing."""

    def __init__(
        self,
        parts: Callable[[], Parts],
        listeners: Callable[[], Listeners],
        *,
        threads: int = 8,
        now_s: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`parts` may raise StoreError or ConfigError: then nothing is run. `listeners` hear of what is settled here.

        `threads` is how many plain functions run at a time where the server has an event loop; else it has threads.
        """
        self._parts = parts
        self._now_s = now_s
        self._monotonic = monotonic
        self._executor: tuple[Codec, Executor] | None = None
        self._in_loop = InLoop(self, threads)
        self.keeper = Keeper(lambda: parts().engine, listeners, monotonic=monotonic)

    def handle(self, request: Request) -> Response:
        """Run what `request` delivers, and say what came of it. For a view of the application.

        Never raises what the task raised. The outcome is left in `environ` or `scope` as `deferq.outcome`; where the
        application is wrapped, whatever response leaves it says the outcome, also one of the view's own, or that the
        request was refused.
        """
        return left(request, self._handle(request, in_body=False))

    def run(self, request: Request) -> Response:
        """The same where the response is sent as it is, and so its body may carry what is too large for a header."""
        return self._handle(request, in_body=True)

    def _handle(self, request: Request, *, in_body: bool) -> Response:
        delivered = self.admit(request)
        if isinstance(delivered, Response):
            return delivered
        attempt = self.begin(request, delivered)
        if isinstance(attempt, Response):
            return attempt
        try:
            outcome = self._outcome(attempt)
        except BaseException:  # of the server, which ends this thread
            self.keeper.end(attempt)
            raise
        return self.conclude(request, attempt, outcome, in_body=in_body)

    async def handle_async(self, request: Request) -> Response:
        """`handle` for a view that is a coroutine. A plain function runs in a thread, a coroutine in its loop."""
        return await self._in_loop.handle(request)

    async def expects_async(self, request: Request) -> int | Response:
        """`expects` from a coroutine: a store that is not open yet is opened in a thread."""
        return await self._in_loop.expects(request)

    async def run_async(self, request: Request, say: Say) -> Response:
        """`run` from a coroutine; `say` sends the response, and says whether the client may have heard it."""
        return await self._in_loop.handle(request, in_body=True, say=say)

    def close(self) -> None:
        """Keep no leases any more, and let idle threads end. Attempts that run go on."""
        self.keeper.close()
        self._in_loop.close()

    # ---- the steps

    def expects(self, request: Request) -> int | Response:
        """How many bytes of body are to be read, or a refusal of what shows by the headers alone."""
        try:
            return expects(request, self._parts().engine.payload_limit)
        except (StoreError, ConfigError):
            return refuse(503, "the store cannot be opened")

    def admit(self, request: Request, *, requests: bool = False) -> Delivered | Response:
        """What it brings, or a refusal. `requests`: the body of a task that calls nothing is a call all the same."""
        try:
            engine, codec = self._parts()
            delivered = admit(request, codec.keyring, engine.payload_limit, self._now_s(), requests=requests)
            return delivered if isinstance(delivered, Response) else _as_call(delivered, codec)
        except (StoreError, ConfigError):
            return refuse(503, "the store, or its secret, cannot be opened")

    def is_genuine(self, request: Request) -> bool:
        """Whether deferq has made `request`, for a task that is a request: for views of App Engine's task queue.

        Anybody can send the headers by which App Engine's tasks are known, and nobody can sign. The body is read, and
        can be read again: from `request.body`, and under WSGI from `environ["wsgi.input"]`. Whoever has recorded a
        genuine request can repeat it for five minutes.

        Raises StoreError or ConfigError if the secret cannot be read.
        """
        engine, codec = self._parts()
        return is_genuine(request, codec.keyring, engine.payload_limit, self._now_s())

    def begin(self, request: Request, delivered: Delivered) -> Attempt | Response:
        """Take the lease up, or say why the task is not run."""
        task, began = delivered.task, self._monotonic()
        local = request.local
        attempt = Attempt(task, began, None if local else self._waits_s(request, delivered))
        if local is not None:
            attempt.current = local.current
            return attempt
        try:
            (taken,) = self._parts().engine.take_up([(task.id, task.lease_id)])
        except (StoreError, ConfigError):
            return refuse(503, "the store is out of reach")
        if taken is TakeUp.TAKEN:
            self.keeper.begin(attempt)
            return attempt
        return _not_taken(taken)

    def prepare(self, attempt: Attempt) -> Invocation | Outcome:
        """What to call; or, if it is not to be called at all, the outcome. Nothing that is stored can make it raise."""
        try:
            return self._prepare(attempt)
        except Exception as error:  # a damaged row may hold anything, and the task must not be lost
            return outcome_of(error)

    def _prepare(self, attempt: Attempt) -> Invocation | Outcome:
        if attempt.task.crashes >= LEFT_FROM and attempt.current is None:  # a worker of this process knows better
            return left_to_others(attempt.task)
        executor = self.executor
        invocation = executor.prepare(attempt.task)
        if isinstance(invocation, Invocation) and attempt.current is None:
            attempt.current = executor.current(attempt.task)
        return invocation

    def call(self, attempt: Attempt, invocation: Invocation) -> Outcome | Awaiting:
        """Call a plain function. One that has run past its timeout has failed, as anywhere."""
        assert attempt.current is not None
        outcome = self.executor.call(invocation, attempt.current)
        ends_at = attempt.current.ends_at
        if ends_at is not None and self._monotonic() >= ends_at and not isinstance(outcome, Awaiting):
            return timed_out()
        return outcome

    def conclude(
        self, request: Request, attempt: Attempt, outcome: Outcome, *, in_body: bool = False, heard: bool = True
    ) -> Response:
        """Say the outcome to whom it concerns; or store it, where nobody would hear of it.

        `heard`: whether this response is sent, or the wrapper is there to write the outcome on another one.
        """
        end_if_forked(attempt.pid)  # the task has, and this is the copy: the other one answers
        text = pack_fitting(outcome)
        if (local := request.local) is not None:
            local.outcome = outcome
            return self._say(request, attempt, outcome, text)
        body = pack_body(outcome) if text is None and in_body else None
        unsaid = text is None and (body is None or len(body) > wire.BODY_BYTES_MAX)
        if attempt.end(outcome) or not heard or attempt.is_late(self._monotonic()) or unsaid:
            return self._settle(request, attempt, outcome)
        self.keeper.end(attempt)
        return self._say(request, attempt, outcome, IN_BODY if text is None else text, body)

    # ---- inside the steps

    @property
    def executor(self) -> Executor:
        """Runs the attempts."""
        engine, codec = self._parts()
        if self._executor is None or self._executor[0] is not codec:
            self._executor = (codec, Executor(codec, now=engine.now, monotonic=self._monotonic, engine=engine))
        return self._executor[1]

    def _outcome(self, attempt: Attempt) -> Outcome:
        """One whole attempt in this thread; a coroutine gets an event loop of its own."""
        invocation = self.prepare(attempt)
        if not isinstance(invocation, Invocation):
            return invocation
        assert attempt.current is not None
        if invocation.is_async:
            return Context().run(asyncio.run, self.executor.run_async(invocation, attempt.current))
        outcome = self.call(attempt, invocation)
        if isinstance(outcome, Awaiting):
            return outcome.context.run(asyncio.run, self.executor.finish(outcome.awaitable, attempt.current))
        return outcome

    def _waits_s(self, request: Request, delivered: Delivered) -> float | None:
        """For how long the sender still waits. Its clock may be another: then the earlier end counts."""
        if delivered.wait_s is None:
            return None
        since_s = self._now_s() - int(request.headers["x-deferq-time"])
        return max(0.0, min(delivered.wait_s, delivered.wait_s - since_s))

    def _status(self, attempt: Attempt, outcome: Outcome) -> int:
        match outcome:
            case Succeeded() | Cancelled():
                return 200
            case Snoozed():
                return 408
            case Failed() | Retried():
                if settle(attempt.task, outcome, 0, self._now_us(), 0.0).transition.state.finished:
                    return 200  # it is dead, and will not succeed by coming again
                return 408 if isinstance(outcome, Retried) else 500
            case _:
                return 503

    def _now_us(self) -> int:
        """The engine's time. That it cannot be asked any more must not cost the outcome."""
        try:
            return self._parts().engine.now()
        except (StoreError, ConfigError):
            return int(self._now_s() * US)

    def _settle(self, request: Request, attempt: Attempt, outcome: Outcome) -> Response:
        attempt.ours = True
        try:
            stands = self.keeper.settle(attempt, outcome)
        except (StoreError, ConfigError):
            self.keeper.settle_later(attempt, outcome)
            return complain(503, "a task has run, and its outcome cannot be stored; trying again while its lease holds")
        self.keeper.end(attempt)
        if not stands:
            return complain(409, "a task has run, and its outcome was dropped: another worker holds its lease")
        return self._say(request, attempt, outcome, SETTLED)

    def _say(
        self, request: Request, attempt: Attempt, outcome: Outcome, text: str | None, body: bytes | None = None
    ) -> Response:
        """The response that says the outcome. It is left where the application and the wrapper find it, too."""
        request.environ[OUTCOME_KEY] = outcome
        headers = [] if text is None else [(OUTCOME, text)]
        if body is None:
            return answer(self._status(attempt, outcome), _WORDS[type(outcome)], *headers)
        return answer_with(self._status(attempt, outcome), body, *headers)


def _as_call(delivered: Delivered, codec: Codec) -> Delivered:
    """A bare pickle under our signature is put back into an envelope, and then is a call as any other."""
    if not delivered.as_request:
        return delivered
    task = delivered.task
    payload = codec.seal_triple(task.id, task.target, task.payload, url=task.url)
    return delivered._replace(task=task._replace(payload=payload))


def _not_taken(why: TakeUp) -> Response:
    if why is TakeUp.FINISHED:
        return already_settled()
    if why is TakeUp.TAKEN_BEFORE:
        return refuse(409, "another delivery of the task has begun", level=logging.INFO)
    return refuse(409, "its lease is over, or somebody else's")
