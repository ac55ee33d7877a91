"""Threads for an event loop: a few, made when there is work, and none of them keeps the process alive."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

Answer = TypeVar("Answer")
#: A thread that had nothing to do for so many seconds ends.
IDLE_S: Final = 30.0


class LoopThreads:
    """Runs functions in up to `most` daemon threads, for whichever event loops ask.

    Those of the standard library end with the process only once what they run has ended.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._pid = os.getpid()
        self._crew = _Crew(most)

    def call(self, function: Callable[[], Answer]) -> asyncio.Future[Answer]:
        """Call `function` in a thread; if the future is cancelled before one is free, it is never called."""
        if self._pid != os.getpid():  # a forked child has none of its parent's threads
            self._pid, self._crew = os.getpid(), _Crew(self._most)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._crew.add(future, function)
        return future

    def close(self) -> None:
        """Let the threads end once they have nothing to do. There are others when there is work again."""
        crew, self._crew = self._crew, _Crew(self._most)
        crew.close()


class _Crew:
    """Some threads, and their work."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._work: deque[tuple[asyncio.Future[Any], Callable[[], Any]]] = deque()
        self._came = threading.Condition()
        self._idle = 0
        self._count = 0
        self._closed = False

    def add(self, future: asyncio.Future[Any], function: Callable[[], Any]) -> None:
        with self._came:
            self._work.append((future, function))
            if len(self._work) <= self._idle:
                self._came.notify()
            elif self._count < self._most:
                self._start_thread()

    def _start_thread(self) -> None:
        """Raises RuntimeError if none can be had, and none is there that would come to the work in time."""
        self._count += 1
        try:
            threading.Thread(target=self._serve, name="deferq-http", daemon=True).start()
        except RuntimeError:
            self._count -= 1
            if self._count == 0:  # what whoever asked takes for failed must not run later
                self._work.pop()
                raise

    def close(self) -> None:
        with self._came:
            self._closed = True
            self._came.notify_all()

    def _serve(self) -> None:
        while (entry := self._next()) is not None:
            future, function = entry
            if not future.cancelled():
                _run(future, function)
            del entry, future, function

    def _next(self) -> tuple[asyncio.Future[Any], Callable[[], Any]] | None:
        with self._came:
            waited = False
            while not self._work:
                if waited or self._closed:
                    self._count -= 1
                    return None
                self._idle += 1
                waited = not self._came.wait(IDLE_S)
                self._idle -= 1
            return self._work.popleft()


def _run(future: asyncio.Future[Any], function: Callable[[], Any]) -> None:
    try:
        answer, error = function(), None
    except BaseException as raised:
        answer, error = None, raised
    with suppress(RuntimeError):  # the loop is closed, and nobody waits
        future.get_loop().call_soon_threadsafe(_tell, future, answer, error)


def _tell(future: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(answer)
    else:
        future.set_exception(error)
