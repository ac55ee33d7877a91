"""A worker inside a process that has other things to do: started by the first request, once in each process."""

from __future__ import annotations

import atexit
import os
import sys
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
        """Start the worker of this process if it never had one. Cheap enough to be asked with every request.

        A worker that was stopped stays stopped: requests may come while a server shuts down.
        """
        if self._pid != os.getpid():
            with self._lock():
                if self._pid != os.getpid():
                    self._begin()

    def start(self) -> None:
        """Start the worker of this process unless it runs; also after it was stopped, or while it comes to its end."""
        with self._lock():
            worker = self.worker
            if worker is None or not worker.running or worker.stopping:
                self._begin()

    @property
    def worker(self) -> Worker | None:
        """The worker of this process, if it was ever started."""
        return self._worker if self._pid == os.getpid() else None

    def stop(self, drain_s: float = EXIT_DRAIN_S) -> None:
        """Stop the worker of this process, if there is one."""
        worker = self.worker
        if worker is not None:
            atexit.unregister(self.stop)
            worker.stop(drain_s)

    def _lock(self) -> threading.Lock:
        """A lock from before the fork may be held by nobody alive."""
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def _begin(self) -> None:
        worker = self._make_worker()
        worker.start()
        _at_the_end_of_the_process(self.stop)
        self._worker, self._pid = worker, os.getpid()


def _at_the_end_of_the_process(stop: Callable[[], None]) -> None:
    atexit.register(stop)
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        # A child that multiprocessing has forked, as granian does, ends without Python's exit handlers.
        from multiprocessing.util import Finalize

        Finalize(None, stop, exitpriority=100)
