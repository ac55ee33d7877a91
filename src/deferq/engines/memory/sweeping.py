"""Upkeep in short rounds: expiry, retention, tombstones, totals. Every function runs inside a stroke."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from deferq.engines.base import Retention, Swept
from deferq.engines.memory.rows import Row
from deferq.engines.memory.tasks import Tasks
from deferq.engines.memory.totals import Totals
from deferq.model.state import State
from deferq.model.transitions import US


def sweep(tasks: Tasks, totals: Totals, retention: Retention, limit: int, now: int) -> Swept:
    """One round; every duty handles at most `limit` tasks."""
    expired = _expire(tasks, limit, now)
    purged = _purge(tasks, retention, limit, now)
    tombstones = tasks.names.drop_tombstones(now, limit)
    folded = totals.fold(now, limit)
    totals.drop(now - int(retention.totals_s * US))
    return Swept(expired, purged, tombstones, folded, more=limit in (expired, purged, tombstones, folded))


def _expire(tasks: Tasks, limit: int, now: int) -> int:
    entries = list(islice(tasks.expiring.due(now), limit))
    for entry in entries:
        tasks.withdraw(tasks.rows[entry.task_id], "expired", now)
    return len(entries)


def _purge(tasks: Tasks, retention: Retention, limit: int, now: int) -> int:
    rules = (
        (State.SUCCEEDED, retention.succeeded_s, retention.succeeded_max),
        (State.CANCELLED, retention.cancelled_s, None),
        (State.DEAD, retention.dead_s, None),
    )
    purged = 0
    for state, keep_s, keep_max in rules:
        over = _past_retention(tasks, state, now - int(keep_s * US), keep_max)
        for row in islice(over, limit - purged):
            tasks.delete(row, now)
            purged += 1
    return purged


def _past_retention(tasks: Tasks, state: State, before: int, keep_max: int | None) -> Iterator[Row]:
    """Finished tasks to delete, the oldest first. What is drawn from here must be deleted."""
    finished = tasks.finished[state]
    while finished:
        row = next(iter(finished.values()))
        too_many = keep_max is not None and len(finished) > keep_max
        if not too_many and (row.finished_at or 0) > before:
            return
        yield row
