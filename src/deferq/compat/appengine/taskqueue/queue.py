"""A queue as App Engine's library has it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sized
from typing import Any

from deferq.compat.appengine.taskqueue import adding, deleting, pulling
from deferq.compat.appengine.taskqueue.errors import InvalidQueueNameError
from deferq.compat.appengine.taskqueue.limits import DEFAULT_QUEUE, QUEUE_NAME_PATTERN
from deferq.compat.appengine.taskqueue.rpc import UserRPC, check_deadline, create_rpc
from deferq.compat.appengine.taskqueue.statistics import QueueStatistics
from deferq.compat.appengine.taskqueue.task import Task
from deferq.default import default


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
        which are. A transaction that is open here on the store's own database takes them in: they exist if and only if
        it commits. With `transactional` there must be one, and then all of them are stored or none: up to five in one
        transaction, none of them named.

        Raises TaskAlreadyExistsError and TombstonedTaskError for names that are taken, any other error in preference to
        these; InvalidTaskError, TooManyTasksError for more than 100, DuplicateTaskNameError, BadTaskStateError for one
        that was added before, BadTransactionStateError outside a transaction, DatastoreError for one that cannot take
        them, UnknownQueueError, InvalidQueueModeError; TransientError.
        """
        if task is None or (isinstance(task, Sized) and not len(task)):
            return []
        return self.add_async(task, transactional).get_result()

    def add_async(
        self, task: Task | Iterable[Task], transactional: bool = False, rpc: UserRPC | None = None
    ) -> UserRPC:
        """The same, with an UserRPC whose `get_result()` returns the result. Raises what is wrong with the call."""
        return adding.add_async(self._name, task, transactional, rpc)

    # ---- deleting

    def purge(self) -> None:
        """Delete all tasks of the queue. Those that run go on, and are not tried again.

        Names of tasks that have one stay taken for a while. Raises UnknownQueueError, TransientError.
        """
        deleting.purge(default(), self._name)

    def delete_tasks(self, task: Task | Iterable[Task]) -> Any:
        """Delete a task, or several, by their names; returns what it was given.

        `was_deleted` tells which were there. One that runs goes on, and is not tried again; a pull task that somebody
        has leased counts as done.

        Raises BadTaskStateError for a task without a name, or one that was deleted before, DuplicateTaskNameError,
        UnknownQueueError, TransientError.
        """
        return self.delete_tasks_async(task).get_result()

    def delete_tasks_async(self, task: Task | Iterable[Task], rpc: UserRPC | None = None) -> UserRPC:
        """The same, with an UserRPC whose `get_result()` returns the result. Raises what is wrong with the call."""
        return deleting.delete_async(self._name, task, rpc)

    def delete_tasks_by_name(self, task_name: str | Iterable[str]) -> Any:
        """The same for a name, or several; returns tasks that have nothing but the name."""
        return self.delete_tasks_by_name_async(task_name).get_result()

    def delete_tasks_by_name_async(self, task_name: str | Iterable[str], rpc: UserRPC | None = None) -> UserRPC:
        """The same, with an UserRPC whose `get_result()` returns the result."""
        if isinstance(task_name, str):
            return self.delete_tasks_async(Task(name=task_name), rpc)
        return self.delete_tasks_async([Task(name=name) for name in task_name], rpc)

    # ---- pulling

    def lease_tasks(self, lease_seconds: float, max_tasks: int, deadline: float = 10) -> list[Task]:
        """Lease up to `max_tasks` due tasks of a pull queue, up to 1,000, for up to a week.

        Nobody else gets them meanwhile. Whoever is done with one deletes it; else, when its lease is over, it can be
        leased again, unless its retry options say that it was leased often enough: then it is dead, and kept.

        Raises TypeError, InvalidLeaseTimeError, InvalidMaxTasksError, InvalidDeadlineError, InvalidQueueModeError for a
        push queue, UnknownQueueError, TransientError.
        """
        check_deadline(deadline)
        leased: list[Task] = self.lease_tasks_async(lease_seconds, max_tasks, create_rpc(deadline)).get_result()
        return leased

    def lease_tasks_async(self, lease_seconds: float, max_tasks: int, rpc: UserRPC | None = None) -> UserRPC:
        """The same, with an UserRPC whose `get_result()` returns the tasks. Raises what is wrong with the call."""
        seconds, most = pulling.check_lease_seconds(lease_seconds), pulling.check_max_tasks(max_tasks)
        return (rpc or create_rpc()).make_call(
            "QueryAndOwnTasks", lambda: pulling.lease(default(), self._name, seconds, most), list
        )

    def lease_tasks_by_tag(
        self, lease_seconds: float, max_tasks: int, tag: str | None = None, deadline: float = 10
    ) -> list[Task]:
        """The same for tasks of one tag; None: that of the task that is due longest, which may be no tag at all."""
        check_deadline(deadline)
        rpc = self.lease_tasks_by_tag_async(lease_seconds, max_tasks, tag, create_rpc(deadline))
        leased: list[Task] = rpc.get_result()
        return leased

    def lease_tasks_by_tag_async(
        self, lease_seconds: float, max_tasks: int, tag: str | None = None, rpc: UserRPC | None = None
    ) -> UserRPC:
        """The same, with an UserRPC whose `get_result()` returns the tasks. Raises what is wrong with the call."""
        seconds, most = pulling.check_lease_seconds(lease_seconds), pulling.check_max_tasks(max_tasks)
        return (rpc or create_rpc()).make_call(
            "QueryAndOwnTasks", lambda: pulling.lease_by_tag(default(), self._name, seconds, most, tag), list
        )

    def modify_task_lease(self, task: Task, lease_seconds: float) -> None:
        """Let the lease of a task end so many seconds from now; 0: anybody may lease it again.

        Raises TypeError, InvalidLeaseTimeError; TaskLeaseExpiredError if the lease is over, or is not the one that
        `task` tells of; TombstonedTaskError for one that was deleted, Error for one that never was; QueuePausedError,
        InvalidQueueModeError, UnknownQueueError, TransientError.
        """
        seconds = pulling.check_lease_seconds(lease_seconds)
        pulling.modify(default(), self._name, task, seconds)

    # ---- how it stands

    def fetch_statistics(self, deadline: float = 10) -> QueueStatistics:
        """How the queue stands. Raises InvalidDeadlineError, UnknownQueueError, TransientError."""
        check_deadline(deadline)
        found: QueueStatistics = self.fetch_statistics_async(create_rpc(deadline)).get_result()
        return found

    def fetch_statistics_async(self, rpc: UserRPC | None = None) -> UserRPC:
        """The same, with an UserRPC whose `get_result()` returns it."""
        return QueueStatistics.fetch_async(self, rpc)

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
