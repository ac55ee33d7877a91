"""Where coroutines wait: every task of the event loop is stepped through by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Iterator
from types import FrameType
from typing import Any

from deferq.testing.crashing.points import AWAIT, Watch, last_place


def run_watched(coroutine: Coroutine[Any, Any, Any], watch: Watch) -> Any:
    """`asyncio.run`, in which every await that really waits is a point."""

    def task_of(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_watched(coro, watch), loop=loop, **options)

    with asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(task_of)
        return runner.run(coroutine)


async def _watched(coroutine: Any, watch: Watch) -> Any:
    return await _Steps(coroutine, watch)


class _Steps:
    """Hands on what goes into a coroutine and what comes out of it, and looks where it stands when it waits."""

    def __init__(self, coroutine: Any, watch: Watch) -> None:
        self._coroutine = coroutine
        self._watch = watch

    def __await__(self) -> Generator[Any, Any, Any]:
        value, error = None, None
        while True:
            try:
                waits_for = self._coroutine.send(value) if error is None else self._coroutine.throw(error)
            except StopIteration as stop:
                return stop.value
            place = last_place(_frames(self._coroutine))
            if place is not None:  # a library's own coroutine is its own matter
                self._watch.come_past(AWAIT, place)
            value, error = None, None
            try:
                value = yield waits_for
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as raised:  # a cancellation, say: it belongs to the coroutine
                error = raised


def _frames(awaitable: Any) -> Iterator[FrameType]:
    """The frames of a coroutine that waits, and of what it waits for, outermost first."""
    while awaitable is not None:
        for prefix in ("cr", "gi", "ag"):
            frame = getattr(awaitable, f"{prefix}_frame", None)
            if frame is not None:
                yield frame
                awaitable = getattr(awaitable, "gi_yieldfrom" if prefix == "gi" else f"{prefix}_await", None)
                break
        else:
            return
