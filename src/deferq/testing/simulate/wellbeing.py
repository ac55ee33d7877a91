"""What a worker owes as long as nothing befalls it: no pause, no error of the store, no leap of the clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deferq.engines.base import Settlement, holder_of
from deferq.model.state import State
from deferq.model.task import Leased, Task
from deferq.runtime.dispatcher import UNSTARTED_S, TakeTurn
from deferq.runtime.pools import Lease
from deferq.runtime.settling import WORKER_STOPPED
from deferq.testing.simulate.broken import Broken

#: Seconds after which what was leased ahead has been given back: whoever sleeps for a poll sees it that much later.
LATEST_S = UNSTARTED_S + 1.5


class Wellbeing:
    """Of one worker: since when it has been well, and since when it holds what it holds."""

    def __init__(self, name: str, number: int, now: float) -> None:
        self._name = name
        self._number = number
        self._well_since = now
        self._leased_at: dict[int, float] = {}

    def troubled(self, until: float) -> None:
        """Something befalls it, until then."""
        self._well_since = max(self._well_since, until)

    def asks(self, effect: TakeTurn, stopping: bool) -> None:
        """It is about to settle and to lease."""
        if stopping and effect.want is not None:
            raise Broken(f"{self._name} leases although it was asked to stop")
        for one in effect.settlements:
            if _was_cut_off(one) and not stopping:
                raise Broken(f"task {one.task.id} was cut off by {self._name}, which nobody has asked to stop")

    def leased(self, lease_id: int, at: float) -> None:
        self._leased_at[lease_id] = at

    def lost(self, tasks: Iterable[Leased]) -> None:
        """It is told so. Whoever is well renews in time, and keeps what it holds."""
        for task in tasks:
            if self._was_well_with(task.lease_id):
                raise Broken(f"task {task.id} was lost by {self._name}, which nothing had befallen")

    def lost_settlements(self, settlements: Sequence[Settlement], lost: Sequence[Leased]) -> None:
        """The same of what it settled; others' tasks, which it has come to bury, may well have been renewed."""
        own = {(one.task.id, one.task.lease_id) for one in settlements if not one.only_if_over}
        self.lost(task for task in lost if (task.id, task.lease_id) in own)

    def waits(self, waiting: Iterable[tuple[Leased, Lease]], now: float) -> None:
        """It goes to sleep. What was leased ahead and has not started soon is given back before that."""
        for task, lease in waiting:
            if lease.since > self._well_since and now - lease.since > LATEST_S:
                raise Broken(f"task {task.id} has waited for {now - lease.since:.1f} s to be started by {self._name}")

    def ended(self, rows: Iterable[Task], running: Iterable[int]) -> None:
        """It has come to its end: it has settled what it held, and given back the rest. Threads run on."""
        going_on = set(running)
        for row in rows:
            lease_id = row.lease_id or 0
            is_ours = row.state is State.LEASED and holder_of(lease_id) == self._number
            if is_ours and row.id not in going_on and self._was_well_with(lease_id):
                raise Broken(f"task {row.id} was left behind by {self._name}, which has come to its end")

    def _was_well_with(self, lease_id: int) -> bool:
        return self._leased_at.get(lease_id, -1.0) > self._well_since


def _was_cut_off(settlement: Settlement) -> bool:
    """Since the worker stops. A parent may also end one child, and goes on: that is said in other words."""
    return settlement.failure is not None and settlement.failure.message == WORKER_STOPPED.error.message
