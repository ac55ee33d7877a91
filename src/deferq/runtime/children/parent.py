"""A worker whose tasks run in child processes. It imports nothing of the application."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from deferq.engines.base import Bell, LeasingEngine, Parking, PollableBell, Retention
from deferq.engines.declaring import declare
from deferq.errors import ConfigError, StoreError
from deferq.model.events import Event, EventName
from deferq.model.outcome import LEFT_TO_PARENTS
from deferq.model.queue import Queue
from deferq.model.task import Leased
from deferq.runtime.children.nursery import Nursery
from deferq.runtime.children.pool import ChildPool
from deferq.runtime.children.process import Condition
from deferq.runtime.config import WorkerConfig
from deferq.runtime.delivery import Switch
from deferq.runtime.dispatcher import Beat
from deferq.runtime.driver import Ear
from deferq.runtime.listeners import Listener
from deferq.runtime.pools import Pool
from deferq.runtime.pulse import Pulse
from deferq.runtime.worker import AnyWorker


class ParentWorker(AnyWorker):
    """Leases, settles and renews for the children of `nursery`, which run the tasks."""

    def __init__(
        self,
        engine: LeasingEngine,
        nursery: Nursery,
        config: WorkerConfig,
        listeners: Iterable[Listener] = (),
        *,
        wanted_by_children: Iterable[str] = (),
        retention: Retention | None = None,
        declared: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """`wanted_by_children` are the events that listeners of the application, which live in children, want.

        `declared` are the queues of the application as plain data, see `Queue.to_dict`.
        """
        self._pool: ChildPool | None = None
        relay = _Relay(self, wanted_by_children)
        queues = _restored(declared or {})
        super().__init__(engine, config, [*listeners, relay], retention=retention, queues=queues)
        self._nursery = nursery
        nursery.announce = self._announce
        nursery.introduced = self._meet
        if nursery.quarantine is not None:
            nursery.quarantine.told = self._tell_quarantined

    @property
    def children(self) -> int:
        """How many children it is to have."""
        return self._nursery.household.children

    def reload(self, why: str) -> None:
        """Let new children load the application anew. Safe from any thread."""
        self._nursery.ask_to_reload(why)
        if self._bell is not None:
            self._bell.ring()

    def show_stacks(self) -> None:
        """Have each child print what its threads are doing. Safe in a signal handler."""
        for child in list(self._nursery.children):
            if child.condition is not Condition.STARTING:  # it would be killed: it is not ready for the signal
                child.show_stacks()

    def tell_children(self, event: Event) -> None:
        """Pass an event to listeners of the application."""
        if self._pool is not None:
            self._pool.tell(event)

    def _quarters(self, bell: Bell) -> tuple[Pool, Ear]:
        if not isinstance(bell, PollableBell):
            raise ConfigError(
                f"The store {self._engine.url} lives in one process, so no child could run its tasks. Use a worker in"
                " this process (Deferq.worker()), or another store."
            )
        self._pool = ChildPool(self._nursery, bell, time.monotonic)
        return self._pool, self._pool

    def _beat(self, pulse: Pulse, beat: Beat) -> None:
        """Others without child processes may have parked what only this worker runs, also while it ran."""
        super()._beat(pulse, beat)
        config = self.config
        only = Parking(LEFT_TO_PARENTS, config.queues, config.wanted_routes, bool(config.delivers))
        has_room = self._pool is not None and self._pool.free() > 0 and not self._stop.requested
        if has_room and self._engine.wake(only=only) and self._bell is not None:
            self._bell.ring()

    def _meet(self, hello: Mapping[str, Any]) -> None:
        """A child has loaded the application, whose code may have changed since the last one did."""
        if isinstance(self.config.delivers, Switch):
            self.config.delivers.on = bool(hello["delivers_to"])
        with suppress(StoreError):  # what was declared before holds
            declare(self._engine, _restored(hello["queues"]))

    def _tell_quarantined(self, task: Leased, detail: str) -> None:
        at, name = self._engine.now(), EventName.TASK_QUARANTINED
        self._listeners.announce(Event(name, at, task.id, task.target, task.queue, task.attempt, detail=detail))

    def _details(self) -> Mapping[str, Any]:
        return {} if self._pool is None else self._pool.describe()


def _restored(declared: Mapping[str, Mapping[str, Any]]) -> dict[str, Queue]:
    return {name: Queue.from_dict(plain) for name, plain in declared.items()}


class _Relay:
    """A listener that passes on what listeners elsewhere want."""

    def __init__(self, parent: ParentWorker, wanted: Iterable[str]) -> None:
        self.names = frozenset(EventName(name) for name in wanted)
        self._parent = parent

    def __call__(self, event: Event) -> None:
        self._parent.tell_children(event)
