"""A worker: one dispatcher with its pool, on one engine."""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from deferq.codec.codec import Codec
from deferq.engines.base import Bell, LeasingEngine, Retention
from deferq.engines.declaring import declare
from deferq.errors import ConfigError, StoreUnavailable
from deferq.model.events import Event, EventName
from deferq.model.queue import Queue
from deferq.model.task import Leased
from deferq.runtime.config import WorkerConfig
from deferq.runtime.delivery import Deliverer, NoApplication
from deferq.runtime.dispatcher import Beat, Stop, dispatch
from deferq.runtime.driver import Driver, Ear
from deferq.runtime.executor import Executor
from deferq.runtime.guarded import GuardedThreads
from deferq.runtime.janitor import Janitor
from deferq.runtime.listeners import Listener, Listeners
from deferq.runtime.outage import LONGEST_S, Outage
from deferq.runtime.pools import Pool
from deferq.runtime.pulse import Pulse

_log = logging.getLogger("deferq")
#: Seconds that idle threads, or children, have to end when the worker has.
CLOSE_S = 2.0
#: Bells of workers that ended while a task of theirs went on. The end of the process closes them, and shows others that
#: nobody runs these tasks any more.
_kept: list[Bell] = []


class AnyWorker(ABC):
    """Leases tasks and has them run until it is stopped.

    `run()` works in the calling thread; `start()` does so in a daemon thread and begins again if the store breaks.
    A worker belongs to the process it runs in: after a fork the child sees it as not running.
    """

    def __init__(
        self,
        engine: LeasingEngine,
        config: WorkerConfig | None = None,
        listeners: Iterable[Listener] = (),
        *,
        retention: Retention | None = None,
        queues: Mapping[str, Queue] | None = None,
    ) -> None:
        """Nothing starts yet. `queues` is what the application declares; the store learns of it at the start."""
        self.config = config or WorkerConfig()
        self._engine = engine
        self._listeners = Listeners(listeners)
        self._retention = retention or Retention()
        self._queues = queues or {}
        self._stop = Stop(self.config.drain_s)
        self._bell: Bell | None = None
        self._thread: threading.Thread | None = None
        #: The process it runs in; None: it does not run.
        self._pid: int | None = None

    @property
    def running(self) -> bool:
        """Whether it runs in this process."""
        return self._pid == os.getpid()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop, and lets running tasks finish."""
        return self.running and self._stop.requested

    def run(self) -> None:
        """Work until stopped. Raises StoreError if the store is broken for good."""
        self._claim_process()
        try:
            self._work()
        finally:
            self._leave_process()

    def start(self) -> None:
        """Work in a daemon thread. Returns at once; starting a running worker is an error."""
        self._claim_process()
        self._thread = threading.Thread(target=self._work_for_good, name="deferq-worker", daemon=True)
        self._thread.start()

    def stop(self, drain_s: float | None = None) -> None:
        """Stop and wait for the end: lease nothing more, give back what has not started, let the rest finish.

        `drain_s` is how long running tasks may go on; None: as configured. In a forked child it does nothing.
        """
        if not self.running:
            return
        self.request_stop(drain_s)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def request_stop(self, drain_s: float | None = None) -> None:
        """Ask it to stop, without waiting. Safe in a signal handler; a second call may shorten the time."""
        self._stop.request(drain_s)
        bell = self._bell  # its thread may be at its end, and let go of it now
        if bell is not None:
            bell.ring()

    # ---- where tasks run

    @abstractmethod
    def _quarters(self, bell: Bell) -> tuple[Pool, Ear]:
        """A new pool, and what to wait with: where its outcomes and the bell are heard."""

    def _details(self) -> Mapping[str, Any]:
        """What there is to say about it in its record, apart from what it is and how much runs."""
        return {}

    # ---- inside

    def _claim_process(self) -> None:
        if self.running:
            raise ConfigError("This worker runs already; make another one to run more.")
        self._pid = os.getpid()

    def _leave_process(self) -> None:
        self._pid = None
        self._stop = Stop(self.config.drain_s)  # not at the start: a signal may come before it

    def _work_for_good(self) -> None:
        """In its own thread nobody would notice its death, so it rises again until it is stopped."""
        outage = Outage()
        try:
            while not self._stop.requested:
                began = time.monotonic()
                try:
                    self._work()
                except Exception:
                    if time.monotonic() - began > LONGEST_S:
                        outage = Outage()  # it worked for long: this is another trouble, and worth another line
                    if outage.failed(time.monotonic(), random.random()):
                        _log.exception("the worker failed; it will try again")
                while time.monotonic() < outage.until and not self._stop.requested:
                    time.sleep(0.1)
        finally:
            self._leave_process()

    def _work(self) -> None:
        number = secrets.randbits(32)
        declare(self._engine, self._queues)
        bell = self._bell = self._engine.bell(number)
        pool, ear = self._quarters(bell)
        pulse = Pulse(self._engine, number, self._description(), self._all_details)
        world = _Reality(number, self._engine.now, self._listeners)
        driver = Driver(self._engine, ear, Janitor(self._engine, self._retention), partial(self._beat, pulse))
        self._announce(EventName.WORKER_STARTED)
        try:
            with suppress(StoreUnavailable):  # the dispatcher will say so
                self._engine.wake()  # this release may know targets that others did not
                pulse.clear_away()
            driver.drive(dispatch(self.config, pool, world, self._stop))
        finally:
            self._bell = None
            goes_on = pool.running() > 0
            pool.close(CLOSE_S)
            pulse.end()
            if goes_on:
                _kept.append(bell)
            else:
                bell.close()
            self._announce(EventName.WORKER_STOPPED)

    def _beat(self, pulse: Pulse, beat: Beat) -> None:
        """Every few seconds: let others see that it lives."""
        pulse.beat(beat)

    def _description(self) -> dict[str, Any]:
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": self._engine.now(),
            "queues": self.config.queues,
            "route": self.config.route,
            "threads": self.config.threads,
            "version": _release(),
        }

    def _all_details(self) -> Mapping[str, Any]:
        return {"delivers": bool(self.config.delivers), **self._details()}

    def _announce(self, name: EventName, detail: str = "") -> None:
        detail = detail or f"{socket.gethostname()} pid {os.getpid()}"
        self._listeners.announce(Event(name, self._engine.now(), detail=detail))


def _release() -> str | None:
    """Which deferq this is; None: it is not installed as a package."""
    from importlib import metadata  # only a worker that starts needs it

    try:
        return metadata.version("deferq")
    except metadata.PackageNotFoundError:
        return None


class Worker(AnyWorker):
    """A worker whose tasks run in threads of this process."""

    def __init__(
        self,
        engine: LeasingEngine,
        codec: Codec,
        config: WorkerConfig | None = None,
        listeners: Iterable[Listener] = (),
        *,
        retention: Retention | None = None,
        queues: Mapping[str, Queue] | None = None,
        deliverer: Deliverer | None = None,
    ) -> None:
        """Nothing starts yet. `queues` is what the application declares; the store learns of it at the start.

        `deliverer` brings tasks with an url to the application, if the `config` says that they are leased.
        """
        super().__init__(engine, config, listeners, retention=retention, queues=queues)
        self._executor = Executor(codec, now=engine.now, deliverer=deliverer or NoApplication(), engine=engine)

    def _quarters(self, bell: Bell) -> tuple[Pool, Ear]:
        pool = GuardedThreads(
            self._executor,
            threads=self.config.threads,
            async_slots=self.config.async_slots,
            wake=bell.ring,
            on_start=self._started if EventName.TASK_STARTED in self._listeners.wanted else None,
        )
        return pool, bell

    def _started(self, task: Leased) -> None:
        self._listeners.announce(
            Event(EventName.TASK_STARTED, self._engine.now(), task.id, task.target, task.queue, task.attempt)
        )


class _Reality:
    """The World of a dispatcher that runs for real."""

    def __init__(self, number: int, now_us: Callable[[], int], listeners: Listeners) -> None:
        self.number = number
        self.wanted = listeners.wanted
        self.now_us = now_us
        self.announce = listeners.announce
        self.monotonic = time.monotonic
        self.random = random.Random(number).random
