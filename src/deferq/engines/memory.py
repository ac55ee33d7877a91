"""Tasks in the memory of this process: for tests, and for applications that may forget.

A real engine: it passes the same conformance suite as the others and knows no short cut. Every method is one *stroke*:
it holds the one lock, reads the clock once and rings the bells at its end.

How a lease stays cheap: a queue keeps what is due later in one agenda (a heap by time). What has become due moves into
*lanes*, one agenda for each priority and kind of task, so that a turn looks at the heads of lanes and at nothing else.
Nothing is ever searched in an agenda: a row carries a ticket that changes whenever the row moves, and entries with an
older ticket are dropped when they surface, or when they may be half of all.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left, insort
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from itertools import chain, count, islice
from typing import NamedTuple, assert_never

from deferq.engines.base import (
    COUNT_CAP,
    RING_AHEAD_US,
    Bell,
    Cancel,
    Change,
    Clash,
    Clock,
    Counts,
    Delete,
    Details,
    Existing,
    Filter,
    LeasingEngine,
    Page,
    PutAnswer,
    QueueCounts,
    Record,
    RecordChange,
    Reschedule,
    Retention,
    Settlement,
    Stored,
    Swept,
    Tombstoned,
    Total,
    Turn,
    Want,
)
from deferq.errors import ForkedEngineError, PayloadTooLargeError, StoreUnavailable, TaskNotFound
from deferq.model.queue import QueueSettings
from deferq.model.task import Failure, Leased, NewTask, State, Task, decode_options
from deferq.model.transitions import RULES, US

PAYLOAD_LIMIT = 16 * 1024 * 1024
TOMBSTONE_S = 24 * 3600
FAILURES_KEPT = 20
MINUTE_US = 60 * US


@dataclass(slots=True)
class _Row:
    """A stored task: what was put, and what has happened to it since."""

    made: NewTask
    eta: int
    leasable_at: int
    first_due: int
    name: str | None
    expires_at: int | None
    state: State = State.PENDING
    attempts: int = 0
    starts: int = 0
    parks: int = 0
    #: The last lease; it stays after the settlement, so that a repeated one is recognised.
    lease_id: int | None = None
    cancel_requested: bool = False
    finished_at: int | None = None
    reason: str | None = None
    result: bytes | None = None
    failures: tuple[Failure, ...] = ()
    #: The one valid entry in an agenda has this number; 0: none has.
    ticket: int = 0
    #: As which it is counted while pending.
    reading: str = ""

    @property
    def id(self) -> int:
        return self.made.id


class _Entry(NamedTuple):
    """When to look at a task."""

    at: int
    task_id: int
    ticket: int


class _Agenda:
    """Entries by time, then id. Those that no longer hold are dropped on the way."""

    TIDY_MIN = 64

    def __init__(self, holds: Callable[[_Entry], bool]) -> None:
        self._holds = holds
        self._entries: list[_Entry] = []
        self._tidy_at = self.TIDY_MIN

    def add(self, entry: _Entry) -> None:
        heappush(self._entries, entry)
        if len(self._entries) >= self._tidy_at:
            self._tidy()

    def head(self) -> _Entry | None:
        """The first entry that holds."""
        while self._entries and not self._holds(self._entries[0]):
            heappop(self._entries)
        return self._entries[0] if self._entries else None

    def pop(self) -> _Entry:
        """Remove the entry that `head` has just shown."""
        return heappop(self._entries)

    def due(self, now: int) -> Iterator[_Entry]:
        """Remove the entries up to `now`, one by one."""
        while (entry := self.head()) is not None and entry.at <= now:
            yield self.pop()

    def _tidy(self) -> None:
        self._entries = [entry for entry in self._entries if self._holds(entry)]
        heapify(self._entries)
        self._tidy_at = max(self.TIDY_MIN, 2 * len(self._entries))


class _Lane(NamedTuple):
    """Which due tasks stand in line together."""

    priority: int
    route: str | None
    delivered: bool
    at_most_once: bool
    parked: bool

    def serves(self, want: Want) -> bool:
        """Whether a dispatcher that wants this may have its tasks. None can deliver to an url yet."""
        return not self.delivered and (want.route is None or self.route is None or self.route == want.route)


class _Queue:
    """The pending tasks of a queue, and how many are leased."""

    def __init__(self, name: str, holds: Callable[[_Entry], bool]) -> None:
        self.name = name
        self.paused = False
        self.leased = 0
        self.pending: dict[int, _Row] = {}
        self.parked: dict[int, _Row] = {}
        self.readings: Counter[str] = Counter()
        self._holds = holds
        self._later = _Agenda(holds)
        self._lanes: dict[_Lane, _Agenda] = {}

    def place(self, row: _Row, now: int) -> None:
        """Stand a pending row, with a fresh ticket, where its eta says."""
        row.leasable_at = row.eta
        row.reading = _reading(row, now)
        self.readings[row.reading] += 1
        self.pending[row.id] = row
        if row.parks:
            self.parked[row.id] = row
        agenda = self._lane(row) if row.eta <= now else self._later
        agenda.add(_Entry(row.eta, row.id, row.ticket))

    def take_out(self, row: _Row) -> None:
        self.readings[row.reading] -= 1
        del self.pending[row.id]
        self.parked.pop(row.id, None)
        row.ticket = 0

    def promote(self, now: int) -> None:
        """Move what has become due into its lane, and forget lanes that are empty."""
        for entry in self._later.due(now):
            row = self.pending[entry.task_id]
            self.readings[row.reading] -= 1
            row.reading = _reading(row, now)
            self.readings[row.reading] += 1
            self._lane(row).add(entry)
        self._lanes = {lane: agenda for lane, agenda in self._lanes.items() if agenda.head()}

    def offer(self, want: Want, permits: Iterator[int], now: int) -> Iterator[_Row]:
        """Due tasks by priority, due time and id. What is drawn from here must be leased.

        `permits` has one item for each task of a single start that may still be drawn.
        """
        self.promote(now)
        heads = [
            (-lane.priority, head, lane)
            for lane, agenda in self._lanes.items()
            if lane.serves(want) and (head := agenda.head())
        ]
        heapify(heads)
        while heads:
            _, entry, lane = heads[0]
            if lane.at_most_once and next(permits, None) is None:
                heappop(heads)
                continue
            agenda = self._lanes[lane]
            agenda.pop()
            yield self.pending[entry.task_id]
            if head := agenda.head():
                heapreplace(heads, (-lane.priority, head, lane))
            else:
                heappop(heads)

    def next_due(self) -> int | None:
        head = self._later.head()
        return head.at if head else None

    def oldest_ready(self) -> int | None:
        heads = (agenda.head() for lane, agenda in self._lanes.items() if not lane.parked)
        return min((head.at for head in heads if head), default=None)

    def _lane(self, row: _Row) -> _Agenda:
        made = row.made
        lane = _Lane(made.priority, made.route, made.url is not None, made.at_most_once, row.parks > 0)
        agenda = self._lanes.get(lane)
        if agenda is None:
            agenda = self._lanes[lane] = _Agenda(self._holds)
        return agenda


class _Name(NamedTuple):
    """Who has a name, or had it."""

    task_id: int
    #: None: a live task has it; else a tombstone that stands until then.
    until: int | None

    def free(self, now: int) -> bool:
        return self.until is not None and self.until <= now


class _MemoryBell:
    """A lock that is held while all is quiet: ringing releases it, waiting takes it back.

    A bare lock, because unlike Event or Condition it can be released in a signal handler of the thread that waits.
    """

    def __init__(self, forget: Callable[[_MemoryBell], None]) -> None:
        self._forget = forget
        self._quiet = threading.Lock()
        self._quiet.acquire()

    def wait(self, timeout_s: float) -> bool:
        return self._quiet.acquire(timeout=min(max(0.0, timeout_s), threading.TIMEOUT_MAX))

    def ring(self) -> None:
        with suppress(RuntimeError):  # it has been rung already
            self._quiet.release()

    def close(self) -> None:
        self._forget(self)


class MemoryEngine(LeasingEngine):
    """Tasks in this process's memory. They end with it; nobody else sees them."""

    def __init__(
        self, *, clock: Clock | None = None, payload_limit: int = PAYLOAD_LIMIT, tombstone_s: float = TOMBSTONE_S
    ) -> None:
        self.url = "memory://"
        self.payload_limit = payload_limit
        self._tombstone_us = int(tombstone_s * US)
        self._clock = clock or _system_clock
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._tickets = count(1)
        self._rows: dict[int, _Row] = {}
        #: Ids in ascending order; those of deleted tasks linger a while.
        self._ids: list[int] = []
        self._queues: dict[str, _Queue] = {}
        self._held = _Agenda(self._holds)
        self._expiring = _Agenda(self._holds)
        #: Finished tasks in the order in which they finished.
        self._finished: dict[State, OrderedDict[int, _Row]] = {
            state: OrderedDict() for state in State if state.finished
        }
        self._names: dict[tuple[str, str], _Name] = {}
        self._tombstones: deque[tuple[int, tuple[str, str]]] = deque()
        self._groups: deque[Total] = deque()
        self._minutes: OrderedDict[tuple[int, str, str], Total] = OrderedDict()
        self._records: dict[str, dict[str, Record]] = {}
        self._bells: set[_MemoryBell] = set()
        self._ring = False

    # ---- Engine

    def now(self) -> int:
        return self._clock()

    def put(self, tasks: Sequence[NewTask]) -> list[PutAnswer]:
        for task in tasks:
            self._check_size(task)
        with self._stroke() as now:
            return [self._put(task, now) for task in tasks]

    def get(self, ids: Sequence[int]) -> list[Task]:
        with self._stroke():
            return [_task(row) for row in self._existing(ids)]

    def details(self, task_id: int) -> Details:
        with self._stroke():
            row = self._rows.get(task_id)
            if row is None:
                raise TaskNotFound(f"There is no task {task_id}; perhaps its retention is over.")
            return Details(payload=row.made.payload, result=row.result, failures=row.failures)

    def find(self, where: Filter, *, after: int | None = None, limit: int = 100) -> Page:
        with self._stroke():
            end = len(self._ids) if after is None else bisect_left(self._ids, after)
            newest_first = (self._ids[at] for at in range(end - 1, -1, -1))
            matching = (row for row in self._existing(newest_first) if _matches(row, where))
            rows = list(islice(matching, limit + 1))
            more = len(rows) > limit
            return Page([_task(row) for row in rows[:limit]], rows[limit - 1].id if more else None)

    def change(self, ids: Sequence[int], change: Change) -> list[int]:
        with self._stroke() as now:
            return [row.id for row in self._existing(ids) if self._change(row, change, now)]

    def purge(self, queue: str, limit: int = 10_000) -> int:
        with self._stroke() as now:
            if queue not in self._queues:
                return 0
            rows = list(islice(self._queues[queue].pending.values(), limit))
            for row in rows:
                self._delete(row, now)
            return len(rows)

    def queues(self) -> list[QueueSettings]:
        with self._stroke():
            return [QueueSettings(name=name, paused=self._queues[name].paused) for name in sorted(self._queues)]

    def set_queue(self, name: str, *, paused: bool) -> None:
        with self._stroke():
            queue = self._queue(name)
            # Also for what is due later: dispatchers did not reckon with it while the queue was paused.
            self._ring |= queue.paused and not paused and bool(queue.pending)
            queue.paused = paused

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for bell in self._bells:
                bell.ring()
            self._bells.clear()

    # ---- LeasingEngine

    def turn(self, settlements: Sequence[Settlement], want: Want | None) -> Turn:
        with self._stroke() as now:
            lost = self._settle_all(settlements, now)
            if want is None:
                return Turn(now, lost, [], None)
            queues = self._wanted(want)
            leased = self._lease(queues, want, now)
            satisfied = len(leased) >= want.free + want.ahead
            return Turn(now, lost, leased, None if satisfied else _earliest(queue.next_due() for queue in queues))

    def renew(self, leases: Sequence[Leased], until: int) -> tuple[list[Leased], list[Leased]]:
        with self._stroke():
            lost, to_cancel = [], []
            for lease in leases:
                row = self._rows.get(lease.id)
                if row is None or row.state is not State.LEASED or row.lease_id != lease.lease_id:
                    lost.append(lease)
                    continue
                self._hold_until(row, until)
                if row.cancel_requested:
                    to_cancel.append(lease)
            return lost, to_cancel

    def stalled(self, limit: int = 100) -> list[Leased]:
        with self._stroke() as now:
            entries = list(islice(self._held.due(now), limit))
            for entry in entries:
                self._held.add(entry)
            return [_leased(self._rows[entry.task_id]) for entry in entries]

    def requeue(self, ids: Sequence[int]) -> list[int]:
        with self._stroke() as now:
            return [row.id for row in self._existing(ids) if self._requeue(row, now)]

    def wake(self, limit: int = 100) -> int:
        with self._stroke() as now:
            parked = chain.from_iterable(queue.parked.values() for queue in self._queues.values())
            rows = list(islice((row for row in parked if row.eta > now), limit))
            for row in rows:
                self._reschedule(row, now, now)
            return len(rows)

    def counts(self, *, cap: int = COUNT_CAP) -> Counts:
        with self._stroke() as now:
            return Counts(
                now=now,
                queues=tuple(_queue_counts(self._queues[name], cap, now) for name in sorted(self._queues)),
                succeeded=min(cap, len(self._finished[State.SUCCEEDED])),
                dead=min(cap, len(self._finished[State.DEAD])),
                cancelled=min(cap, len(self._finished[State.CANCELLED])),
                cap=cap,
            )

    def totals(self, since: int, until: int) -> list[Total]:
        with self._stroke():
            return sorted(total for total in chain(self._minutes.values(), self._groups) if since <= total.at < until)

    def sweep(self, retention: Retention, *, limit: int = 1_000) -> Swept:
        with self._stroke() as now:
            expired = self._expire(now, limit)
            purged = self._purge_finished(retention, now, limit)
            tombstones = self._drop_tombstones(now, limit)
            folded = self._fold_totals(now, limit)
            self._drop_totals(now - int(retention.totals_s * US))
            return Swept(expired, purged, tombstones, folded, more=limit in (expired, purged, tombstones, folded))

    def records(self, kind: str, *, after: str | None = None, limit: int = 100) -> list[Record]:
        with self._stroke():
            stored = self._records.get(kind, {})
            keys = sorted(key for key in stored if after is None or key > after)
            return [stored[key] for key in keys[:limit]]

    def change_records(self, changes: Sequence[RecordChange]) -> list[bool]:
        with self._stroke():
            return [self._change_record(change) for change in changes]

    def bell(self) -> Bell:
        with self._stroke():
            bell = _MemoryBell(self._forget_bell)
            self._bells.add(bell)
            return bell

    # ---- a stroke

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
            if self._ring:
                self._ring = False
                for bell in self._bells:
                    bell.ring()

    def _forget_bell(self, bell: _MemoryBell) -> None:
        with self._lock:
            self._bells.discard(bell)

    def _existing(self, ids: Sequence[int] | Iterator[int]) -> Iterator[_Row]:
        return (row for task_id in ids if (row := self._rows.get(task_id)))

    def _holds(self, entry: _Entry) -> bool:
        row = self._rows.get(entry.task_id)
        return row is not None and row.ticket == entry.ticket

    def _queue(self, name: str) -> _Queue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue(name, self._holds)
        return queue

    # ---- putting

    def _check_size(self, task: NewTask) -> None:
        size = len(task.payload)
        if size > self.payload_limit:
            raise PayloadTooLargeError(
                f"The arguments of {task.target} take {size} bytes, and this engine stores at most"
                f" {self.payload_limit}. Store them elsewhere and pass a reference, or raise the limit.",
                size=size,
                limit=self.payload_limit,
            )

    def _put(self, task: NewTask, now: int) -> PutAnswer:
        known = self._rows.get(task.id)
        if known is not None:
            # The envelope binds id, target and arguments: the same envelope is the same task, put once more.
            return Stored(task.id) if known.made.payload == task.payload else Clash(task.id)
        answer = Stored(task.id) if task.name is None else self._claim(task, task.name, now)
        if isinstance(answer, Stored):
            self._insert(task, now)
        return answer

    def _insert(self, task: NewTask, now: int) -> None:
        row = _Row(
            made=task,
            eta=task.eta,
            leasable_at=task.eta,
            first_due=task.eta,
            name=task.name,
            expires_at=task.expires_at,
        )
        self._rows[row.id] = row
        if not self._ids or row.id > self._ids[-1]:
            self._ids.append(row.id)
        elif self._ids[bisect_left(self._ids, row.id)] != row.id:
            insort(self._ids, row.id)
        self._place(row, now)

    def _place(self, row: _Row, now: int) -> None:
        """Let a row be pending, due at its eta."""
        row.state = State.PENDING
        row.ticket = next(self._tickets)
        queue = self._queue(row.made.queue)
        queue.place(row, now)
        if row.expires_at is not None:
            self._expiring.add(_Entry(row.expires_at, row.id, row.ticket))
        self._ring |= row.eta <= now + RING_AHEAD_US and not queue.paused

    # ---- names

    def _claim(self, task: NewTask, name: str, now: int) -> Stored | Existing | Tombstoned:
        """Give the task its name, or say who has it."""
        key = (task.queue, name)
        taken = self._names.get(key)
        replaced = None
        if taken is not None and not taken.free(now):
            if task.if_exists == "replace":
                replaced = self._displace(taken, now)
            elif taken.until is None:
                return Existing(taken.task_id)
            else:
                return Tombstoned(taken.task_id, taken.until)
        self._names[key] = _Name(task.id, None)
        return Stored(task.id, replaced)

    def _displace(self, taken: _Name, now: int) -> int | None:
        """Take the name from whoever has it; returns the pending task that this cancelled."""
        if taken.until is not None:
            return None
        row = self._rows[taken.task_id]
        row.name = None
        if row.state is State.LEASED:
            return None
        self._withdraw(row, "replaced", now)
        return row.id

    def _bury_name(self, row: _Row, now: int) -> None:
        """Let the name of a task that has ended stand as a tombstone."""
        if row.name is None:
            return
        key = (row.made.queue, row.name)
        if self._names.get(key) == _Name(row.id, None):
            until = now + self._tombstone_us
            self._names[key] = _Name(row.id, until)
            self._tombstones.append((until, key))

    def _take_name_back(self, row: _Row, now: int) -> None:
        if row.name is None:
            return
        key = (row.made.queue, row.name)
        taken = self._names.get(key)
        if taken is None or taken.task_id == row.id or taken.free(now):
            self._names[key] = _Name(row.id, None)
        else:
            row.name = None

    # ---- changing

    def _change(self, row: _Row, change: Change, now: int) -> bool:
        """Whether the change fitted the row, and was made."""
        match change:
            case Cancel():
                return self._cancel(row, change.reason, now)
            case Reschedule():
                if row.state is not State.PENDING:
                    return False
                if row.attempts == 0:
                    row.first_due = change.eta
                self._reschedule(row, change.eta, now)
            case Delete():
                if row.state is State.LEASED:
                    return False
                self._delete(row, now)
            case _:
                assert_never(change)
        return True

    def _cancel(self, row: _Row, reason: str, now: int) -> bool:
        if row.state is State.LEASED:
            row.cancel_requested = True
        elif row.state is State.PENDING:
            self._withdraw(row, reason, now)
        else:
            return False
        return True

    def _reschedule(self, row: _Row, eta: int, now: int) -> None:
        self._queue(row.made.queue).take_out(row)
        row.eta = eta
        self._place(row, now)

    def _withdraw(self, row: _Row, reason: str, now: int) -> None:
        """End a pending task."""
        self._queue(row.made.queue).take_out(row)
        row.reason = reason
        self._finish(row, State.CANCELLED, now)

    def _finish(self, row: _Row, state: State, now: int) -> None:
        row.state = state
        row.ticket = 0
        row.finished_at = now
        self._finished[state][row.id] = row
        self._bury_name(row, now)

    def _delete(self, row: _Row, now: int) -> None:
        """Forget a pending or finished task; its name stands as a tombstone."""
        if row.state is State.PENDING:
            self._queue(row.made.queue).take_out(row)
            self._bury_name(row, now)
        else:
            del self._finished[row.state][row.id]
        del self._rows[row.id]
        if len(self._ids) > 2 * len(self._rows) + 1024:
            self._ids = [task_id for task_id in self._ids if task_id in self._rows]

    def _requeue(self, row: _Row, now: int) -> bool:
        if row.state not in (State.DEAD, State.CANCELLED):
            return False
        del self._finished[row.state][row.id]
        row.eta = row.first_due = now
        row.attempts = row.parks = 0
        row.finished_at = row.result = None
        row.reason = "requeued"
        # A person wants it to run: neither an expiry that has passed nor an old request may end it again.
        row.cancel_requested = False
        if row.expires_at is not None and row.expires_at <= now:
            row.expires_at = None
        self._take_name_back(row, now)
        self._place(row, now)
        return True

    # ---- settling

    def _settle_all(self, settlements: Sequence[Settlement], now: int) -> tuple[Leased, ...]:
        """Settle a group; returns the leases that were lost."""
        lost = []
        group: dict[tuple[str, str], Total] = {}
        for settlement in settlements:
            row = self._rows.get(settlement.task.id)
            if row is None or row.lease_id != settlement.task.lease_id:
                lost.append(settlement.task)
            elif row.state is State.LEASED and not (settlement.only_if_over and row.leasable_at > now):
                self._settle(row, settlement, now)
                _add_attempt(group, row, settlement, now)
            elif (row.state, row.attempts) != (settlement.transition.state, settlement.transition.attempts):
                lost.append(settlement.task)  # its end had passed, and somebody buried it under this very lease
        self._groups.extend(group.values())
        return tuple(lost)

    def _settle(self, row: _Row, settlement: Settlement, now: int) -> None:
        transition = settlement.transition
        self._queue(row.made.queue).leased -= 1
        row.attempts, row.parks, row.reason = transition.attempts, transition.parks, transition.reason
        row.starts -= not transition.started
        row.result = settlement.result
        if settlement.failure is not None:
            row.failures = (*row.failures, settlement.failure)[-FAILURES_KEPT:]
        if transition.state.finished:
            self._finish(row, transition.state, now)
        else:
            row.eta = transition.eta
            self._place(row, now)
        for task in settlement.then:
            self._put(task, now)

    # ---- leasing

    def _wanted(self, want: Want) -> list[_Queue]:
        """The queues that may have work, from the one whose turn it is to be first."""
        names = self._queues.keys() if want.queues is None else self._queues.keys() & set(want.queues)
        queues = [queue for name in sorted(names) if not (queue := self._queues[name]).paused and queue.pending]
        start = want.rotation % len(queues) if queues else 0
        return queues[start:] + queues[:start]

    def _lease(self, queues: Sequence[_Queue], want: Want, now: int) -> list[Leased]:
        """Equal shares for all that have work, and again of what some left over."""
        permits = iter(range(want.free))
        lines = [queue.offer(want, permits, now) for queue in queues]
        room = want.free + want.ahead
        rows: list[_Row] = []
        while room and lines:
            share = max(1, room // len(lines))
            hungry = []
            for line in lines:
                taken = [self._hold(row, want, now) for row in islice(line, min(share, room))]
                rows += taken
                room -= len(taken)
                if len(taken) == share:
                    hungry.append(line)
            lines = hungry
        # The free slots are for those in front, and tasks of a single start may have no other.
        rows.sort(key=lambda row: not row.made.at_most_once)
        return [_leased(row) for row in rows]

    def _hold(self, row: _Row, want: Want, now: int) -> _Row:
        queue = self._queue(row.made.queue)
        queue.take_out(row)
        queue.leased += 1
        row.state = State.LEASED
        row.starts += 1
        row.lease_id = want.lease_id
        self._hold_until(row, now + want.lease_us)
        return row

    def _hold_until(self, row: _Row, until: int) -> None:
        row.leasable_at = until
        row.ticket = next(self._tickets)
        self._held.add(_Entry(until, row.id, row.ticket))

    # ---- upkeep

    def _expire(self, now: int, limit: int) -> int:
        entries = list(islice(self._expiring.due(now), limit))
        for entry in entries:
            self._withdraw(self._rows[entry.task_id], "expired", now)
        return len(entries)

    def _purge_finished(self, retention: Retention, now: int, limit: int) -> int:
        rules = (
            (State.SUCCEEDED, retention.succeeded_s, retention.succeeded_max),
            (State.CANCELLED, retention.cancelled_s, None),
            (State.DEAD, retention.dead_s, None),
        )
        purged = 0
        for state, keep_s, keep_max in rules:
            over = self._past_retention(state, now - int(keep_s * US), keep_max)
            for row in islice(over, limit - purged):
                self._delete(row, now)
                purged += 1
        return purged

    def _past_retention(self, state: State, before: int, keep_max: int | None) -> Iterator[_Row]:
        """Finished tasks to delete, the oldest first. What is drawn from here must be deleted."""
        finished = self._finished[state]
        while finished:
            row = next(iter(finished.values()))
            too_many = keep_max is not None and len(finished) > keep_max
            if not too_many and (row.finished_at or 0) > before:
                return
            yield row

    def _drop_tombstones(self, now: int, limit: int) -> int:
        dropped = 0
        while self._tombstones and self._tombstones[0][0] <= now and dropped < limit:
            _, key = self._tombstones.popleft()
            taken = self._names.get(key)
            if taken is not None and taken.free(now):
                del self._names[key]
                dropped += 1
        return dropped

    def _fold_totals(self, now: int, limit: int) -> int:
        """Fold groups of minutes that are over into one row a minute."""
        this_minute = now - now % MINUTE_US
        folded = 0
        while self._groups and self._groups[0].at < this_minute and folded < limit:
            group = self._groups.popleft()
            minute = group._replace(at=group.at - group.at % MINUTE_US)
            key = (minute.at, minute.queue, minute.target)
            self._minutes[key] = _sum(self._minutes.get(key), minute)
            folded += 1
        return folded

    def _drop_totals(self, before: int) -> None:
        while self._minutes and next(iter(self._minutes))[0] < before:
            self._minutes.popitem(last=False)

    # ---- records

    def _change_record(self, change: RecordChange) -> bool:
        stored = self._records.setdefault(change.kind, {})
        known = stored.get(change.key)
        if change.expected != (known.version if known else 0):
            return False
        if change.document is None:
            stored.pop(change.key, None)
        else:
            stored[change.key] = Record(change.kind, change.key, change.expected + 1, change.due, change.document)
        return True


def _system_clock() -> int:
    return time.time_ns() // 1_000


def _earliest(times: Iterator[int | None]) -> int | None:
    return min((at for at in times if at is not None), default=None)


def _reading(row: _Row, now: int) -> str:
    """As which a pending row is counted; the same as `Task.reading` says."""
    if row.parks:
        return "parked"
    if row.eta <= now:
        return "ready"
    return "retrying" if row.attempts else "scheduled"


def _matches(row: _Row, where: Filter) -> bool:
    return (
        (where.queue is None or row.made.queue == where.queue)
        and (where.state is None or row.state is where.state)
        and (where.target is None or row.made.target == where.target)
        and (where.name is None or row.name == where.name)
    )


def _queue_counts(queue: _Queue, cap: int, now: int) -> QueueCounts:
    queue.promote(now)
    return QueueCounts(
        queue=queue.name,
        paused=queue.paused,
        ready=min(cap, queue.readings["ready"]),
        scheduled=min(cap, queue.readings["scheduled"]),
        retrying=min(cap, queue.readings["retrying"]),
        parked=min(cap, queue.readings["parked"]),
        leased=min(cap, queue.leased),
        oldest_ready=queue.oldest_ready(),
    )


def _add_attempt(group: dict[tuple[str, str], Total], row: _Row, settlement: Settlement, now: int) -> None:
    """Count an attempt in its group; what never started is none."""
    transition = settlement.transition
    if not transition.started:
        return
    failed = RULES[transition.rule].spends and transition.state is not State.SUCCEEDED
    key = (row.made.queue, row.made.target)
    one = Total(now, *key, 1, int(failed), settlement.duration_us, settlement.duration_us)
    group[key] = _sum(group.get(key), one)


def _sum(left: Total | None, right: Total) -> Total:
    if left is None:
        return right
    return left._replace(
        attempts=left.attempts + right.attempts,
        failures=left.failures + right.failures,
        duration_us=left.duration_us + right.duration_us,
        duration_us_max=max(left.duration_us_max, right.duration_us_max),
    )


def _task(row: _Row) -> Task:
    made = row.made
    return Task(
        id=row.id,
        queue=made.queue,
        target=made.target,
        state=row.state,
        priority=made.priority,
        eta=row.eta,
        leasable_at=row.leasable_at,
        first_due=row.first_due,
        attempts=row.attempts,
        starts=row.starts,
        parks=row.parks,
        expires_at=row.expires_at,
        name=row.name,
        route=made.route,
        url=made.url,
        options=decode_options(made.options),
        lease_id=row.lease_id,
        cancel_requested=row.cancel_requested,
        finished_at=row.finished_at,
        reason=row.reason,
        payload_bytes=len(made.payload),
    )


def _leased(row: _Row) -> Leased:
    """A row in a dispatcher's hand. Only leased rows come here."""
    made = row.made
    assert row.lease_id is not None
    return Leased(
        id=row.id,
        queue=made.queue,
        target=made.target,
        priority=made.priority,
        eta=row.eta,
        attempts=row.attempts,
        starts=row.starts,
        parks=row.parks,
        expires_at=row.expires_at,
        name=row.name,
        route=made.route,
        url=made.url,
        options=made.options,
        payload=made.payload,
        first_due=row.first_due,
        lease_id=row.lease_id,
        leased_until=row.leasable_at,
        cancel_requested=row.cancel_requested,
    )
