"""A worker whose tasks run elsewhere: it pushes them to a base URL over HTTP."""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, NamedTuple

from deferq.codec.codec import Codec
from deferq.engines.base import Bell, LeasingEngine, Retention
from deferq.errors import StoreError, TaskNotFound
from deferq.http.push.addresses import Guard
from deferq.http.push.bases import Base
from deferq.http.push.exchange import Client, Report, Take
from deferq.http.push.flow import Flow
from deferq.http.push.letters import Letters
from deferq.http.push.pool import PushPool
from deferq.model.events import Event, EventName
from deferq.model.queue import Queue
from deferq.model.task import Failure, Leased
from deferq.runtime.config import WorkerConfig
from deferq.runtime.driver import Ear
from deferq.runtime.listeners import Listener
from deferq.runtime.pools import Pool
from deferq.runtime.worker import AnyWorker

#: The clients there are, the better one first.
CLIENTS = ("aiohttp", "threads")


class Manner(NamedTuple):
    """How tasks are pushed, to whichever base."""

    #: Seconds that a handler may take.
    deadline_s: float = 600.0
    #: One of CLIENTS; None: the first that is installed.
    client: str | None = None
    #: For https; None: as Python trusts by default.
    context: ssl.SSLContext | None = None


DEFAULT = Manner()


class Pusher(AnyWorker):
    """A worker that delivers to one base. `config.threads` is how many requests are under way at the same time."""

    def __init__(
        self,
        engine: LeasingEngine,
        codec: Codec,
        guard: Guard,
        base: Base,
        config: WorkerConfig,
        listeners: Iterable[Listener] = (),
        *,
        manner: Manner = DEFAULT,
        retention: Retention | None = None,
        queues: Mapping[str, Queue] | None = None,
    ) -> None:
        """Nothing starts yet, and nothing is resolved. `guard` says where the base may lead to."""
        super().__init__(engine, config, listeners, retention=retention, queues=queues)
        self.base = base
        #: Whether it has stopped because its base was in trouble, and it was to work only until it is idle.
        self.gave_up = False
        self._codec = codec
        self._guard = guard
        self._manner = manner
        self._flow = Flow(config.threads, random.random)

    def _quarters(self, bell: Bell) -> tuple[Pool, Ear]:
        self._flow = Flow(self.config.threads, random.random)
        letters = Letters(
            self.base,
            self._codec.keyring,
            verify=self._codec.verify,
            deadline_s=self._manner.deadline_s,
            now_s=lambda: self._engine.now() / 1e6,
            failures=self._failures,
        )
        pool = PushPool(
            str(self.base),
            letters,
            self._flow,
            self._new_client,
            wake=bell.ring,
            monotonic=time.monotonic,
            on_start=self._started if EventName.TASK_STARTED in self._listeners.wanted else None,
            on_trouble=self._give_up if self.config.until_idle else None,
        )
        return pool, bell

    def _new_client(self, take: Take, report: Report) -> Client:
        context = self._manner.context
        if self.base.scheme == "https" and context is None:
            context = ssl.create_default_context()
        make = _maker(self._manner.client or default_client())
        return make(
            self.base,
            self._guard,
            take,
            report,
            most=self.config.threads,
            context=context if self.base.scheme == "https" else None,
        )

    def _details(self) -> Mapping[str, Any]:
        return {
            "kind": "push",
            "base": str(self.base),
            "routes": self.config.routes,
            "window": self._flow.window,
            "in_trouble": self._flow.in_trouble,
        }

    def _failures(self, task: Leased) -> Sequence[Failure]:
        """As far as the store tells: a view that misses a header does its work all the same."""
        with suppress(StoreError, TaskNotFound):
            return sorted(self._engine.details(task.id).failures, key=lambda one: one.attempt)
        return ()

    def _started(self, task: Leased) -> None:
        at = self._engine.now()
        self._listeners.announce(Event(EventName.TASK_STARTED, at, task.id, task.target, task.queue, task.attempt))

    def _give_up(self) -> None:
        self.gave_up = True
        self.request_stop()


class Pushers:
    """Several pushers, one for each base, in threads of this process: a base in trouble holds up no other."""

    def __init__(self, pushers: Sequence[Pusher]) -> None:
        self.pushers = pushers
        self._trouble: list[BaseException] = []

    def run(self) -> None:
        """Push until stopped. Raises StoreError if the store is broken for good."""
        threads = [threading.Thread(target=self._push, args=(one,), name=f"push to {one.base}") for one in self.pushers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for error in self._trouble:
            raise error

    def request_stop(self) -> None:
        """Ask all of them to stop, without waiting."""
        for pusher in self.pushers:
            pusher.request_stop()

    def _push(self, pusher: Pusher) -> None:
        try:
            pusher.run()
        except BaseException as error:  # the others need not go on alone
            self._trouble.append(error)
            self.request_stop()


def has_aiohttp() -> bool:
    """Whether it is installed."""
    return find_spec("aiohttp") is not None


def default_client() -> str:
    """The client that is used if nobody names one."""
    return CLIENTS[0] if has_aiohttp() else CLIENTS[1]


def _maker(client: str) -> Callable[..., Client]:
    if client == "aiohttp":
        from deferq.http.push.looped import LoopClient

        return LoopClient
    from deferq.http.push.plain import ThreadClient

    return ThreadClient
