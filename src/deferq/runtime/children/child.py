"""The life of a child: read what the parent sends, run it, and end when the parent says so or is gone."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from deferq.model.events import Event, EventName
from deferq.model.task import Leased
from deferq.runtime.children.starts import Starts
from deferq.runtime.children.threads import ChildThreads
from deferq.runtime.children.wire import CANCEL, CUT_OFF, EVENTS, HELLO, LET_GO, STOP, TASKS, Reader, pack
from deferq.runtime.executor import Executor
from deferq.runtime.listeners import Listeners

_BYTES = 256 * 1024
#: Seconds that idle threads have to end.
CLOSE_S = 1.0
#: Milliseconds between two looks at the socket where the system does not let it be polled.
UNPOLLED_MS = 5


def end_with_parent(end: socket.socket) -> None:
    """End this process as soon as the other end of its socket is closed, also while it loads the application.

    That is for systems whose kernel does not see to it, and for a parent that died before the kernel was asked.
    """
    threading.Thread(target=_await_hang_up, args=(end,), name="deferq-parent", daemon=True).start()


def _await_hang_up(end: socket.socket) -> None:
    """It holds the socket, since one that is closed here looks like one that was closed over there."""
    poll = select.poll()
    poll.register(end, 0)  # POLLHUP and POLLERR are noticed anyway
    poll.poll()
    os._exit(1)


class Child:
    """Runs the tasks that come through a socket. Everything else is the parent's business."""

    def __init__(
        self,
        executor: Executor,
        end: socket.socket,
        memory: int,
        *,
        threads: int,
        async_slots: int,
        listeners: Listeners,
        now: Callable[[], int],
    ) -> None:
        """`end` is this child's end of the socket, `memory` the descriptor of what `shared_memory` made."""
        self._socket = end
        self._reader = Reader()
        self._writing = threading.Lock()
        self._listeners = listeners
        self._now = now
        self._pool = ChildThreads(
            executor,
            Starts(memory),
            self._hear,
            self._send,
            threads=threads,
            async_slots=async_slots,
            on_start=self._started if EventName.TASK_STARTED in listeners.wanted else None,
        )

    def run(self, hello: Mapping[str, Any]) -> None:
        """Introduce itself with `hello`; work until the parent says stop. Ends the process if the parent is gone."""
        wanted = [str(name) for name in self._listeners.wanted - {EventName.TASK_STARTED}]
        self._send(pack(HELLO, {**hello, "pid": os.getpid(), "wanted": wanted}))
        try:
            self._pool.work()
        except BaseException:  # a task has thrown into the main thread; without it this is no child any more
            try:
                traceback.print_exc()
            finally:  # it may throw again, and then nobody else would end the process
                os._exit(1)
        self._pool.close(CLOSE_S)

    def _hear(self, timeout_ms: int | None) -> None:
        """Do what the parent says next. Only one thread at a time is in here."""
        try:
            if timeout_ms is None or self._says_something(timeout_ms):
                self._do_next()
        except BaseException:  # it is not known how much was read: a task struck this thread, or took the memory
            os._exit(CUT_OFF)

    def _do_next(self) -> None:
        try:
            data = self._socket.recv(_BYTES)
        except OSError:  # it died with something unread, or a task has closed the socket
            data = b""
        if not data:
            os._exit(CUT_OFF)  # nobody would store what came of the tasks
        for kind, content in self._reader.feed(data):
            if kind == TASKS:
                self._pool.take(content)
            elif kind == CANCEL:
                self._pool.cancel_places(set(content))
            elif kind == LET_GO:
                self._pool.let_go()
            elif kind == EVENTS:
                self._tell(content)
            elif kind == STOP:
                self._pool.end()

    def _says_something(self, timeout_ms: int) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        try:
            return bool(poll.poll(timeout_ms))
        except OSError:  # a task allows its process fewer descriptors than are polled here; it is replaced soon
            time.sleep(min(timeout_ms, UNPOLLED_MS) / 1_000)
            return self._has_something()

    def _has_something(self) -> bool:
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True  # or it has ended, which is to be heard, too

    def _send(self, frame: bytes) -> None:
        with self._writing:
            try:
                self._socket.sendall(frame)
            except BaseException:  # the parent is dead, a task has closed the socket, or only a part was sent
                os._exit(CUT_OFF)

    def _started(self, task: Leased) -> None:
        self._listeners.announce(
            Event(EventName.TASK_STARTED, self._now(), task.id, task.target, task.queue, task.attempt)
        )

    def _tell(self, events: list[tuple[Any, ...]]) -> None:
        """The parent decides what becomes of tasks; the listeners of the application live here."""
        for name, *rest in events:
            self._listeners.announce(Event(EventName(name), *rest))
