"""Tasks of a queue by their names, and leases of them as whoever settles needs them.

A task that was added without a name goes by its id.
"""

from __future__ import annotations

from collections.abc import Sequence

from deferq.engines.base import Engine
from deferq.model.task import Leased, Task

#: As many digits as an id has at most.
_ID_DIGITS = 19


def by_name(engine: Engine, queue: str, names: Sequence[str]) -> list[Task | int | None]:
    """For each name the task; its id, if it is gone and its name is a tombstone; None: nobody has the name."""
    ids = [
        id_in(name) if holder is None else holder
        for name, holder in zip(names, engine.holders(queue, names), strict=True)
    ]
    tasks = {task.id: task for task in engine.get([task_id for task_id in ids if task_id is not None])}
    return [_found(tasks, task_id, name, queue) for name, task_id in zip(names, ids, strict=True)]


def _found(tasks: dict[int, Task], task_id: int | None, name: str, queue: str) -> Task | int | None:
    if task_id is None:
        return None
    task = tasks.get(task_id)
    if task is None:
        return None if id_in(name) == task_id else task_id
    return task if task.queue == queue and task.name in (name, None) else None


def id_in(name: str) -> int | None:
    """The id that a task without a name goes by."""
    if name.isascii() and name.isdigit() and len(name) <= _ID_DIGITS and not name.startswith("0"):
        return int(name) if int(name) < 1 << 63 else None
    return None


def held(task: Task) -> Leased:
    """The lease of a task that is leased."""
    return Leased(
        id=task.id,
        queue=task.queue,
        target=task.target,
        priority=task.priority,
        eta=task.eta,
        attempts=task.attempts,
        starts=task.starts,
        parks=task.parks,
        expires_at=task.expires_at,
        name=task.name,
        route=task.route,
        url=task.url,
        options=task.options.encode(),
        payload=b"",
        first_due=task.first_due,
        lease_id=task.lease_id or 0,
        leased_until=task.leasable_at,
        cancel_requested=task.cancel_requested,
        crashes=task.crashes,
    )
