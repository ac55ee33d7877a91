"""All rows, and every way that leads to one: by id, queue, name, time and state.

A row changes its state here and nowhere else, so that all the ways agree about it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import count

from deferq.engines.base import RING_AHEAD_US
from deferq.engines.memory.agenda import Agenda, Entry
from deferq.engines.memory.names import Names
from deferq.engines.memory.queue import Queue
from deferq.engines.memory.rows import Row, new_row
from deferq.model.state import State
from deferq.model.task import NewTask


class Tasks:
    """The tasks of one engine."""

    def __init__(self, tombstone_us: int) -> None:
        self.rows: dict[int, Row] = {}
        self.queues: dict[str, Queue] = {}
        self.names = Names(tombstone_us)
        #: When leases end.
        self.held = Agenda(self._holds)
        #: When pending tasks expire.
        self.expiring = Agenda(self._holds)
        #: Finished tasks in the order in which they finished.
        self.finished: dict[State, OrderedDict[int, Row]] = {state: OrderedDict() for state in State if state.finished}
        #: Whether the stroke made a task due, so that bells must ring at its end.
        self.ring = False
        #: Queues with a limited number of leases in which the stroke has ended one.
        self.freed: set[str] = set()
        #: Ids in ascending order; those of deleted tasks linger a while.
        self._ids: list[int] = []
        self._tickets = count(1)

    # ---- finding

    def existing(self, ids: Iterable[int]) -> Iterator[Row]:
        return (row for task_id in ids if (row := self.rows.get(task_id)))

    def newest_first(self, after: int | None) -> Iterator[Row]:
        """Rows by id, downwards from `after`."""
        end = len(self._ids) if after is None else bisect_left(self._ids, after)
        return self.existing(self._ids[at] for at in range(end - 1, -1, -1))

    def queue(self, name: str) -> Queue:
        """The queue, which is made if need be."""
        queue = self.queues.get(name)
        if queue is None:
            queue = self.queues[name] = Queue(name, self._holds)
        return queue

    def queue_of(self, row: Row) -> Queue:
        return self.queues[row.made.queue]

    # ---- what a task goes through

    def insert(self, task: NewTask, now: int) -> None:
        row = new_row(task)
        self.rows[row.id] = row
        if not self._ids or row.id > self._ids[-1]:
            self._ids.append(row.id)
        elif self._ids[bisect_left(self._ids, row.id)] != row.id:
            insort(self._ids, row.id)
        self.place(row, now)

    def place(self, row: Row, now: int) -> None:
        """Let a row be pending, due at its eta."""
        row.state = State.PENDING
        row.ticket = next(self._tickets)
        queue = self.queue(row.made.queue)
        queue.place(row, now)
        if row.expires_at is not None:
            self.expiring.add(Entry(row.expires_at, row.id, row.ticket))
        self.ring |= row.eta <= now + RING_AHEAD_US and not queue.paused

    def reschedule(self, row: Row, eta: int, now: int) -> None:
        """Let a pending task be due at `eta`."""
        self.queue_of(row).take_out(row)
        row.eta = eta
        self.place(row, now)

    def withdraw(self, row: Row, reason: str, now: int) -> None:
        """End a pending task."""
        self.queue_of(row).take_out(row)
        row.reason = reason
        self.finish(row, State.CANCELLED, now)

    def hold(self, row: Row, lease_id: int, until: int) -> None:
        """Lease a pending task."""
        queue = self.queue_of(row)
        queue.take_out(row)
        queue.leased += 1
        row.state = State.LEASED
        row.starts += 1
        row.lease_id = lease_id
        self.hold_until(row, until)

    def hold_until(self, row: Row, until: int) -> None:
        """Let a lease end at `until`."""
        row.leasable_at = until
        row.ticket = next(self._tickets)
        self.held.add(Entry(until, row.id, row.ticket))

    def finish(self, row: Row, state: State, now: int) -> None:
        """End a task that stands in no queue any more; its name stands as a tombstone."""
        row.state = state
        row.ticket = 0
        row.finished_at = now
        self.finished[state][row.id] = row
        self.names.bury(row, now)

    def delete(self, row: Row, now: int) -> None:
        """Forget a pending or finished task; its name stands as a tombstone."""
        if row.state is State.PENDING:
            self.queue_of(row).take_out(row)
            self.names.bury(row, now)
        else:
            del self.finished[row.state][row.id]
        del self.rows[row.id]
        if len(self._ids) > 2 * len(self.rows) + 1024:
            self._ids = [task_id for task_id in self._ids if task_id in self.rows]

    def _holds(self, entry: Entry) -> bool:
        row = self.rows.get(entry.task_id)
        return row is not None and row.ticket == entry.ticket
