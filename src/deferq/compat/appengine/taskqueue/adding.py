"""Adding tasks to a queue: what refuses the call as a whole, and what becomes of each task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deferq.compat.appengine.taskqueue.errors import (
    BadTaskStateError,
    DuplicateTaskNameError,
    Error,
    InvalidTaskError,
    InvalidTaskNameError,
    TaskAlreadyExistsError,
    TombstonedTaskError,
    TooManyTasksError,
    TransactionalRequestTooLargeError,
)
from deferq.compat.appengine.taskqueue.limits import MAX_TASKS_PER_ADD, MAX_TRANSACTIONAL_REQUEST_SIZE_BYTES, PULL
from deferq.compat.appengine.taskqueue.rpc import UserRPC, create_rpc
from deferq.compat.appengine.taskqueue.storing import Result, store
from deferq.compat.appengine.taskqueue.task import Task
from deferq.compat.appengine.taskqueue.translating import translated
from deferq.default import default
from deferq.transactions import joining


def add_async(queue: str, given: Task | Iterable[Task], transactional: bool, rpc: UserRPC | None) -> UserRPC:
    """See `Queue.add_async`."""
    tasks = [given] if isinstance(given, Task) else list(given)
    _check(tasks, transactional)
    within = True if transactional else _within_of(tasks)

    def finish(results: Sequence[Result]) -> Task | list[Task]:
        if (error := _worst(results)) is not None:
            raise error
        return given if isinstance(given, Task) else tasks

    return (rpc or create_rpc()).make_call("BulkAdd", lambda: store(default(), tasks, queue, within), finish)


def _check(tasks: Sequence[Task], transactional: bool) -> None:
    """Raise what refuses all of them."""
    if len({task.method == PULL for task in tasks}) > 1:
        raise InvalidTaskError("One call adds tasks that are delivered or tasks that are pulled, and these are both.")
    if len(tasks) > MAX_TASKS_PER_ADD:
        raise TooManyTasksError(f"One call adds up to {MAX_TASKS_PER_ADD} tasks, and these are {len(tasks)}.")
    names: set[str] = set()
    for task in tasks:
        if task.name and task.name in names:
            raise DuplicateTaskNameError(f"Two of these tasks have the name {task.name!r}.")
        if task.was_enqueued:
            raise BadTaskStateError(f"The task {task.name!r} was added before, and can be added once.")
        names.add(task.name or "")
    if transactional:
        _check_transactional(tasks)


def _check_transactional(tasks: Sequence[Task]) -> None:
    with translated():
        joining.chosen(default().engine, True)
    if any(task.name for task in tasks):
        raise InvalidTaskNameError("A task that belongs to a transaction cannot be named: leave out its name.")
    size = sum(task.size for task in tasks)
    if size > MAX_TRANSACTIONAL_REQUEST_SIZE_BYTES:
        raise TransactionalRequestTooLargeError(
            f"These tasks are {size:,} bytes together, and one call adds at most"
            f" {MAX_TRANSACTIONAL_REQUEST_SIZE_BYTES:,} to a transaction.",
            size=size,
            limit=MAX_TRANSACTIONAL_REQUEST_SIZE_BYTES,
        )


def _within_of(tasks: Sequence[Task]) -> bool | None:
    """None: in the transaction that is open, if one is; False: one of them says that it is to be in none."""
    return False if any(task._call is not None and task._call.beside for task in tasks) else None


def _worst(results: Sequence[Result]) -> Error | None:
    """The error to raise: the first that is more than a name that is taken, else the last of those."""
    found = [error for error in results if error is not None]
    real = [error for error in found if not isinstance(error, TaskAlreadyExistsError | TombstonedTaskError)]
    return next(iter(real or found[-1:]), None)
