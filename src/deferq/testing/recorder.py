"""Recording mode: what is deferred waits in memory until the test lets it run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from deferq.calls import Call
from deferq.errors import InvalidOption
from deferq.testing import matching
from deferq.testing.clock import FakeClock
from deferq.testing.deferred import DeferredTask
from deferq.testing.modes import ATTEMPTS_MAX, Mode, active, checked_queues
from deferq.testing.ran import Ran, raise_what_died


class DeferredTasks(Mode):
    """What a test has deferred, and what lets it run. Made by `recording()` and `inline()`."""

    def deferred_tasks(self, fn: Callable[..., Any] | Call[Any] | None = None, /) -> list[DeferredTask]:
        """What was deferred since the beginning, or since `clear()`, in that order; `fn`: its tasks only."""
        with self._lock:
            tasks = list(self._deferred)
        if fn is None:
            return tasks
        target = matching.expected(fn, (), {}).target
        return [task for task in tasks if task.target == target]

    # ---- running

    def drain(
        self,
        *,
        limit: int | None = None,
        future: bool = False,
        queues: str | Iterable[str] | None = None,
        raises: bool | None = None,
    ) -> list[Ran]:
        """Run what is due now, and what that defers, until nothing is due. In this thread, one after the other.

        Args:
            limit: at most so many attempts; None: as many as it takes.
            future: move the clock to whatever is due next, again and again, until nothing is pending. Otherwise what
                is due later, retries among it, waits for the clock.
            queues: only tasks of this queue, or of these; None: all.
            raises: whether to raise the own error of the first task that has died, or was parked, once all have run;
                None: as it was said to `recording()`.

        Returns what ran, an entry for each attempt, in that order. Raises AssertionError after 10,000 attempts.
        """
        names = checked_queues(queues)
        plan = self._plan(_checked_limit(limit), future, names)
        self._claim_or_raise()
        try:
            ran = _follow(plan, lambda: self.step(names))
        finally:
            self.resign()
        return self._judged(ran, raises)

    async def drain_async(
        self,
        *,
        limit: int | None = None,
        future: bool = False,
        queues: str | Iterable[str] | None = None,
        raises: bool | None = None,
    ) -> list[Ran]:
        """`drain` for a test that is a coroutine: coroutine functions run in its own loop, plain ones in a thread."""
        names = checked_queues(queues)
        plan = self._plan(_checked_limit(limit), future, names)
        self._claim_or_raise()
        try:
            next(plan)
            while True:
                plan.send(await self.step_in_loop(names))
        except StopIteration as end:
            ran: list[Ran] = end.value
            return self._judged(ran, raises)
        finally:
            self.resign()

    def _plan(
        self, limit: int | None, future: bool, queues: Sequence[str] | None
    ) -> Generator[None, Ran | None, list[Ran]]:
        """Asks for one attempt after the other; is sent what it came to, or None if nothing may start."""
        self.sweep()
        ran: list[Ran] = []
        looked_for = None
        while limit is None or len(ran) < limit:
            one = yield
            if one is not None:
                ran.append(one)
                self.check_end(ran, limit)
                continue
            due = self.next_due(queues) if future else None
            if due is None or due == looked_for:
                break
            self.clock.skip_to(due)
            looked_for = due
        return ran

    def check_end(self, ran: Sequence[Ran], limit: int | None = None) -> None:
        """Raise AssertionError if tasks defer one another for ever."""
        if limit is not None or len(ran) < ATTEMPTS_MAX:
            return
        most = Counter(one.target for one in ran).most_common(3)
        counts = ", ".join(f"{target} {count:,} times" for target, count in most)
        raise AssertionError(
            f"{len(ran):,} attempts were run and there are more: {counts}. Do tasks defer themselves again and again?"
            " Then say how many are enough: drain(limit=...)."
        )

    def _claim_or_raise(self) -> None:
        if not self.claim():
            raise RuntimeError("drain() was called by a task, or by a second thread, while another drain() goes on.")

    def _judged(self, ran: list[Ran], raises: bool | None) -> list[Ran]:
        if self._raises if raises is None else raises:
            raise_what_died(ran)
        return ran

    # ---- asserting

    def assert_deferred(
        self, fn: Callable[..., Any] | Call[Any], /, *args: Any, count: int | None = None, **keywords: Any
    ) -> DeferredTask:
        """Assert that `fn` was deferred with these arguments and options; returns the first such task.

        Args:
            fn: the function, as it is given to `defer`, or a Call: `call(fn, 1)`.
            args: its arguments. Without any, any will do; `call(fn)` means: none.
            count: exactly so many such tasks; None: at least one.
            keywords: arguments of the function; those it does not take are options: queue, countdown, eta, name,
                priority, retry, timeout, expires, tags, headers, route, url.

        Raises AssertionError, which shows what was deferred and how it differs; TypeError for a keyword that is
        neither.
        """
        __tracebackhide__ = True
        wanted = matching.expected(fn, args, keywords)
        tasks = self.deferred_tasks()
        found = [task for task in tasks if not wanted.differences(task)]
        if not found or (count is not None and len(found) != count):
            raise AssertionError(matching.told(wanted, tasks, len(found), count))
        return found[0]

    def assert_not_deferred(
        self, fn: Callable[..., Any] | Call[Any] | None = None, /, *args: Any, **keywords: Any
    ) -> None:
        """Assert that no such task was deferred; without arguments: none at all. Arguments as for `assert_deferred`."""
        __tracebackhide__ = True
        wanted = matching.expected(fn, args, keywords)
        found = [task for task in self.deferred_tasks() if not wanted.differences(task)]
        if found:
            lines = "\n".join(f"  {task}" for task in found)
            raise AssertionError(f"expected that {wanted} is not deferred, and it was:\n{lines}")

    def clear(self) -> None:
        """Forget what was deferred: nothing is pending and no name is taken any more. The clock stays as it is."""
        with self._lock:
            self._deferred.clear()
        for engine in self._views():
            engine.forget()


def recording(*, clock: FakeClock | None = None, raises: bool = True) -> DeferredTasks:
    """Let every Deferq store its tasks in memory, where nothing runs until it is told to.

        with recording() as tasks:
            ...
            tasks.drain()

    Args:
        clock: the time by which it goes; None: a new FakeClock, `tasks.clock`.
        raises: whether `drain()` raises the own error of a task that has died.

    No file is opened, and no embedded worker starts. Queues, `allow`, `carry`, secrets and the form of payloads are
    those of the application. At the end every Deferq has the store it had.
    """
    return DeferredTasks(clock=clock, raises=raises)


def _follow(plan: Generator[None, Ran | None, list[Ran]], step: Callable[[], Ran | None]) -> list[Ran]:
    try:
        next(plan)
        while True:
            plan.send(step())
    except StopIteration as end:
        ran: list[Ran] = end.value
        return ran


def _checked_limit(limit: object) -> int | None:
    if limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and limit >= 1):
        return limit
    raise InvalidOption("drain: limit must be a whole number from 1 on.", field="limit")


# ---- the same for the mode that holds now


def _tasks() -> DeferredTasks:
    mode = active()
    assert isinstance(mode, DeferredTasks)
    return mode


def deferred_tasks(fn: Callable[..., Any] | Call[Any] | None = None, /) -> list[DeferredTask]:
    """What was deferred in the mode that holds now. See `DeferredTasks.deferred_tasks`."""
    return _tasks().deferred_tasks(fn)


def drain(
    *,
    limit: int | None = None,
    future: bool = False,
    queues: str | Iterable[str] | None = None,
    raises: bool | None = None,
) -> list[Ran]:
    """Run what is due in the mode that holds now. See `DeferredTasks.drain`."""
    return _tasks().drain(limit=limit, future=future, queues=queues, raises=raises)


async def drain_async(
    *,
    limit: int | None = None,
    future: bool = False,
    queues: str | Iterable[str] | None = None,
    raises: bool | None = None,
) -> list[Ran]:
    """The same from a coroutine. See `DeferredTasks.drain_async`."""
    return await _tasks().drain_async(limit=limit, future=future, queues=queues, raises=raises)


def assert_deferred(
    fn: Callable[..., Any] | Call[Any], /, *args: Any, count: int | None = None, **keywords: Any
) -> DeferredTask:
    """Assert that it was deferred, in the mode that holds now. See `DeferredTasks.assert_deferred`."""
    __tracebackhide__ = True
    return _tasks().assert_deferred(fn, *args, count=count, **keywords)


def assert_not_deferred(fn: Callable[..., Any] | Call[Any] | None = None, /, *args: Any, **keywords: Any) -> None:
    """Assert that it was not deferred, in the mode that holds now. See `DeferredTasks.assert_not_deferred`."""
    __tracebackhide__ = True
    _tasks().assert_not_deferred(fn, *args, **keywords)


def clear() -> None:
    """Forget what was deferred in the mode that holds now. See `DeferredTasks.clear`."""
    _tasks().clear()
