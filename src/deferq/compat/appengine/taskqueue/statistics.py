"""How a queue stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from deferq.compat.appengine.taskqueue.modes import settings_of
from deferq.compat.appengine.taskqueue.rpc import UserRPC, check_deadline, create_rpc
from deferq.compat.appengine.taskqueue.translating import translated
from deferq.default import default
from deferq.engines.base import MINUTE_US, Counts, QueueCounts, Total
from deferq.model.limits import seconds_between

if TYPE_CHECKING:
    from deferq.app import Deferq
    from deferq.compat.appengine.taskqueue.queue import Queue

#: No count costs more index steps.
_CAP = 100_000
_FIELDS = ("queue", "tasks", "oldest_eta_usec", "executed_last_minute", "in_flight", "enforced_rate")


class QueueStatistics:
    """How one queue stood at a moment.

    Args:
        queue: which one.
        tasks: how many have not ended, running ones included; counted up to 100,000 of each kind.
        oldest_eta_usec: when the one was due that has waited longest, in microseconds since the epoch; None: none is
            due.
        executed_last_minute: attempts that ended in the last minute, or leases of pull tasks.
        in_flight: how many are running, or leased.
        enforced_rate: how many may start a second; None: there is no limit.
    """

    def __init__(
        self,
        queue: Queue,
        tasks: int,
        oldest_eta_usec: int | None = None,
        executed_last_minute: int | None = None,
        in_flight: int | None = None,
        enforced_rate: float | None = None,
    ) -> None:
        self.queue = queue
        self.tasks = tasks
        self.oldest_eta_usec = oldest_eta_usec
        self.executed_last_minute = executed_last_minute
        self.in_flight = in_flight
        self.enforced_rate = enforced_rate

    @classmethod
    def fetch(cls, queue_or_queues: Any, deadline: float = 10) -> Any:
        """Those of one queue, given as a Queue or by its name, or a list of those of several.

        Raises TypeError if both ways are mixed, InvalidDeadlineError, UnknownQueueError, TransientError.
        """
        check_deadline(deadline)
        if not queue_or_queues:
            return []
        return cls.fetch_async(queue_or_queues, create_rpc(deadline)).get_result()

    @classmethod
    def fetch_async(cls, queue_or_queues: Any, rpc: UserRPC | None = None) -> UserRPC:
        """The same, with an UserRPC whose `get_result()` returns them."""
        queues = _queues(queue_or_queues)

        def finish(found: Sequence[QueueStatistics]) -> Any:
            return list(found) if _are_several(queue_or_queues) else found[0]

        ask = lambda: [cls(queue, **facts) for queue, facts in zip(queues, _facts(default(), queues), strict=True)]  # noqa: E731
        return (rpc or create_rpc()).make_call("FetchQueueStats", ask, finish)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, QueueStatistics):
            return NotImplemented
        return all(getattr(self, field) == getattr(other, field) for field in _FIELDS)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"QueueStatistics({', '.join(f'{field}={getattr(self, field)!r}' for field in _FIELDS)})"


def _are_several(given: Any) -> bool:
    return isinstance(given, Iterable) and not isinstance(given, str)


def _queues(given: Any) -> list[Queue]:
    from deferq.compat.appengine.taskqueue.queue import Queue

    several = list(given) if _are_several(given) else [given]
    kinds = {str if isinstance(one, str) else type(one) for one in several}
    if kinds == {str}:
        return [Queue(name) for name in several]
    if not all(issubclass(kind, Queue) for kind in kinds):
        raise TypeError("queue_or_queues: a Queue, the name of one, or several of one kind are expected.")
    return several


def _facts(owner: Deferq, queues: Sequence[Queue]) -> list[dict[str, Any]]:
    with translated():
        rates = [_rate(owner, queue.name) for queue in queues]
        counts = owner.engine.counts(cap=_CAP)
        since = counts.now - MINUTE_US
        totals = owner.engine.totals(since // MINUTE_US * MINUTE_US, counts.now + 1)
    by_name = {one.queue: one for one in counts.queues}
    return [
        {
            **_counted(by_name.get(queue.name), counts),
            "executed_last_minute": _executed(totals, queue.name, since),
            "enforced_rate": rate,
        }
        for queue, rate in zip(queues, rates, strict=True)
    ]


def _counted(queue: QueueCounts | None, counts: Counts) -> dict[str, Any]:
    if queue is None:
        return {"tasks": 0, "oldest_eta_usec": None, "in_flight": 0}
    waiting = queue.ready + queue.scheduled + queue.retrying + queue.parked
    return {"tasks": waiting + queue.leased, "oldest_eta_usec": queue.oldest_ready, "in_flight": queue.leased}


def _executed(totals: Sequence[Total], queue: str, since: int) -> int:
    """Attempts since then; of those that were summed up by the minute, the part that fits."""
    shares = (total.attempts * _share(total.at, since) for total in totals if total.queue == queue)
    return round(sum(shares))


def _share(at: int, since: int) -> float:
    if at >= since:
        return 1.0
    return (at + MINUTE_US - since) / MINUTE_US if at % MINUTE_US == 0 else 0.0


def _rate(owner: Deferq, queue: str) -> float | None:
    settings = settings_of(owner, queue)
    if settings is None or settings.limits.rate is None:
        return None
    return 0.0 if settings.paused else 1.0 / seconds_between(settings.limits.rate)
