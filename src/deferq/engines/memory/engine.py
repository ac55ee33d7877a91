"""The memory engine: what it offers, each method one stroke."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from deferq.engines.answers import PutAnswer, TakeUp
from deferq.engines.base import (
    COUNT_CAP,
    PAYLOAD_LIMIT,
    TOMBSTONE_S,
    Bell,
    Change,
    Clock,
    Counts,
    Details,
    Filter,
    LeasingEngine,
    Page,
    Parking,
    Record,
    RecordChange,
    Retention,
    Settlement,
    Swept,
    Total,
    Turn,
    Want,
    check_sizes,
    system_clock,
)
from deferq.engines.memory import changing, leasing, putting, reading, settling, sweeping
from deferq.engines.memory.bells import MemoryBell
from deferq.engines.memory.records import Records
from deferq.engines.memory.rows import to_task
from deferq.engines.memory.tasks import Tasks
from deferq.engines.memory.totals import Totals
from deferq.errors import ForkedEngineError, StoreUnavailable
from deferq.model.settings import QueueChange, QueueSettings
from deferq.model.task import Leased, NewTask, Task
from deferq.model.transitions import US


class MemoryEngine(LeasingEngine):
    """Tasks in this process's memory. They end with it; nobody else sees them."""

    def __init__(
        self, *, clock: Clock | None = None, payload_limit: int = PAYLOAD_LIMIT, tombstone_s: float = TOMBSTONE_S
    ) -> None:
        self.url = "memory://"
        self.payload_limit = payload_limit
        self._clock = clock or system_clock
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._tasks = Tasks(int(tombstone_s * US))
        self._totals = Totals()
        self._records = Records()
        self._bells: set[MemoryBell] = set()

    @contextmanager
    def _stroke(self) -> Iterator[int]:
        """Nobody else touches the engine meanwhile. Yields the time, the same for all that happens in it."""
        if os.getpid() != self._pid:
            raise ForkedEngineError(
                "A memory engine lives in the process that made it, and this is a fork of that process."
                " Make a new engine here, or use one that processes can share."
            )
        with self._lock:
            if self._closed:
                raise StoreUnavailable("This memory engine is closed. Make a new one.")
            yield self._clock()
            if self._tasks.ring:
                self._tasks.ring = False
                for bell in self._bells:
                    bell.ring()

    # ---- Engine

    def now(self) -> int:
        return self._clock()

    def put(self, tasks: Sequence[NewTask]) -> list[PutAnswer]:
        check_sizes(tasks, self.payload_limit)
        with self._stroke() as now:
            return [putting.put(self._tasks, task, now) for task in tasks]

    def get(self, ids: Sequence[int]) -> list[Task]:
        with self._stroke():
            return [to_task(row) for row in self._tasks.existing(ids)]

    def details(self, task_id: int) -> Details:
        with self._stroke():
            return reading.details(self._tasks, task_id)

    def spill(self, task_id: int) -> bytes | None:
        with self._stroke():
            row = self._tasks.rows.get(task_id)
            return None if row is None else row.made.spill

    def find(self, where: Filter, *, after: int | None = None, limit: int = 100) -> Page:
        with self._stroke():
            return reading.find(self._tasks, where, after, limit)

    def holders(self, queue: str, names: Sequence[str]) -> list[int | None]:
        with self._stroke() as now:
            return [reading.holder(self._tasks, queue, name, now) for name in names]

    def change(self, ids: Sequence[int], change: Change) -> list[int]:
        with self._stroke() as now:
            return [row.id for row in self._tasks.existing(ids) if changing.change(self._tasks, row, change, now)]

    def purge(self, queue: str, limit: int = 10_000) -> int:
        with self._stroke() as now:
            return changing.purge(self._tasks, queue, limit, now)

    def queues(self) -> list[QueueSettings]:
        with self._stroke():
            return reading.queues(self._tasks)

    def change_queues(self, changes: Sequence[tuple[str, QueueChange]]) -> list[QueueSettings]:
        with self._stroke():
            return changing.change_queues(self._tasks, changes)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for bell in self._bells:
                bell.ring()
            self._bells.clear()

    # ---- LeasingEngine

    def turn(self, settlements: Sequence[Settlement], want: Want | None) -> Turn:
        with self._stroke() as now:
            lost = settling.settle(self._tasks, self._totals, settlements, now)
            leased, next_due = ([], None) if want is None else leasing.lease(self._tasks, want, now)
            if self._tasks.freed:
                leasing.offer_freed(self._tasks, now)
            return Turn(now, lost, leased, next_due)

    def renew(self, leases: Sequence[Leased], until: int) -> tuple[list[Leased], list[Leased]]:
        with self._stroke():
            return leasing.renew(self._tasks, leases, until)

    def take_up(self, leases: Sequence[tuple[int, int]]) -> list[TakeUp]:
        with self._stroke() as now:
            return [leasing.take_up(self._tasks.rows.get(task_id), lease_id, now) for task_id, lease_id in leases]

    def stalled(self, limit: int = 100, *, queue: str | None = None) -> list[Leased]:
        with self._stroke() as now:
            return leasing.stalled(self._tasks, now, limit, queue)

    def requeue(self, ids: Sequence[int]) -> list[int]:
        with self._stroke() as now:
            return [row.id for row in self._tasks.existing(ids) if changing.requeue(self._tasks, row, now)]

    def wake(self, limit: int = 100, *, only: Parking | None = None) -> int:
        with self._stroke() as now:
            return changing.wake(self._tasks, only, limit, now)

    def counts(self, *, cap: int = COUNT_CAP) -> Counts:
        with self._stroke() as now:
            return reading.counts(self._tasks, now, cap)

    def totals(self, since: int, until: int) -> list[Total]:
        with self._stroke():
            return self._totals.between(since, until)

    def sweep(self, retention: Retention, *, limit: int = 1_000) -> Swept:
        with self._stroke() as now:
            return sweeping.sweep(self._tasks, self._totals, retention, limit, now)

    def records(self, kind: str, *, after: str | None = None, limit: int = 100) -> list[Record]:
        with self._stroke():
            return self._records.page(kind, after, limit)

    def change_records(self, changes: Sequence[RecordChange]) -> list[bool]:
        with self._stroke():
            return [self._records.change(change) for change in changes]

    def bell(self, holder: int) -> Bell:
        with self._stroke():
            bell = MemoryBell(self._forget_bell)
            self._bells.add(bell)
            return bell

    def _forget_bell(self, bell: MemoryBell) -> None:
        with self._lock:
            self._bells.discard(bell)
