"""Storing tasks: apart, or in a transaction of the caller's; and what came of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deferq.compat.appengine.taskqueue.errors import (
    DatastoreError,
    Error,
    InvalidEtaError,
    TaskAlreadyExistsError,
    TombstonedTaskError,
)
from deferq.compat.appengine.taskqueue.finding import by_name, id_in
from deferq.compat.appengine.taskqueue.limits import MAX_TASKS_PER_TRANSACTION, PULL
from deferq.compat.appengine.taskqueue.making import made
from deferq.compat.appengine.taskqueue.modes import enter
from deferq.compat.appengine.taskqueue.translating import translated
from deferq.engines.answers import Clash, Existing, PutAnswer, Stored, Tombstoned
from deferq.model import task as model
from deferq.model.queue import Queue
from deferq.model.settings import Declare
from deferq.model.task import NewTask
from deferq.transactions import joining

if TYPE_CHECKING:
    from deferq.app import Deferq
    from deferq.compat.appengine.taskqueue.task import Task

Result = Error | None
#: Tasks that this process has put into transactions lately. Which of them belong to an open one, the store knows.
_transactional: deque[int] = deque(maxlen=64)


def store(owner: Deferq, tasks: Sequence[Task], queue: str, within: bool | None) -> list[Result]:
    """Store `tasks` in `queue`, in one transaction, and tell them so; says of each what kept it out.

    `within`: True: the transaction of the caller's that is open on the store's own database, and what keeps one of them
    out keeps out all; None: the same transaction, if one is open; False: none.

    Raises UnknownQueueError, InvalidQueueModeError, BadTransactionStateError, DatastoreError, TransientError or
    InternalError; then none is stored.
    """
    with translated():
        transaction = joining.chosen(owner.engine, within)
        storing = _Storing(owner, queue, transaction, together=within is True)
        return storing.all(tasks) if transaction is None else transaction.run(lambda: storing.all(tasks))


class _Storing:
    """One call, which may take several rounds."""

    def __init__(self, owner: Deferq, queue: str, transaction: joining.Transaction | None, *, together: bool) -> None:
        self._owner = owner
        self._queue = queue
        self._transaction = transaction
        self._together = together
        #: What the store is to be told of the queue.
        self._declared: dict[str, Queue] = {}
        self._made: list[NewTask | Error] = []

    def all(self, tasks: Sequence[Task]) -> list[Result]:
        """Put them, and once more those whose ids are taken."""
        answers = self._put(tasks)
        while clashing := [place for place, answer in enumerate(answers) if isinstance(answer, Clash)]:
            for place, answer in zip(clashing, self._put([tasks[place] for place in clashing]), strict=True):
                answers[place] = answer
        return [answer for answer in answers if not isinstance(answer, Clash)]

    def _put(self, tasks: Sequence[Task]) -> list[Result | Clash]:
        _, stored = self._owner.put_made(lambda: self._make(tasks), self._transaction, self._declared)
        answers = iter(stored)
        return [
            one if isinstance(one, Error) else self._result(task, one, next(answers))
            for task, one in zip(tasks, self._made, strict=True)
        ]

    def _make(self, tasks: Sequence[Task]) -> list[NewTask]:
        """Those of them that can be stored. It is called once the store is open."""
        owner, apart = self._owner, self._transaction is None
        pull = any(task.method == PULL for task in tasks)
        self._declared.update(enter(owner, self._queue, pull=pull, apart=apart))
        if apart and self._declared:
            owner.engine.change_queues([(name, Declare(queue)) for name, queue in self._declared.items()])
        if self._together:
            self._check_number(len(tasks))
        now, ids = owner.engine.now(), owner.ids.take(len(tasks))
        self._made = [self._one_made(task, task_id, now) for task, task_id in zip(tasks, ids, strict=True)]
        for one in self._made:
            if self._together and isinstance(one, Error):
                raise one
        return [one for one in self._made if isinstance(one, NewTask)]

    def _one_made(self, task: Task, task_id: int, now: int) -> NewTask | Error:
        try:
            with translated():
                if task._eta_usec < 0:
                    raise InvalidEtaError("eta: expected a time after the year 1970.", field="eta")
                self._check_made_name(task.name)
                return made(self._owner, task, self._queue, task_id, now)
        except Error as error:
            return error

    def _check_made_name(self, name: str | None) -> None:
        """A task that was added without a name goes by its id, and nobody else is to take that for a name."""
        if not name or id_in(name) is None:
            return
        (found,) = by_name(self._owner.engine, self._queue, [name])
        if isinstance(found, model.Task) and found.name is None:
            raise _tombstoned(name, found.id, 0) if found.state.finished else _exists(name, found.id)

    def _check_number(self, more: int) -> None:
        """App Engine lets one transaction add five tasks."""
        assert self._transaction is not None
        within = joining.within_of(self._owner.engine)
        before = within.uncommitted(self._transaction.connection(), list(_transactional))
        if len(before) + more > MAX_TASKS_PER_TRANSACTION:
            raise DatastoreError(
                f"One transaction adds tasks, and the maximum allowed is {MAX_TASKS_PER_TRANSACTION}: it has added"
                f" {len(before)}, and here {'is' if more == 1 else 'are'} {more} more. deferq.defer() knows no such"
                " limit."
            )

    def _result(self, task: Task, made: NewTask, answer: PutAnswer) -> Result | Clash:
        if isinstance(answer, Existing):
            return _exists(made.name, answer.id)
        if isinstance(answer, Tombstoned):
            return _tombstoned(made.name, answer.id, answer.until)
        if isinstance(answer, Stored):
            if self._together:
                _transactional.append(answer.id)
            task._was_added(made.queue, made.name or str(made.id))
            return None
        return answer


def _exists(name: str | None, task_id: int) -> TaskAlreadyExistsError:
    return TaskAlreadyExistsError(
        f"Task {task_id} of this queue has the name {name!r} and has not ended yet. It will do what this one was to do,"
        " or take another name.",
        task_id=task_id,
    )


def _tombstoned(name: str | None, task_id: int, until: int) -> TombstonedTaskError:
    return TombstonedTaskError(
        f"The name {name!r} belonged to task {task_id} of this queue, which has ended, and stays taken for a while."
        " Take another name.",
        task_id=task_id,
        until=until,
    )
