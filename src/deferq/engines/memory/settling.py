"""Writing down how leases ended. Every function runs inside a stroke."""

from __future__ import annotations

from collections.abc import Sequence

from deferq.engines.base import FAILURES_KEPT, Settlement
from deferq.engines.memory.putting import put
from deferq.engines.memory.rows import Row
from deferq.engines.memory.tasks import Tasks
from deferq.engines.memory.totals import Totals
from deferq.model.state import State
from deferq.model.task import Leased


def settle(tasks: Tasks, totals: Totals, settlements: Sequence[Settlement], now: int) -> tuple[Leased, ...]:
    """Settle a group; returns the leases that were lost.

    A settlement that this very lease has brought about before (its answer got lost) is neither: it stands already.
    """
    lost, settled = [], []
    for settlement in settlements:
        row = tasks.rows.get(settlement.task.id)
        if row is None or row.lease_id != settlement.task.lease_id:
            lost.append(settlement.task)
        elif row.state is State.LEASED and not (settlement.only_if_over and row.leasable_at > now):
            _settle(tasks, row, settlement, now)
            settled.append(settlement)
        elif (row.state, row.attempts) != (settlement.transition.state, settlement.transition.attempts):
            lost.append(settlement.task)  # its end had passed, and somebody buried it under this very lease
    totals.add(settled, now)
    return tuple(lost)


def _settle(tasks: Tasks, row: Row, settlement: Settlement, now: int) -> None:
    to = settlement.transition
    queue = tasks.queue_of(row)
    queue.leased -= 1
    if queue.limits.max_concurrent is not None:
        tasks.freed.add(queue.name)
    row.attempts, row.parks, row.crashes, row.reason = to.attempts, to.parks, to.crashes, to.reason
    row.starts -= not to.started
    row.result = settlement.result
    if settlement.failure is not None:
        row.failures = (*row.failures, settlement.failure)[-FAILURES_KEPT:]
    if to.state.finished:
        tasks.finish(row, to.state, now)
    else:
        row.eta = to.eta
        tasks.place(row, now)
    for task in settlement.then:
        put(tasks, task, now)
