"""A queue as App Engine's library has it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sized
from typing import Any

from deferq.compat.appengine.taskqueue import adding
from deferq.compat.appengine.taskqueue.errors import InvalidQueueNameError
from deferq.compat.appengine.taskqueue.limits import DEFAULT_QUEUE, QUEUE_NAME_PATTERN
from deferq.compat.appengine.taskqueue.rpc import UserRPC
from deferq.compat.appengine.taskqueue.task import Task


class Queue:
    """The queue of this name: 1 to 100 letters, digits or dashes. Making one does nothing to the store."""

    def __init__(self, name: str = DEFAULT_QUEUE) -> None:
        """Raises InvalidQueueNameError."""
        if not re.fullmatch(QUEUE_NAME_PATTERN, name):
            raise InvalidQueueNameError(
                f"A queue name has 1 to 100 ASCII letters, digits or '-' ({QUEUE_NAME_PATTERN}), and this one has not.",
                field="queue",
            )
        self._name = name

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    def add(self, task: Task | Iterable[Task] | None, transactional: bool = False) -> Any:
        """Add one task, or several that are all delivered or all pulled; returns what it was given.

        Where several are added, those that can be stored are, whatever becomes of the others: `was_enqueued` tells
        which are. With `transactional` all of them belong to the transaction that is open, or none.

        Raises TaskAlreadyExistsError and TombstonedTaskError for names that are taken, any other error in preference to
        these; InvalidTaskError, TooManyTasksError for more than 100, DuplicateTaskNameError, BadTaskStateError for one
        that was added before, BadTransactionStateError, UnknownQueueError, InvalidQueueModeError; TransientError.
        """
        if task is None or (isinstance(task, Sized) and not len(task)):
            return []
        return self.add_async(task, transactional).get_result()

    def add_async(
        self, task: Task | Iterable[Task], transactional: bool = False, rpc: UserRPC | None = None
    ) -> UserRPC:
        """The same, with an UserRPC whose `get_result()` returns the result. Raises what is wrong with the call."""
        return adding.add_async(self._name, task, transactional, rpc)

    def __eq__(self, other: object) -> bool:
        return self._name == other._name if isinstance(other, Queue) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f"Queue<name={self._name!r}>"


def add(*args: Any, **kwargs: Any) -> Task:
    """Make a task and add it: the arguments are those of `Task`, and `queue_name` and `transactional`."""
    transactional = kwargs.pop("transactional", False)
    queue_name = kwargs.pop("queue_name", DEFAULT_QUEUE)
    return Task(*args, **kwargs).add(queue_name=queue_name, transactional=transactional)


def add_async(*args: Any, **kwargs: Any) -> UserRPC:
    """The same, with an UserRPC whose `get_result()` returns the task; it may be given one as `rpc`."""
    transactional = kwargs.pop("transactional", False)
    queue_name = kwargs.pop("queue_name", DEFAULT_QUEUE)
    rpc = kwargs.pop("rpc", None)
    return Task(*args, **kwargs).add_async(queue_name=queue_name, transactional=transactional, rpc=rpc)
