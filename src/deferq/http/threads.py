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
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._work: deque[tuple[asyncio.Future[Any], Callable[[], Any]]] = deque()
        self._came = threading.Condition()
        self._idle = 0
        self._count = 0

    def call(self, function: Callable[[], Answer]) -> asyncio.Future[Answer]:
        """Call `function` in a thread; if the future is cancelled before one is free, it is never called."""
        if self._pid != os.getpid():
            self._forget()
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        with self._came:
            self._work.append((future, function))
            if self._idle:
                self._came.notify()
            elif self._count < self._most:
                self._count += 1
                threading.Thread(target=self._serve, name="deferq-http", daemon=True).start()
        return future

    def _serve(self) -> None:
        while (entry := self._next()) is not None:
            future, function = entry
            if not future.cancelled():
                _run(future, function)
            del entry, future, function

    def _next(self) -> tuple[asyncio.Future[Any], Callable[[], Any]] | None:
        with self._came:
            while not self._work:
                self._idle += 1
                came = self._came.wait(IDLE_S)
                self._idle -= 1
                if not came and not self._work:
                    self._count -= 1
                    return None
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
