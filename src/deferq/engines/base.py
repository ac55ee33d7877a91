"""The two ports behind which tasks are stored.

`Engine` is what every place that holds tasks can do. `LeasingEngine` adds what a worker needs where nobody else pushes.
Methods take and return batches. An engine stores transitions; `deferq.model.transitions.decide` makes them.
Times are microseconds since the epoch, UTC. An engine reads them from the clock it was given.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from deferq.engines.answers import PutAnswer, TakeUp
from deferq.errors import PayloadTooLargeError
from deferq.model.settings import QueueChange, QueueSettings
from deferq.model.state import State
from deferq.model.task import Failure, Leased, NewTask, Task
from deferq.model.transitions import RULES, US, Transition

if TYPE_CHECKING:
    from deferq.engines.within import Within

Clock = Callable[[], int]

#: Largest payload in bytes, unless an engine is told otherwise.
PAYLOAD_LIMIT = 16 * 1024 * 1024
#: How long the name of a finished task stays taken, unless an engine is told otherwise.
TOMBSTONE_S = 24 * 3600.0
#: So many failed attempts of a task are kept, the latest.
FAILURES_KEPT = 20
COUNT_CAP = 10_000
#: Totals of past groups are folded into one for each of these.
MINUTE_US = 60 * US
#: Bells ring for what is due within this time: a dispatcher that polls less often must learn of it beforehand.
RING_AHEAD_US = 2_000_000


def system_clock() -> int:
    """The time of this machine: the clock of an engine that was given no other."""
    return time.time_ns() // 1_000


def payload_too_large(size: int, limit: int) -> PayloadTooLargeError:
    """What `put` raises before it stores anything: this is the caller's own mistake, not a clash."""
    return PayloadTooLargeError(
        f"payload: {size:,} bytes, and at most {limit:,} can be stored. Keep the data elsewhere and pass its key.",
        size=size,
        limit=limit,
    )


def check_sizes(tasks: Sequence[NewTask], limit: int) -> None:
    """Raise PayloadTooLargeError for a payload, or a spill, of more than `limit` bytes."""
    for task in tasks:
        size = len(task.payload) if task.spill is None else max(len(task.payload), len(task.spill))
        if size > limit:
            raise payload_too_large(size, limit)


# ---- leasing and settling


class Want(NamedTuple):
    """What a dispatcher asks a turn for."""

    #: Slots that would start a task at once. Tasks of a single start, and those of limited queues, are leased for these
    #: alone, and stand in front.
    free: int
    #: How many more to lease ahead.
    ahead: int
    #: The id of this lease; see `new_lease_id`.
    lease_id: int
    #: How long the lease lasts.
    lease_us: int
    #: Queues to serve; None: all.
    queues: tuple[str, ...] | None = None
    #: Routes to serve, None among them for tasks without one; None: every task.
    routes: tuple[str | None, ...] | None = None
    #: Which queue is served first, so that each comes first in turn.
    rotation: int = 0
    #: One task that is found at once will do: whoever asks is idle, and takes another turn right after.
    hurry: bool = False
    #: Whether tasks with an url are wanted too, to be delivered; else they are left to others.
    delivers: bool = False
    #: Whether the tasks of pull queues are wanted, and no others; else they are left to whoever pulls.
    pulls: bool = False


class Settlement(NamedTuple):
    """The end of one lease, as decided."""

    task: Leased
    transition: Transition
    #: How long user code ran.
    duration_us: int = 0
    #: The signed result, if there is one.
    result: bytes | None = None
    #: What to keep of an attempt that did not succeed.
    failure: Failure | None = None
    #: Stored in the same stroke, unless the lease was lost.
    then: tuple[NewTask, ...] = ()
    #: Somebody else's lease is buried: it counts as lost if its holder has renewed it meanwhile. An engine that knows
    #: the holder to be dead takes the lease for over.
    only_if_over: bool = False

    @property
    def is_attempt(self) -> bool:
        """Whether it counts in the totals: what never started is no attempt."""
        return self.transition.started

    @property
    def failed(self) -> bool:
        """Whether the totals count it as a failure: an attempt was spent, and for nothing."""
        return RULES[self.transition.rule].spends and self.transition.state is not State.SUCCEEDED


class Turn(NamedTuple):
    """What a turn came to."""

    #: The engine's time.
    now: int
    #: Settlements whose lease somebody else holds now; they changed nothing.
    lost: tuple[Leased, ...]
    leased: list[Leased]
    #: When the next task of the wanted queues is due, or its queue's rate lets it start, if fewer were leased than
    #: wanted; None: none is known.
    next_due: int | None


# ---- reading and changing


class Filter(NamedTuple):
    """Which tasks `find` shows; None: any."""

    queue: str | None = None
    state: State | None = None
    #: Exact target.
    target: str | None = None
    name: str | None = None


