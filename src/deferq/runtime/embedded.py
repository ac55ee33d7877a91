"""A worker inside a process that has other things to do: started by the first request, once in each process."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable

from deferq.runtime.worker import Worker

#: Seconds that running tasks may hold up the end of the process.
EXIT_DRAIN_S = 3.0


class EmbeddedWorker:
    """Starts one worker in each process that asks for it. Making it starts nothing."""

    def __init__(self, make_worker: Callable[[], Worker]) -> None:
        """`make_worker` is called in the process where the worker is to run, so it opens nothing that is inherited."""
        self._make_worker = make_worker
        #: Worker and lock by process: after a fork the child finds none of its own and makes them.
        self._locks: dict[int, threading.Lock] = {}
        self._worker: Worker | None = None
        self._pid: int | None = None

    def ensure_started(self) -> None:
        """Start the worker of this process if it has none. Cheap enough to be asked with every request."""
        if self._pid != os.getpid():
            self._start()

    @property
    def worker(self) -> Worker | None:
        """The worker of this process."""
        return self._worker if self._pid == os.getpid() else None

    def stop(self, drain_s: float = EXIT_DRAIN_S) -> None:
        """Stop the worker of this process, if there is one."""
        worker = self.worker
        if worker is not None:
            worker.stop(drain_s)

    def _start(self) -> None:
        pid = os.getpid()
        with self._locks.setdefault(pid, threading.Lock()):  # a lock from before the fork may be held by nobody alive
            if self._pid == pid:
                return
            worker = self._make_worker()
            worker.start()
            atexit.register(self.stop)
            self._worker, self._pid = worker, pid
