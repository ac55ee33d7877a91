"""The pending tasks of one queue: what is due later in an agenda, what is due now in lanes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

from deferq.engines.base import QueueCounts, Want
from deferq.engines.memory.agenda import Agenda, Entry
from deferq.engines.memory.rows import Row, reading
from deferq.model.limits import NO_LIMITS
from deferq.model.settings import QueueSettings
from deferq.model.sharing import Slots
from deferq.model.standing import Bucket, Standing


class Lane(NamedTuple):
    """Which due tasks stand in line together."""

    priority: int
    route: str | None
    delivered: bool
    at_most_once: bool
    parked: bool

    def serves(self, want: Want) -> bool:
        """Whether a dispatcher that wants this may have its tasks."""
        return (want.delivers or not self.delivered) and (want.routes is None or self.route in want.routes)


class Queue:
    """The pending tasks of a queue, and how many are leased."""

    def __init__(self, name: str, holds: Callable[[Entry], bool]) -> None:
        self.name = name
        self.settings = QueueSettings(name=name)
        self.limits = NO_LIMITS
        self.leased = 0
        self._bucket = Bucket()
        self.pending: dict[int, Row] = {}
        self.parked: dict[int, Row] = {}
        self._readings: Counter[str] = Counter()
        self._holds = holds
        self._later = Agenda(holds)
        self._lanes: dict[Lane, Agenda] = {}

    @property
    def paused(self) -> bool:
        return self.settings.paused

    @property
    def pulled(self) -> bool:
        return self.settings.declared.pull

    def set_up(self, settings: QueueSettings) -> None:
        """Change what is known of the queue."""
        self.settings = settings
        self.limits = settings.limits or NO_LIMITS  # the very one says at a glance that nothing is limited

    def standing(self, now: int) -> Standing:
        """How it stands to its limits."""
        standing = Standing(self.limits, self._bucket, self.leased).corrected(now)
        self._bucket = standing.bucket
        return standing

    def took(self, count: int, now: int) -> int | None:
        """So many of its tasks were leased; returns when its rate lets the next ones start, if it holds them back."""
        standing = self.standing(now)._replace(held=self.leased - count).taken(count, now)
        self._bucket = standing.bucket
        return standing.due(now) if self.is_due(now) else None

    def could_go_on(self, now: int) -> bool:
        """Whether a task is due, and its limits let it start."""
        return not self.paused and self.is_due(now) and self.standing(now).allowance(now) > 0

    def first(self, now: int) -> Entry | None:
        """The due task that is offered first to whoever takes any; None: none is due."""
        self.promote(now)
        heads = [(-lane.priority, head) for lane, agenda in self._lanes.items() if (head := agenda.head())]
        return min(heads)[1] if heads else None

    def is_due(self, now: int) -> bool:
        """Whether one of its tasks is due."""
        self.promote(now)
        return bool(self._lanes)

    def place(self, row: Row, now: int) -> None:
        """Stand a pending row, with a fresh ticket, where its eta says."""
        row.leasable_at = row.eta
        row.reading = reading(row, now)
        self._readings[row.reading] += 1
        self.pending[row.id] = row
        if row.parks:
            self.parked[row.id] = row
        agenda = self._lane(row) if row.eta <= now else self._later
        agenda.add(Entry(row.eta, row.id, row.ticket))

    def take_out(self, row: Row) -> None:
        """Let a row be pending here no more."""
        self._readings[row.reading] -= 1
        del self.pending[row.id]
        self.parked.pop(row.id, None)
        row.ticket = 0

    def promote(self, now: int) -> None:
        """Move what has become due into its lane, and forget lanes that are empty."""
        for entry in self._later.due(now):
            row = self.pending[entry.task_id]
            self._readings[row.reading] -= 1
            row.reading = reading(row, now)
            self._readings[row.reading] += 1
            self._lane(row).add(entry)
        self._lanes = {lane: agenda for lane, agenda in self._lanes.items() if agenda.head()}

    def offer(self, want: Want, slots: Slots | None, now: int) -> Iterator[Row]:
        """Due tasks by priority, due time and id. What is drawn from here must be leased.

        A task of a single start takes one of `slots`; None: whoever draws takes one for each task.
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
            if lane.at_most_once and slots is not None and not slots.take():
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
        """When the first of those that are due later is due."""
        head = self._later.head()
        return head.at if head else None

    def counts(self, cap: int, now: int) -> QueueCounts:
        """How many tasks stand where, no count above `cap`."""
        self.promote(now)
        return QueueCounts(
            queue=self.name,
            paused=self.paused,
            ready=min(cap, self._readings["ready"]),
            scheduled=min(cap, self._readings["scheduled"]),
            retrying=min(cap, self._readings["retrying"]),
            parked=min(cap, self._readings["parked"]),
            leased=min(cap, self.leased),
            oldest_ready=self._oldest_ready(),
        )

    def _oldest_ready(self) -> int | None:
        heads = (agenda.head() for lane, agenda in self._lanes.items() if not lane.parked)
        return min((head.at for head in heads if head), default=None)

    def _lane(self, row: Row) -> Agenda:
        made = row.made
        lane = Lane(made.priority, made.route, made.url is not None, made.at_most_once, row.parks > 0)
        agenda = self._lanes.get(lane)
        if agenda is None:
            agenda = self._lanes[lane] = Agenda(self._holds)
        return agenda