class Parking(NamedTuple):
    """Which parked tasks `wake` wakes."""

    #: Why they are parked.
    reason: str
    #: As in a Want: those of these queues; None: all.
    queues: tuple[str, ...] | None = None
    #: As in a Want: those of these routes; None: every task.
    routes: tuple[str | None, ...] | None = None
    #: As in a Want: whether those with an url are meant, too.
    delivers: bool = False


class Page(NamedTuple):
    """Tasks by id, newest first."""

    tasks: list[Task]
    #: Pass it as `after` for the next page; None: this was the last one.
    next_after: int | None


class Cancel(NamedTuple):
    """Pending: cancelled at once. Leased: the request is stored, and its holder learns of it at renewal."""

    reason: str = "cancelled"


class Reschedule(NamedTuple):
    """Pending: due at `eta` instead."""

    eta: int


class Delete(NamedTuple):
    """Finished or pending: the row goes, history and all. A name stays taken as a tombstone."""


Change = Cancel | Reschedule | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What a person or a waiting caller wants to see of one task beside its columns."""

    payload: bytes | None
    result: bytes | None
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """How many tasks of a queue stand where. Counts stop at the cap."""

    queue: str
    paused: bool
    ready: int
    #: Due later, for the first time.
    scheduled: int
    retrying: int
    parked: int
    leased: int
    #: When the oldest ready task was due; None: none is ready.
    oldest_ready: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of everything stored, each stopping at `cap`."""

    now: int
    queues: tuple[QueueCounts, ...]
    succeeded: int
    dead: int
    cancelled: int
    cap: int


class Total(NamedTuple):
    """What attempts of one target in one queue came to in one group of settlements, or one minute of them."""

    #: Time of the group, or start of the minute.
    at: int
    queue: str
    target: str
    attempts: int
    failures: int
    duration_us: int
    duration_us_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long finished tasks and their traces stay. Seconds."""

    succeeded_s: float = 3600.0
    #: At most so many succeeded tasks, whatever their age.
    succeeded_max: int = 100_000
    cancelled_s: float = 24 * 3600.0
    dead_s: float = 30 * 24 * 3600.0
    totals_s: float = 7 * 24 * 3600.0


class Swept(NamedTuple):
    """What one sweep did."""

    expired: int = 0
    purged: int = 0
    tombstones: int = 0
    folded: int = 0
    #: Whether the budget ended before the work did.
    more: bool = False


class Record(NamedTuple):
    """A small versioned document: a worker, a schedule, a run."""

    kind: str
    key: str
    version: int
    #: When somebody should look at it; None: never.
    due: int | None
    #: JSON
    document: str


class RecordChange(NamedTuple):
    """Compare-and-set: applies only if the stored version is `expected` (0: there is none)."""

    kind: str
    key: str
    expected: int
    due: int | None
    #: None: delete it.
    document: str | None


class Bell(Protocol):
    """How a dispatcher sleeps until there may be work."""

    def wait(self, timeout_s: float) -> bool:
        """Sleep until it is rung or `timeout_s` has passed; True if rung. Rings since the last wait count."""

    def ring(self) -> None:
        """Wake the dispatcher that waits, or will. Safe from any thread and from a signal handler."""

    def close(self) -> None:
        """Nobody waits any more."""


@runtime_checkable
class PollableBell(Bell, Protocol):
    """A bell for whoever waits for other things as well."""

    def fileno(self) -> int:
        """A descriptor that is readable while it has been rung."""

    def heard(self) -> bool:
        """Whether it was rung since it was last asked; does not wait."""


class Engine(ABC):
    """What every place that holds tasks can do."""

    #: For banners and messages: an URL without secrets.
    url: str
    #: Largest payload in bytes that `put` takes.
    payload_limit: int
    #: Writing in a transaction of the caller's; None: it cannot.
    within: Within | None = None

    @abstractmethod
    def now(self) -> int:
        """The engine's time."""

    @abstractmethod
    def put(self, tasks: Sequence[NewTask]) -> list[PutAnswer]:
        """Store tasks in one transaction; when it returns they are durable. Answers stand in the same order."""

    @abstractmethod
    def get(self, ids: Sequence[int]) -> list[Task]:
        """The tasks that exist, in the order asked for."""

    @abstractmethod
    def details(self, task_id: int) -> Details:
        """Payload, result and failed attempts of a task. Raises TaskNotFound."""

    @abstractmethod
    def spill(self, task_id: int) -> bytes | None:
        """What was put as the task's `spill`; None: there is none, or no such task."""

    @abstractmethod
    def find(self, where: Filter, *, after: int | None = None, limit: int = 100) -> Page:
        """Tasks that match, newest first, paged by id."""

    @abstractmethod
    def holders(self, queue: str, names: Sequence[str]) -> list[int | None]:
        """For each of these names of a queue the task that has it, alive or as a tombstone; None: nobody has it.

        A task whose name is a tombstone may be gone.
        """

    @abstractmethod
    def change(self, ids: Sequence[int], change: Change) -> list[int]:
        """Apply `change` to each task that it fits; returns the ids it changed."""

    @abstractmethod
    def purge(self, queue: str, limit: int = 10_000) -> int:
        """Delete up to `limit` pending tasks of a queue; returns how many. Call again until it returns 0."""

    @abstractmethod
    def queues(self) -> list[QueueSettings]:
        """Every queue that has been used, by name."""

    @abstractmethod
    def change_queues(self, changes: Sequence[tuple[str, QueueChange]]) -> list[QueueSettings]:
        """Apply each change to the queue of that name, in one transaction; makes queues if need be.

        Returns the queues as they are afterwards, in the same order. What makes no sense raises InvalidOption, and
        nothing is changed. Sleeping dispatchers learn at once of what they may lease now.
        """

    @abstractmethod
    def close(self) -> None:
        """Release what is open. Closing twice is fine."""


