"""One attempt of one task in the caller's own thread.

The steps are those of a worker: the real executor decodes, calls and seals, the real `decide` says what comes next.
What differs is the place. The caller's thread is where the test's database transaction is open, where its patches hold
and where a debugger stops. Only a caller whose thread runs an event loop has to wait for another thread: a loop cannot
run inside a loop, and plain functions that run in a worker find none around them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar

from deferq.app import Deferq
from deferq.codec.codec import Invocation
from deferq.engines.base import Settlement
from deferq.model.events import Event, EventName
from deferq.model.outcome import Failed, Outcome, Parked
from deferq.model.state import State
from deferq.model.task import Leased
from deferq.model.transitions import US
from deferq.runtime.executor import Awaiting, Executor, outcome_of, timed_out
from deferq.runtime.listeners import Listeners
from deferq.runtime.logs import LogListener
from deferq.runtime.settling import ANNOUNCED, event_of, settle
from deferq.testing.clock import FakeClock
from deferq.testing.ran import Ran

T = TypeVar("T")

#: What each rule of a task's life is called in a test; the others are called as they are.
_WORDS = {"permanent": "dead", "attempts spent": "dead", "corrupt": "dead"}
#: Where exceptions are defined that are meant for whoever runs the tests, and not for the task they come through.
_FOR_THE_TESTER = {"_pytest.outcomes", "bdb", "unittest.case"}


class _Noting(Executor):
    """Keeps what the task raised, as it is."""

    __slots__ = ("raised",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.raised: BaseException | None = None

    def _raised(self, error: BaseException) -> Outcome:
        self.raised = error
        return super()._raised(error)


class Attempt:
    """One attempt at a task that was leased from the store of `app`."""

    def __init__(self, app: Deferq, clock: FakeClock, task: Leased) -> None:
        self._app = app
        self._task = task
        self._clock = clock
        self._began = (time.monotonic(), clock())
        # Where the application is wrapped, a task with an url is delivered to it; else its function is called.
        self._executor = _Noting(
            app.codec, now=clock, monotonic=self._monotonic, deliverer=app.deliverer(), engine=app.engine
        )
        self._listeners = Listeners((LogListener(), *app.listeners))

    def run(self) -> Ran:
        """The whole attempt, here and now. Raises what is meant for the tester: Ctrl-C, `pytest.fail`."""
        began = time.monotonic()
        outcome = _outside_of_loops(self._outcome) if _in_loop() else self._outcome()
        return self._ended(outcome, began)

    async def run_in_loop(self) -> Ran:
        """The same, with a coroutine function in the loop that runs already, and a plain one in a thread."""
        began = time.monotonic()
        invocation = self._begin()
        if isinstance(invocation, Invocation) and invocation.is_async:
            current = self._executor.current(self._task)
            running = asyncio.get_running_loop().create_task(
                self._executor.run_async(invocation, current), context=Context()
            )
            return self._ended(await running, began)
        return self._ended(await asyncio.to_thread(self._go_on, invocation), began)

    # ---- the steps

    def _outcome(self) -> Outcome:
        return self._go_on(self._begin())

    def _begin(self) -> Invocation | Outcome:
        self._announce(EventName.TASK_STARTED)
        return self._executor.prepare(self._task)

    def _go_on(self, invocation: Invocation | Outcome) -> Outcome:
        if not isinstance(invocation, Invocation):
            return invocation
        current = self._executor.current(self._task)
        if invocation.is_async:
            return _in_loop_of_its_own(Context(), lambda: self._executor.run_async(invocation, current))
        outcome = self._executor.call(invocation, current)
        if isinstance(outcome, Awaiting):
            awaited = outcome
            return _in_loop_of_its_own(awaited.context, lambda: self._executor.finish(awaited.awaitable, current))
        late = current.ends_at is not None and self._monotonic() > current.ends_at
        return timed_out() if late else outcome  # a worker would not have waited for it

    def _ended(self, outcome: Outcome, began: float) -> Ran:
        """Store what came of it."""
        now = self._clock()
        settlement = settle(self._task, outcome, int((time.monotonic() - began) * US), now, 0.0)
        self._app.engine.turn([settlement], None)
        self._announce_end(settlement, now)
        raised = self._executor.raised
        if raised is not None and _is_for_the_tester(raised):
            raise raised
        return self._told(settlement, outcome, now)

    # ---- inside

    def _monotonic(self) -> float:
        """What has passed for real, or by the test's clock if that is more: a task may move it beyond its timeout."""
        real, faked = self._began
        return max(time.monotonic(), real + (self._clock() - faked) / US)

    def _told(self, settlement: Settlement, outcome: Outcome, now: int) -> Ran:
        transition, task = settlement.transition, self._task
        again = transition.state is State.PENDING
        return Ran(
            id=task.id,
            target=task.target,
            queue=task.queue,
            attempt=task.attempt,
            outcome=_WORDS.get(transition.rule, transition.rule),
            state=transition.state,
            reason=_reason(transition.reason, outcome, self._executor.raised),
            result=self._app.open_result(task.id, task.target, settlement.result),
            error=self._executor.raised,
            again_in_s=max(0.0, (transition.eta - now) / US) if again else None,
        )

    def _announce(self, name: EventName) -> None:
        task = self._task
        self._listeners.announce(Event(name, self._clock(), task.id, task.target, task.queue, task.attempt))

    def _announce_end(self, settlement: Settlement, now: int) -> None:
        name = ANNOUNCED.get(settlement.transition.rule)
        if name is not None:
            self._listeners.announce(event_of(settlement, name, now))


def _reason(reason: str | None, outcome: Outcome, raised: BaseException | None) -> str:
    """Why, in words; with deferq's own error where the task raised none."""
    if raised is None and isinstance(outcome, Failed | Parked):
        return f"{reason}: {outcome.error.error_type}: {outcome.error.message}"
    return reason or ""


def _is_for_the_tester(error: BaseException) -> bool:
    """Whether to pass it on at once: Ctrl-C, the end of a debugger, `pytest.fail`, `skipTest`."""
    if isinstance(error, KeyboardInterrupt):
        return True
    return not _FOR_THE_TESTER.isdisjoint(kind.__module__ for kind in type(error).__mro__)


def _in_loop() -> bool:
    """Whether this thread runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_loop_of_its_own(context: Context, begin: Callable[[], Any]) -> Outcome:
    """Run a coroutine to its end. A loop of its own factory leaves the thread's default loop as it is."""

    def run() -> Outcome:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            outcome: Outcome = runner.run(begin())
            return outcome

    try:
        return context.run(run)
    except Exception as error:  # what it left behind broke the loop as it was closed
        return outcome_of(error)


def _outside_of_loops(fn: Callable[[], T]) -> T:
    """Call `fn` in a thread of its own, and wait for it."""
    answers: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            answers.append(fn())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, name="deferq-testing")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]
