"""The event loop beside the threads of a pool: it runs the tasks that are coroutines.

One thread, one loop, started with the first coroutine. Everything marked "in the loop" runs there; the other methods
are for the threads of the pool and for the dispatcher.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from contextvars import Context
from threading import Thread  # by its name: tasks patch modules
from typing import Any, NamedTuple

from deferq.codec.codec import Invocation
from deferq.current import CurrentTask
from deferq.model.outcome import INTERRUPTED, Cancelled, ErrorText, Failed, Outcome
from deferq.model.task import Leased
from deferq.runtime.executor import Awaiting, Executor, outcome_of, timed_out
from deferq.runtime.pools import Finished, Permit, Waiting, end_if_forked, remove, take_back

#: A coroutine is cancelled at its timeout by the loop; if it has not ended so much later, it never will.
GRACE_S = 1.0
#: A coroutine of the task, or one beside it, has closed the loop or its descriptors.
LOOP_LOST = Failed(
    error=ErrorText(error_type="EventLoopLost", message="The event loop ended while this task ran: a task broke it."),
)
_loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


class _Running(NamedTuple):
    task: Leased
    current: CurrentTask
    started: float


class Coroutines:
    """Up to `slots` coroutines at a time; the others wait in order."""

    def __init__(
        self,
        executor: Executor,
        *,
        slots: int,
        report: Callable[[Finished], None],
        room_made: Callable[[], None],
        monotonic: Callable[[], float],
        on_start: Callable[[Leased], None] | None,
    ) -> None:
        self._executor = executor
        self._slots = slots
        self._report = report
        self._room_made = room_made
        self._pid = os.getpid()
        self._monotonic = monotonic
        self._on_start = on_start
        self._waiting: deque[Waiting] = deque()
        self._running: dict[asyncio.Task[Outcome], _Running] = {}
        self._given_up: set[asyncio.Task[Outcome]] = set()
        self._filling = False
        self._starting = threading.Lock()
        #: What the loop is to call; kept here, since a loop that a task breaks forgets what it was told.
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._closed = False
        #: Loops that tasks broke. They are kept: to be collected they would close descriptors that are others' by now.
        self.lost: list[asyncio.AbstractEventLoop] = []

        #: What the descriptors of the loop are, as far as asyncio shows them.
        self._wires: object = None

    def begin(self) -> None:
        """Start the loop now, and not with the first coroutine."""
        self._in_loop(self._fill)

    def look_at_loop(self) -> None:
        """Take another loop if a thread has closed the descriptors of this one: it would sleep for ever."""
        loop = self._loop
        if loop is not None and _wires_of(loop) != self._wires:
            self._lose(loop)

    def take(self, task: Leased, lease: Permit, invocation: Invocation) -> None:
        """Start a coroutine function as soon as a slot is free."""
        self._waiting.append((task, lease, invocation))
        if not self._filling:  # one wake-up of the loop for many tasks
            self._filling = True
            self._in_loop(self._fill)

    def go_on(self, awaiting: Awaiting, task: Leased, current: CurrentTask, started: float) -> None:
        """Finish what a plain function began in a thread; it has started, so it takes no slot."""
        coroutine = self._executor.finish(awaiting.awaitable, current)
        self._in_loop(self._spawn, coroutine, awaiting.context, _Running(task, current, started))

    def unstarted(self) -> int:
        return len(self._waiting)

    def running(self) -> int:
        return len(self._running)

    def given_up(self) -> int:
        return len(self._given_up)

    def withdraw(self, leased_before: float) -> list[Leased]:
        """Take back what waits and was leased before that monotonic time."""
        return take_back(self._waiting, leased_before)

    def cancel(self, ids: Collection[int]) -> None:
        """Cancel those of these tasks that run, and do not start the others."""
        if self._running or self._waiting:
            self._in_loop(self._cancel, ids)

    def let_go(self, unwanted: Callable[[Waiting], bool]) -> None:
        """Report as interrupted what waits and is unwanted."""
        if self._waiting:
            self._in_loop(self._let_go, unwanted)

    def overdue(self, now: float) -> list[Finished]:
        """Give up on coroutines that ignore their cancellation, or whose loop is blocked."""
        late = []
        for handle, running in self._running.copy().items():
            ends_at = running.current.ends_at
            if ends_at is None or now < ends_at + GRACE_S:
                continue
            self._given_up.add(handle)
            if self._running.pop(handle, None) is None:  # it has ended just now
                self._given_up.discard(handle)
            else:
                late.append(Finished(running.task, timed_out(), int((now - running.started) * 1e6)))
        return late

    def next_overdue(self) -> float | None:
        """Monotonic time at which the next of them would be given up."""
        ends = [
            at + GRACE_S for running in self._running.copy().values() if (at := running.current.ends_at) is not None
        ]
        return min(ends, default=None)

    def close(self, timeout_s: float) -> None:
        """Cancel what runs and end the loop."""
        self._closed = True
        if self._loop is not None and self._thread is not None:
            with suppress(RuntimeError):  # it may have ended already
                self._loop.call_soon_threadsafe(self._loop.stop)
            with suppress(RuntimeError):  # another thread may be about to start it: then it ends at once
                self._thread.join(timeout_s)

    # ---- in the loop

    def _fill(self) -> None:
        self._filling = False
        waited = len(self._waiting)
        with suppress(IndexError):  # withdraw() takes from the same deque
            while len(self._running) < self._slots and not self._closed:
                self._begin(*self._waiting.popleft())
        if len(self._waiting) < waited:
            self._room_made()  # what waited here was counted against the free threads

    def _begin(self, task: Leased, lease: Permit, invocation: Invocation | None) -> None:
        assert invocation is not None
        started = self._monotonic()
        if not lease.begin(started):
            self._report(Finished(task, INTERRUPTED))
            return
        try:
            if self._on_start is not None:
                self._on_start(task)
            current = self._executor.current(task)
            self._spawn(self._executor.run_async(invocation, current), Context(), _Running(task, current, started))
        except BaseException as error:  # whatever goes wrong here, the task must not be lost
            self._report(Finished(task, outcome_of(error)))

    def _spawn(self, coroutine: Coroutine[Any, Any, Outcome], context: Context, running: _Running) -> None:
        assert self._loop is not None
        handle = asyncio.Task(coroutine, loop=self._loop, context=context)  # not by the task factory of a task
        self._running[handle] = running
        handle.add_done_callback(self._ended)

    def _ended(self, handle: asyncio.Task[Outcome]) -> None:
        end_if_forked(self._pid)
        running = self._running.pop(handle, None)
        if running is None:
            self._given_up.discard(handle)
        else:
            duration_us = int((self._monotonic() - running.started) * 1e6)
            self._report(Finished(running.task, _outcome(handle, running), duration_us))
        self._fill()

    def _let_go(self, unwanted: Callable[[Waiting], bool]) -> None:
        for task in remove(self._waiting, unwanted):
            self._report(Finished(task, INTERRUPTED))

    def _cancel(self, ids: Collection[int]) -> None:
        for task in remove(self._waiting, lambda entry: entry[0].id in ids):
            self._report(Finished(task, Cancelled()))
        for handle, running in self._running.copy().items():  # overdue() takes from the same dict
            if running.task.id in ids:
                running.current.cancel()
                handle.cancel()

    # ---- the loop itself

    def _in_loop(self, callback: Callable[..., object], *args: object) -> None:
        self._calls.append((callback, args))
        self.look_at_loop()
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._wires = _wires_of(self._loop)
                self._thread = Thread(target=self._serve, args=(self._loop,), name="deferq-loop", daemon=True)
                self._thread.start()
            loop = self._loop
        with suppress(RuntimeError):  # it was closed just now; the next one makes the call
            loop.call_soon_threadsafe(self._make_calls)

    def _make_calls(self) -> None:
        while self._calls:
            try:
                callback, args = self._calls.popleft()
            except IndexError:  # the next loop was quicker
                return
            callback(*args)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        _loops.add(loop)
        while not self._closed:
            works = _run(loop)
            end_if_forked(self._pid)
            if not works:
                self._lose(loop)
                return
        for handle in asyncio.all_tasks(loop):
            handle.cancel()
        with suppress(BaseException):
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def _lose(self, loop: asyncio.AbstractEventLoop) -> None:
        """A task broke the loop. What ran there has failed; what waits goes to another loop."""
        with self._starting:
            if self._loop is not loop:
                return  # somebody else has noticed
            self._loop = None
            self.lost.append(loop)
        running, self._running = self._running, {}
        self._given_up.clear()
        for one in running.values():
            self._report(Finished(one.task, LOOP_LOST, int((self._monotonic() - one.started) * 1e6)))
        self._filling = False
        if not self._closed:
            self._in_loop(self._fill)


def _run(loop: asyncio.AbstractEventLoop) -> bool:
    """Run the loop until something ends it; whether it can go on."""
    try:
        loop.run_forever()
    except Exception:  # it cannot wait any more
        return False
    except BaseException:  # asyncio lets a SystemExit of any stray user task end the loop
        pass
    return not loop.is_closed()


def _wires_of(loop: asyncio.AbstractEventLoop) -> object:
    """Which files the descriptors of asyncio's own loops stand for; a number alone may be somebody else's by now."""
    try:
        return [os.fstat(getattr(loop, name).fileno())[:3] for name in ("_selector", "_ssock", "_csock")]
    except AttributeError:  # another kind of loop
        return None
    except (OSError, ValueError):
        return "closed"


def _stop_in_copy() -> None:
    """A task has forked, and this is the copy: nothing of the others must happen here too. See `end_if_forked`."""
    for loop in list(_loops):
        loop.stop()
        getattr(loop, "_ready", deque()).clear()


os.register_at_fork(after_in_child=_stop_in_copy)


def _outcome(handle: asyncio.Task[Outcome], running: _Running) -> Outcome:
    """What the attempt came to. One that is cancelled before its first step has not started, whoever cancelled it."""
    try:
        return handle.result()
    except asyncio.CancelledError:
        return Cancelled() if running.current.cancelled else INTERRUPTED
    except BaseException as error:
        return outcome_of(error)
