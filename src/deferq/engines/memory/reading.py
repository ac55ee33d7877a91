"""What people and waiting callers read. Every function runs inside a stroke."""

from __future__ import annotations

from itertools import islice

from deferq.engines.base import Counts, Details, Filter, Page
from deferq.engines.memory.rows import matches, to_task
from deferq.engines.memory.tasks import Tasks
from deferq.errors import TaskNotFound
from deferq.model.settings import QueueSettings
from deferq.model.state import State


def details(tasks: Tasks, task_id: int) -> Details:
    """Payload, result and failures of a task."""
    row = tasks.rows.get(task_id)
    if row is None:
        raise TaskNotFound(f"There is no task {task_id}; perhaps its retention is over.")
    return Details(payload=row.made.payload, result=row.result, failures=row.failures)


def find(tasks: Tasks, where: Filter, after: int | None, limit: int) -> Page:
    """One page of the tasks that match, newest first."""
    matching = (row for row in tasks.newest_first(after) if matches(row, where))
    rows = list(islice(matching, limit + 1))
    more = len(rows) > limit
    return Page([to_task(row) for row in rows[:limit]], rows[limit - 1].id if more else None)


def holder(tasks: Tasks, queue: str, name: str, now: int) -> int | None:
    """Who has a name, alive or as a tombstone."""
    taken = tasks.names.holder(queue, name, now)
    return None if taken is None else taken.task_id


def queues(tasks: Tasks) -> list[QueueSettings]:
    """Every queue by name."""
    return [tasks.queues[name].settings for name in sorted(tasks.queues)]


def counts(tasks: Tasks, now: int, cap: int) -> Counts:
    """How many tasks stand where, no count above `cap`."""
    return Counts(
        now=now,
        queues=tuple(tasks.queues[name].counts(cap, now) for name in sorted(tasks.queues)),
        succeeded=min(cap, len(tasks.finished[State.SUCCEEDED])),
        dead=min(cap, len(tasks.finished[State.DEAD])),
        cancelled=min(cap, len(tasks.finished[State.CANCELLED])),
        cap=cap,
    )
