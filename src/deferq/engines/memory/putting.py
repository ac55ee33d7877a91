"""Storing tasks. Every function runs inside a stroke."""

from __future__ import annotations

from deferq.engines.answers import Clash, Existing, PutAnswer, Stored, Tombstoned
from deferq.engines.memory.names import Name
from deferq.engines.memory.tasks import Tasks
from deferq.model.state import State
from deferq.model.task import NewTask


def put(tasks: Tasks, task: NewTask, now: int) -> PutAnswer:
    """Store one task."""
    known = tasks.rows.get(task.id)
    if known is not None:
        # The envelope binds id, target and arguments: the same envelope is the same task, put once more.
        return Stored(task.id) if known.made.payload == task.payload else Clash(task.id)
    if task.name is not None:
        return _put_named(tasks, task, task.name, now)
    tasks.insert(task, now)
    return Stored(task.id)


def _put_named(tasks: Tasks, task: NewTask, name: str, now: int) -> PutAnswer:
    """Give the task its name and store it, or say who has the name."""
    taken = tasks.names.holder(task.queue, name, now)
    if taken is not None and task.if_exists != "replace":
        return Existing(taken.task_id) if taken.until is None else Tombstoned(taken.task_id, taken.until)
    replaced = _displace(tasks, taken, now) if taken else None
    tasks.names.take(task.queue, name, task.id)
    tasks.insert(task, now)
    return Stored(task.id, replaced)


def _displace(tasks: Tasks, taken: Name, now: int) -> int | None:
    """A pending holder is cancelled and returned, a leased one ends nameless, a tombstone gives way."""
    if taken.until is not None:
        return None
    row = tasks.rows[taken.task_id]
    row.name = None
    if row.state is State.LEASED:
        return None
    tasks.withdraw(row, "replaced", now)
    return row.id
