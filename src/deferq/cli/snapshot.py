"""What a store says at one moment: all that `deferq status` shows, and all that its warnings are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from deferq.cli.rates import WINDOWS, Window, window, window_start
from deferq.cli.workers import WorkerSeen, workers
from deferq.engines.base import Counts, Filter, Page, QueueCounts, Record, Total
from deferq.model.limits import Limits
from deferq.model.outcome import PARKED
from deferq.model.settings import QueueSettings
from deferq.model.state import State
from deferq.model.task import SUSPECT_FROM, Task

#: So many pending tasks of a queue are looked at, the newest, where counts alone do not tell what is wrong.
SAMPLE = 200


class Readable(Protocol):
    """What is asked of a store: a LeasingEngine, or a view of its file, which writes nothing."""

    url: str

    def now(self) -> int: ...
    def counts(self) -> Counts: ...
    def totals(self, since: int, until: int) -> list[Total]: ...
    def records(self, kind: str, *, after: str | None = None, limit: int = 100) -> list[Record]: ...
    def find(self, where: Filter, *, after: int | None = None, limit: int = 100) -> Page: ...
    def queues(self) -> list[QueueSettings]: ...


class Waiting(NamedTuple):
    """What some of the pending tasks of a queue have in common."""

    #: Tasks that are due, by their route; None: they have none.
    routes: Mapping[str | None, int]
    #: Parked tasks, by what they would call; without suspects.
    parked: Mapping[str, int]
    #: Parked tasks that no worker without child processes runs, since theirs died too often.
    suspects: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A store at one moment."""

    url: str
    counts: Counts
    workers: tuple[WorkerSeen, ...]
    #: The shortest first.
    windows: tuple[Window, ...]
    #: By queue, of those where it was worth a look.
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    #: By queue.
    limits: Mapping[str, Limits] = field(default_factory=dict)
    #: Pull queues: nobody serves them but whoever asks for their tasks.
    pulled: frozenset[str] = frozenset()
    #: The size of the store's log; None: it has none, or it cannot be read.
    log_bytes: int | None = None

    @property
    def pushed(self) -> list[QueueCounts]:
        """Queues that workers should serve."""
        return [queue for queue in self.counts.queues if queue.queue not in self.pulled]

    @property
    def alive(self) -> list[WorkerSeen]:
        """Workers that have kept saying that they live."""
        return [worker for worker in self.workers if worker.alive]

    def serving(self, queue: str) -> list[WorkerSeen]:
        """Workers alive that take tasks of this queue."""
        return [worker for worker in self.alive if worker.serves(queue)]


def take(engine: Readable) -> Snapshot:
    """Ask the store. Raises StoreError."""
    counts = engine.counts()
    settings = engine.queues()
    pulled = frozenset(queue.name for queue in settings if queue.declared.pull)
    seen = tuple(workers(engine))
    totals = engine.totals(window_start(counts.now, max(WINDOWS)), counts.now + 1)
    pushed = [queue for queue in counts.queues if queue.queue not in pulled]
    worth_a_look = [queue for queue in pushed if queue.parked or _may_miss_a_route(queue, seen)]
    return Snapshot(
        url=engine.url,
        counts=counts,
        workers=seen,
        windows=tuple(window(totals, counts.now, minutes) for minutes in WINDOWS),
        waiting={queue.queue: _waiting(engine, queue.queue, counts.now) for queue in worth_a_look},
        limits={queue.name: queue.limits for queue in settings},
        pulled=pulled,
        log_bytes=_log_bytes(engine),
    )


def _may_miss_a_route(queue: QueueCounts, seen: Iterable[WorkerSeen]) -> bool:
    """A worker without a route takes them all."""
    serving = [worker for worker in seen if worker.alive and worker.serves(queue.queue)]
    return bool(queue.ready and serving) and all(worker.routes is not None for worker in serving)


def _waiting(engine: Readable, queue: str, now: int) -> Waiting:
    tasks = engine.find(Filter(queue=queue, state=State.PENDING), limit=SAMPLE).tasks
    return Waiting(
        Counter(task.route for task in tasks if _is_ready(task, now)),
        Counter(task.target for task in tasks if task.parks and not _waits_for_quarantine(task)),
        sum(task.parks > 0 and _waits_for_quarantine(task) for task in tasks),
    )


def _waits_for_quarantine(task: Task) -> bool:
    """A suspect may also be parked as every other task is: its target is unknown."""
    return task.crashes >= SUSPECT_FROM and task.reason != PARKED


def _is_ready(task: Task, now: int) -> bool:
    return not task.parks and task.eta <= now


def _log_bytes(engine: Readable) -> int | None:
    info = getattr(engine, "info", None)  # a store in memory has none
    size = info().get("wal_bytes") if info is not None else None
    return size if isinstance(size, int) else None
