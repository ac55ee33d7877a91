"""The store of a test: a memory engine that tells what it was given, and says whose turn it is."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Any

from deferq.engines.answers import PutAnswer
from deferq.engines.base import Clock, Retention, Settlement, Want, new_lease_id
from deferq.engines.declaring import declare
from deferq.engines.memory import MemoryEngine
from deferq.engines.within import CallersConnection
from deferq.model.queue import Queue
from deferq.model.state import State
from deferq.model.task import Leased, NewTask
from deferq.model.transitions import US

#: The dispatcher's half of its lease ids.
_HOLDER = secrets.randbits(32)
#: A test may move the clock by days while a task runs, so leases are long.
_LEASE_US = 365 * 86_400 * US
_serials = count(1)
#: So often may the time have been asked for since a task was made: by what makes its id, and what stores it.
_ASKED = 4


class Alongside:
    """Takes transactions for what they are in a test: many of them never commit. Tasks are stored at once."""

    def __init__(self, engine: RecordingEngine) -> None:
        self._engine = engine

    def is_on(self, connection: CallersConnection) -> bool:
        """Whichever is open is meant."""
        return True

    def is_place(self, file: str) -> bool:
        """The same."""
        return True

    def prepare(self, connection: CallersConnection) -> None:
        """There is nothing to open."""

    def put(
        self, connection: CallersConnection, tasks: Sequence[NewTask], declared: Mapping[str, Queue]
    ) -> list[PutAnswer]:
        """Store them beside the transaction."""
        declare(self._engine, declared)
        return self._engine.put(tasks)

    def uncommitted(self, connection: CallersConnection, ids: Sequence[int]) -> list[int]:
        """None is: what is stored here is seen at once."""
        return []

    def settle(self, connection: CallersConnection, settlement: Settlement) -> bool:
        """The end of the function counts."""
        return True

    def is_settled(self, settlement: Settlement) -> bool:
        """The same."""
        return False

    def ring(self, ids: Sequence[int]) -> bool:
        """Nobody sleeps."""
        return True

    def rings_for(self, eta: int) -> bool:
        """The same."""
        return False

    def may_be_writing(self) -> bool:
        """What an application's connection has written has nothing to do with this store, and may be rolled back."""
        return True

    def check_free(self) -> None:
        """Nothing is in the way."""


class RecordingEngine(MemoryEngine):
    """A view of one Deferq on a store in memory; a second Deferq of the same URL has another view of the same store.

    `announced` is called before tasks are put, since another thread may lease them before `put` has returned; `stored`
    afterwards, outside of any lock: it may run them.
    """

    def __init__(
        self,
        clock: Clock,
        announced: Callable[[Sequence[NewTask]], None],
        stored: Callable[[RecordingEngine, Sequence[NewTask], Sequence[PutAnswer]], None],
        twin: RecordingEngine | None = None,
        *,
        retention: Retention | None = None,
        **options: Any,
    ) -> None:
        super().__init__(clock=clock, **options)
        #: Signs what is stored here, where the application has set no secrets.
        self.secret = secrets.token_bytes(32)
        #: How long finished tasks stay.
        self.retention = retention or Retention()
        self._announced, self._stored = announced, stored
        self._asked = threading.local()
        self.within = Alongside(self)
        if twin is not None:
            self._share(twin)

    def _share(self, twin: RecordingEngine) -> None:
        self.secret, self._lock, self._bells = twin.secret, twin._lock, twin._bells
        self._tasks, self._totals, self._records = twin._tasks, twin._totals, twin._records

    def now(self) -> int:
        now = super().now()
        self._asked.times = (now, *getattr(self._asked, "times", ())[: _ASKED - 1])
        return now

    def deferred_at(self, task: NewTask) -> int:
        """When this thread deferred a task that it has just put: one of the times it asked for last.

        Whole milliseconds lie between it and an eta that was reckoned from it.
        """
        times: tuple[int, ...] = getattr(self._asked, "times", ()) or (self.now(),)
        return next((at for at in times if (task.eta - at) % 1_000 == 0), times[0])

    def put(self, tasks: Sequence[NewTask]) -> list[PutAnswer]:
        self._announced(tasks)
        answers = super().put(tasks)
        self._stored(self, tasks, answers)
        return answers

    def close(self) -> None:
        """Others may have a view of the store, and tests look at it when the application has closed it."""

    # ---- for the test

    def heads(self, queues: Collection[str] | None) -> list[tuple[int, int, str]]:
        """The first due task of each queue that is not paused: when it was due, its id, its queue."""
        with self._stroke() as now:
            firsts = [
                (queue.first(now), name)
                for name, queue in self._tasks.queues.items()
                if not queue.paused and (queues is None or name in queues)
            ]
        return [(first.at, first.task_id, name) for first, name in firsts if first is not None]

    def lease_from(self, queue: str) -> Leased | None:
        """Lease the first due task of a queue, if its limits allow it."""
        lease_id = new_lease_id(_HOLDER, next(_serials))
        want = Want(free=1, ahead=0, lease_id=lease_id, lease_us=_LEASE_US, queues=(queue,), delivers=True)
        leased = self.turn((), want).leased
        return leased[0] if leased else None

    def rated(self, queue: str) -> int | None:
        """When the rate of a queue lets a task start that is due already; None: no rate holds any back."""
        with self._stroke() as now:
            return self._tasks.queues[queue].took(0, now)

    def next_due(self, queues: Collection[str] | None) -> int | None:
        """When the first of the pending tasks that are not due yet is due; None: there is none."""
        with self._stroke():
            times = [
                queue.next_due()
                for name, queue in self._tasks.queues.items()
                if not queue.paused and (queues is None or name in queues)
            ]
        return min((time for time in times if time is not None), default=None)

    def forget(self) -> None:
        """Let nothing be pending, and no name be taken. Queues keep their settings."""
        with self._stroke() as now:
            for row in list(self._tasks.rows.values()):
                if row.state is State.PENDING:
                    self._tasks.delete(row, now)
            self._tasks.names.clear()

    def state_of(self, task_id: int) -> State | None:
        """The state of a task; None: there is none."""
        with self._stroke():
            row = self._tasks.rows.get(task_id)
            return None if row is None else row.state

    @property
    def attended(self) -> bool:
        """Whether somebody has started a worker on this store."""
        return bool(self._bells)
