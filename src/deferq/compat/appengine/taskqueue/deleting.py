"""Deleting tasks, some or all of a queue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from deferq.codec.requests import PULL_TARGET
from deferq.compat.appengine.taskqueue.errors import BadTaskStateError, DuplicateTaskNameError
from deferq.compat.appengine.taskqueue.finding import by_name, held
from deferq.compat.appengine.taskqueue.modes import settings_of
from deferq.compat.appengine.taskqueue.rpc import UserRPC, create_rpc
from deferq.compat.appengine.taskqueue.task import Task
from deferq.compat.appengine.taskqueue.translating import translated
from deferq.default import default
from deferq.engines.base import Cancel, Delete, Filter, LeasingEngine
from deferq.model import task as model
from deferq.model.outcome import Cancelled, Outcome, Succeeded
from deferq.model.state import State
from deferq.runtime.settling import settle

if TYPE_CHECKING:
    from deferq.app import Deferq

#: A task that somebody leases at the very moment is looked at again, this often.
_TRIES = 5
_PAGE = 1_000


def delete_async(queue: str, given: Task | Iterable[Task], rpc: UserRPC | None) -> UserRPC:
    """See `Queue.delete_tasks_async`."""
    tasks = [given] if isinstance(given, Task) else list(given)
    names = _checked_names(tasks)

    def finish(deleted: Sequence[bool]) -> Task | list[Task]:
        for task, was_deleted in zip(tasks, deleted, strict=True):
            task._was_deleted(was_deleted)
        return given if isinstance(given, Task) else tasks

    return (rpc or create_rpc()).make_call("Delete", lambda: _delete(default(), queue, names), finish)


def _checked_names(tasks: Sequence[Task]) -> list[str]:
    names: list[str] = []
    for task in tasks:
        if not task.name:
            raise BadTaskStateError("A task without a name cannot be deleted: it was not added yet.")
        if task.was_deleted:
            raise BadTaskStateError(f"The task {task.name!r} was deleted before.")
        if task.name in names:
            raise DuplicateTaskNameError(f"Two of these tasks have the name {task.name!r}.")
        names.append(task.name)
    return names


def _delete(owner: Deferq, queue: str, names: Sequence[str]) -> list[bool]:
    """For each name, whether it was deleted now; what is not there, or has ended, is not."""
    with translated():
        settings_of(owner, queue)
        gone = set[str]()
        left = list(names)
        for _ in range(_TRIES):
            found = dict(zip(left, by_name(owner.engine, queue, left), strict=True))
            live = {
                name: task for name, task in found.items() if isinstance(task, model.Task) and not task.state.finished
            }
            ended = _end(owner.engine, list(live.values()), Succeeded())
            gone |= {name for name, task in live.items() if task.id in ended}
            left = [name for name in live if name not in gone]
            if not left:
                break
        return [name in gone for name in names]


def purge(owner: Deferq, queue: str) -> None:
    """Delete every task of a queue; those that run go on, and are not tried again."""
    with translated():
        settings_of(owner, queue)
        while owner.engine.purge(queue):
            pass
        after: int | None = None
        while True:
            page = owner.engine.find(Filter(queue=queue, state=State.LEASED), after=after, limit=_PAGE)
            _end(owner.engine, page.tasks, Cancelled(reason="purged"))
            if (after := page.next_after) is None:
                return


def _end(engine: LeasingEngine, tasks: Sequence[model.Task], outcome: Outcome) -> set[int]:
    """Delete those that wait; settle with `outcome` those that were pulled, and ask those that run to stop."""
    waiting = [task.id for task in tasks if task.state is State.PENDING]
    leased = [task for task in tasks if task.state is State.LEASED]
    running = [task.id for task in leased if task.target != PULL_TARGET]
    ended = set(engine.change(waiting, Delete())) if waiting else set()
    if running:
        ended |= set(engine.change(running, Cancel("deleted")))
    return ended | _settle_pulled(engine, [task for task in leased if task.target == PULL_TARGET], outcome)


def _settle_pulled(engine: LeasingEngine, tasks: Sequence[model.Task], outcome: Outcome) -> set[int]:
    """Whoever deletes a task that was pulled is done with it."""
    if not tasks:
        return set()
    now = engine.now()
    settlements = [settle(held(task), outcome, 0, now, 0.0) for task in tasks]
    lost = {task.id for task in engine.turn(settlements, None).lost}
    return {task.id for task in tasks} - lost