class LeasingEngine(Engine):
    """An engine from which workers lease."""

    @abstractmethod
    def turn(self, settlements: Sequence[Settlement], want: Want | None) -> Turn:
        """Settle what is done and lease what is wanted, in one transaction.

        A settlement whose lease was lost changes nothing and is answered in `lost`; one that this very lease has
        already settled counts as settled, so a turn whose answer got lost can be repeated. Follow-ups (`then`) are
        stored with their settlement or not at all.

        Leases pending tasks that are due and not paused: each queue with work gets an equal share, then the rest is
        filled up; within a queue higher priority first, then by due time, then by id. From a queue that is limited no
        more are leased than its limits allow over all dispatchers, and none ahead of free slots. If there is hurry, an
        engine may lease the first task of any queue, and no more.
        """

    @abstractmethod
    def renew(self, leases: Sequence[Leased], until: int) -> tuple[list[Leased], list[Leased]]:
        """Let leases end at `until`. Returns those that are lost, and those somebody asked to cancel."""

    @abstractmethod
    def take_up(self, leases: Sequence[tuple[int, int]]) -> list[TakeUp]:
        """Take leases up: whoever is told TAKEN begins the attempt, and nobody else is told so for the same lease.

        `leases` are pairs of a task's id and a lease id. A lease can be taken up once, while its task is leased under
        exactly this id and it is not over; nothing else about the task changes. Where leasing and running are two
        processes that talk by messages, a message may come twice, late, or from somebody who has listened in, and
        this is what makes it harmless. It survives the death of any process; it need not survive a power cut.
        """

    @abstractmethod
    def stalled(self, limit: int = 100, *, queue: str | None = None) -> list[Leased]:
        """Tasks whose lease is over, to be settled as "worker lost" by whoever asks. Changes no task.

        `queue`: those of this one alone.

        An engine that can tell that a dispatcher is dead adds the tasks it holds, whenever their leases end, but for
        those that were taken up: another process runs these.
        """

    @abstractmethod
    def requeue(self, ids: Sequence[int]) -> list[int]:
        """Make dead and cancelled tasks pending again, due now, attempts forgotten; returns those it changed."""

    @abstractmethod
    def wake(self, limit: int = 100, *, only: Parking | None = None) -> int:
        """Make up to `limit` parked tasks due now; returns how many. A new release calls it at its start.

        `only`: those that whoever asks can run. Nobody is rung for these, since he takes them himself.
        """

    @abstractmethod
    def counts(self, *, cap: int = COUNT_CAP) -> Counts:
        """How many tasks stand where; no count costs more than `cap` index steps."""

    @abstractmethod
    def totals(self, since: int, until: int) -> list[Total]:
        """Totals of the attempts settled in [since, until), oldest first."""

    @abstractmethod
    def sweep(self, retention: Retention, *, limit: int = 1_000) -> Swept:
        """One short round of upkeep: expire, purge what is past its retention, drop old tombstones, fold totals.

        Each of the first three handles at most `limit`; the answer says whether one of them may have left something.
        """

    @abstractmethod
    def records(self, kind: str, *, after: str | None = None, limit: int = 100) -> list[Record]:
        """Records of a kind by key."""

    @abstractmethod
    def change_records(self, changes: Sequence[RecordChange]) -> list[bool]:
        """Apply compare-and-set changes in one transaction; says for each whether it applied."""

    @abstractmethod
    def bell(self, holder: int) -> Bell:
        """A new bell that this engine rings whenever tasks become due at once, whoever put them.

        `holder` is the number of the dispatcher, see `new_lease_id`. Where an engine can tell that it is dead, it can
        as long as the bell is not closed: whoever ends and leaves leases behind keeps its bell open.
        """


LEASE_SERIAL_BITS = 31


def new_lease_id(dispatcher: int, serial: int) -> int:
    """The id of a dispatcher's lease: its random 32-bit number above, a counter below. Never used twice."""
    return (dispatcher << LEASE_SERIAL_BITS) | (serial & ((1 << LEASE_SERIAL_BITS) - 1))


def holder_of(lease_id: int) -> int:
    """Which dispatcher made a lease."""
    return lease_id >> LEASE_SERIAL_BITS
