"""Runs one attempt of one task and says what it came to. It writes nothing anywhere: somebody else stores the outcome.

The steps, in order: `prepare` refuses what is expired, cancelled or unreadable and decodes the rest; `call` runs the
function in a context of its own; what it returns is sealed, what it raises becomes an outcome. A coroutine takes the
same steps on an event loop (`run_async`). Where there is a deliverer, a task with an url is not called but delivered,
and that is what is called then. The worker, the HTTP handler and the inline test mode all run tasks here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import replace
from typing import Any, NamedTuple

from deferq.codec.codec import Codec, Invocation
from deferq.codec.context import restore
from deferq.codec.requests import is_request
from deferq.current import CURRENT, CurrentTask, before_attempt
from deferq.engines.base import LeasingEngine
from deferq.errors import (
    CodecNotAllowed,
    InvalidOption,
    PayloadCorrupt,
    PayloadSignatureError,
    PermanentTaskFailure,
    RetryTask,
    Snooze,
    TargetNotAllowed,
    TargetUnknown,
    UnknownKey,
    UnsupportedEnvelope,
)
from deferq.model.outcome import SUCCEEDED, Cancelled, ErrorText, Failed, Outcome, Parked, Retried, Snoozed, Succeeded
from deferq.model.task import Leased, decode_options
from deferq.runtime.delivery import NOT_DELIVERED, NOT_PULLED, Delivered, Deliverer, Delivery
from deferq.runtime.errortext import cut, describe
from deferq.transactions.settling import Settler

#: No release will ever run these: the task dies and is kept.
_UNREADABLE = (PayloadCorrupt, PayloadSignatureError, CodecNotAllowed)
#: Another release, or another worker, may know what to do: the task is parked.
_NOT_HERE = (TargetUnknown, TargetNotAllowed, UnknownKey, UnsupportedEnvelope)
_AFTER_S_MAX = 10 * 366 * 86_400
_REASON_BYTES_MAX = 200


class Awaiting(NamedTuple):
    """A plain function returned an awaitable: the attempt goes on where an event loop runs, in the same context."""

    awaitable: Awaitable[Any]
    context: Context


class Executor:
    """Turns a leased task into an outcome. It never raises what user code raised."""

    __slots__ = ("_codec", "_deliverer", "_monotonic", "_now", "_settler")

    def __init__(
        self,
        codec: Codec,
        *,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        monotonic: Callable[[], float] = time.monotonic,
        deliverer: Deliverer | None = None,
        engine: LeasingEngine | None = None,
    ) -> None:
        """`deliverer` gets the tasks with an url; None: they are called like all others.

        `engine` is where the tasks are, for those that settle themselves; None: they cannot.
        """
        self._codec = codec
        self._settler = None if engine is None else Settler(engine, codec)
        self._deliverer = deliverer
        self._now = now
        self._monotonic = monotonic

    def run(self, task: Leased) -> Outcome:
        """One whole attempt in this thread; a coroutine gets an event loop of its own."""
        invocation = self.prepare(task)
        if not isinstance(invocation, Invocation):
            return invocation
        current = self.current(task)
        if invocation.is_async:
            return Context().run(asyncio.run, self.run_async(invocation, current))
        outcome = self.call(invocation, current)
        if isinstance(outcome, Awaiting):
            return outcome.context.run(asyncio.run, self.finish(outcome.awaitable, current))
        return outcome

    # ---- the steps

    def prepare(self, task: Leased) -> Invocation | Failed | Cancelled | Parked:
        """What to call; or, if it is not to be called at all, the outcome."""
        if task.cancel_requested:
            return Cancelled()
        if task.expires_at is not None and task.expires_at <= self._now():
            return Cancelled(reason="expired")
        return self._decode(task)

    def current(self, task: Leased) -> CurrentTask:
        """What the task will see of itself. Its timeout counts from here."""
        timeout_s = None if task.options is None else decode_options(task.options).timeout_s
        ends_at = None if timeout_s is None else self._monotonic() + timeout_s
        return CurrentTask(task, ends_at, self._monotonic, self._settler)

    def call(self, invocation: Invocation, current: CurrentTask) -> Outcome | Awaiting:
        """Run a plain function in a fresh context that holds what the task carried, and the current task."""
        outcome = self._outcome(invocation, current)
        if current.settled is None or isinstance(outcome, Awaiting):
            return outcome
        return self.settled(outcome, current)

    def _outcome(self, invocation: Invocation, current: CurrentTask) -> Outcome | Awaiting:
        context = Context()
        try:
            for prepare in before_attempt:
                prepare()
            value = context.run(self._call, invocation, current)
            awaitable = value is not None and hasattr(type(value), "__await__")
        except BaseException as error:  # SystemExit and KeyboardInterrupt of a task end the attempt, not the worker
            return self._raised(error)
        if value is None:
            return SUCCEEDED
        if awaitable:
            return Awaiting(value if invocation.keeps_result else _awaited(value), context)
        return self._seal(value, current) if invocation.keeps_result else SUCCEEDED

    async def run_async(self, invocation: Invocation, current: CurrentTask) -> Outcome:
        """Run a coroutine function. The asyncio task that awaits this must have a context of its own."""
        try:
            awaitable = self._call(invocation, current)
        except BaseException as error:
            return self._raised(error)
        return await self.finish(awaitable if invocation.keeps_result else _awaited(awaitable), current)

    async def finish(self, awaitable: Awaitable[Any], current: CurrentTask) -> Outcome:
        """Await what a call returned, within the timeout, in the context the call was made in."""
        outcome = await self._awaited_outcome(awaitable, current)
        return self.settled(outcome, current)

    def settled(self, outcome: Outcome, current: CurrentTask) -> Outcome:
        """If the task has settled itself, and that was committed, it counts, and not how the function ended."""
        if self._settler is None or current.settled is None:
            return outcome
        if self._settler.stands(current.settled, outcome):
            return SUCCEEDED
        current.settled = None
        return outcome

    async def _awaited_outcome(self, awaitable: Awaitable[Any], current: CurrentTask) -> Outcome:
        timeout = asyncio.timeout(current.seconds_left)
        try:
            async with timeout:
                value = await awaitable
        except BaseException as error:
            if timeout.expired() and isinstance(error, TimeoutError):
                return timed_out(error)
            if current.cancelled and isinstance(error, asyncio.CancelledError):
                return Cancelled()
            return self._raised(error)
        return SUCCEEDED if value is None else self._seal(value, current)

    # ---- inside the steps

    def _call(self, invocation: Invocation, current: CurrentTask) -> Any:
        CURRENT.set(current)
        if invocation.context:
            restore(self._codec.carried, invocation.context)
        return invocation.fn(*invocation.args, **invocation.kwargs)

    def _raised(self, error: BaseException) -> Outcome:
        return outcome_of(error)

    def _decode(self, task: Leased) -> Invocation | Failed | Cancelled | Parked:
        try:
            decode_options(task.options)
            if task.url is not None and self._deliverer is not None:
                return self._delivery(task, self._deliverer)
            return self._codec.decode(task)
        except _UNREADABLE as error:
            if isinstance(error, CodecNotAllowed) and is_request(task.payload):  # asked here: calls need not pay for it
                return NOT_PULLED if task.url is None else NOT_DELIVERED
            return Failed(error=_refusal(error), permanent=True, reason="corrupt")
        except _NOT_HERE as error:
            return Parked(error=_refusal(error))
        except BaseException as error:  # decoding imports and builds user code: it may raise anything
            return Failed(error=describe(error, __file__))

    def _delivery(self, task: Leased, deliverer: Deliverer) -> Invocation:
        """The call that delivers it. What was forged does not travel under our signature."""
        self._codec.verify(task)
        if deliverer.is_async:
            return Invocation(_deliver_async, (deliverer, task), {}, {}, True)
        return Invocation(_deliver, (deliverer, task), {}, {}, False)

    def _seal(self, value: object, current: CurrentTask) -> Outcome:
        if isinstance(value, Delivered):
            return value.outcome
        try:
            return Succeeded(self._codec.seal_result(current.id, current.target, value))
        except BaseException as error:
            # The work is done; to repeat it would repeat its effects and end in the same result.
            return Failed(error=describe(error, __file__), permanent=True, reason="result cannot be stored")


async def _awaited(awaitable: Awaitable[Any]) -> None:
    """Await it, and keep nothing of what it returns."""
    await awaitable


def _deliver(deliverer: Any, task: Leased) -> Delivered:
    return Delivered(deliverer.deliver(Delivery(task, CURRENT.get())))


async def _deliver_async(deliverer: Any, task: Leased) -> Delivered:
    return Delivered(await deliverer.deliver(Delivery(task, CURRENT.get())))


def outcome_of(error: BaseException) -> Outcome:
    """What an exception that left a task means. Never raises."""
    try:
        return _meaning(error)
    except BaseException:  # it denies its class, say
        return Failed(error=describe(error, __file__))


def _meaning(error: BaseException) -> Outcome:
    match error:
        case PermanentTaskFailure():
            return Failed(error=describe(error, __file__), permanent=True, reason="permanent")
        case RetryTask() | Snooze():
            return _asked_again(error)
        case _:
            return Failed(error=describe(error, __file__))


def timed_out(error: BaseException | None = None) -> Failed:
    """The outcome of an attempt that ran longer than its timeout."""
    text = describe(error or TimeoutError(), __file__)
    return Failed(error=replace(text, message="the attempt ran longer than its timeout"), reason="timed out")


def _asked_again(error: RetryTask | Snooze) -> Outcome:
    """Retried or Snoozed; Failed where it does not say when."""
    try:
        after_s, reason = error.after_s, cut(str(error.reason), _REASON_BYTES_MAX)
    except BaseException as trouble:  # a subclass with an odd constructor, a reason with an odd __str__
        return Failed(error=describe(trouble, __file__))
    if isinstance(error, RetryTask) and after_s is None:
        return Retried(reason=reason)
    if (seconds := _seconds(after_s)) is None:
        odd = InvalidOption(
            f"{type(error).__name__}: after must be a number of seconds up to ten years.", field="after"
        )
        return Failed(error=describe(odd.with_traceback(error.__traceback__), __file__))
    kind = Retried if isinstance(error, RetryTask) else Snoozed
    return kind(after_s=seconds, reason=reason)


def _refusal(error: BaseException) -> ErrorText:
    """An error of our own: its message says all, unless user code that was being imported is to blame."""
    text = describe(error, __file__)
    ours = error.__cause__ is None or isinstance(error.__cause__, ModuleNotFoundError | AttributeError)
    return replace(text, traceback="") if ours else text


def _seconds(value: object) -> float | None:
    """A sensible number of seconds; None: it is none."""
    if not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except BaseException:  # an integer of a thousand digits, a subclass with ideas of its own
        return None
    return seconds if -_AFTER_S_MAX <= seconds <= _AFTER_S_MAX else None
