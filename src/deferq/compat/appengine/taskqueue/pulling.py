"""Leasing pull tasks, and keeping or giving up the leases."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from deferq import errors as core
from deferq.codec.requests import request_in
from deferq.codec.signing import body_of
from deferq.compat.appengine.taskqueue.errors import (
    Error,
    InvalidLeaseTimeError,
    InvalidMaxTasksError,
    QueuePausedError,
    TaskLeaseExpiredError,
    TombstonedTaskError,
)
from deferq.compat.appengine.taskqueue.finding import by_name, held
from deferq.compat.appengine.taskqueue.limits import MAX_LEASE_SECONDS, MAX_TASKS_PER_LEASE
from deferq.compat.appengine.taskqueue.modes import check_pulled
from deferq.compat.appengine.taskqueue.task import Task
from deferq.compat.appengine.taskqueue.translating import translated
from deferq.engines.base import LeasingEngine, Reschedule, Settlement, Want, new_lease_id
from deferq.model import task as model
from deferq.model.outcome import ErrorText, Failed, Outcome, Parked
from deferq.model.state import State
from deferq.model.task import Leased
from deferq.runtime.settling import fate_of_stalled, settle

if TYPE_CHECKING:
    from deferq.app import Deferq

US = 1_000_000
#: No release will ever read these; what else cannot be read, another process may.
_UNREADABLE = (core.PayloadCorrupt, core.PayloadSignatureError, core.CodecNotAllowed)
#: So many leases that are over are settled at a time.
_OVER_MAX = 1_000


def check_lease_seconds(seconds: Any) -> float:
    """Raises TypeError or InvalidLeaseTimeError for what is no time of a lease."""
    if not isinstance(seconds, int | float):
        raise TypeError("lease_seconds: a number is expected.")
    if not 0 <= seconds <= MAX_LEASE_SECONDS:
        raise InvalidLeaseTimeError(
            f"lease_seconds: a lease lasts for 0 to {MAX_LEASE_SECONDS:,} seconds, a week.", field="lease_seconds"
        )
    return float(seconds)


def check_max_tasks(count: Any) -> int:
    """Raises TypeError or InvalidMaxTasksError for what is no number of tasks."""
    if not isinstance(count, int):
        raise TypeError("max_tasks: a whole number is expected.")
    if not 0 < count <= MAX_TASKS_PER_LEASE:
        raise InvalidMaxTasksError(
            f"max_tasks: 1 to {MAX_TASKS_PER_LEASE:,} tasks can be leased at once.", field="max_tasks"
        )
    return count


def lease(owner: Deferq, queue: str, seconds: float, most: int) -> list[Task]:
    """Lease up to `most` due tasks of a pull queue, whatever their tags, the one that is due longest first."""
    return list(_Lease(owner, queue, seconds).take(most))


def lease_by_tag(owner: Deferq, queue: str, seconds: float, most: int, tag: str | None) -> list[Task]:
    """Lease tasks of one tag; None: that of the task that is due longest, which may be no tag at all."""
    lease = _Lease(owner, queue, seconds)
    if tag:
        return list(lease.take(most, tag))
    first = list(lease.take(1))
    if not first or most == 1:
        return first
    return [*first, *lease.take(most - 1, first[0].tag)]


class _Lease:
    """Tasks that are taken together."""

    _ANY = object()

    def __init__(self, owner: Deferq, queue: str, seconds: float) -> None:
        with translated():
            self._is_there = check_pulled(owner, queue) is not None
            self._owner, self._queue, self._us = owner, queue, round(seconds * US)
            if self._is_there:
                settle_over(owner.engine, queue)

    def take(self, most: int, tag: object = _ANY) -> Iterator[Task]:
        """Up to so many, of one tag (None: of those without one) or of any."""
        if not self._is_there:
            return
        want = Want(
            free=most,
            ahead=0,
            lease_id=new_lease_id(secrets.randbits(32), secrets.randbits(31)),
            lease_us=self._us,
            queues=(self._queue,),
            routes=None if tag is self._ANY else (tag,),  # type: ignore[arg-type]
            delivers=True,  # the few that were added before it became a pull queue
            pulls=True,
        )
        with translated():
            leased = self._owner.engine.turn((), want).leased
            yield from self._opened(leased)

    def _opened(self, leased: list[Leased]) -> Iterator[Task]:
        """Those whose signatures fit; the others are settled as any worker would."""
        refused: list[Settlement] = []
        for task in leased:
            payload = _payload(self._owner, task)
            if isinstance(payload, bytes):
                name = task.name or str(task.id)
                yield Task._of_lease(task.queue, name, payload, task.route, task.leased_until, task.starts)
            else:
                refused.append(settle(task, payload, 0, self._owner.engine.now(), 0.0))
        if refused:
            self._owner.engine.turn(refused, None)


def _payload(owner: Deferq, task: Leased) -> bytes | Outcome:
    try:
        owner.codec.verify(task)
        request = request_in(task.payload)
    except core.PayloadError as error:
        text = ErrorText(error_type=type(error).__name__, message=str(error))
        return (
            Failed(error=text, permanent=True, reason="corrupt")
            if isinstance(error, _UNREADABLE)
            else Parked(error=text)
        )
    return body_of(task.payload) if request is None else request.body


def settle_over(engine: LeasingEngine, queue: str) -> None:
    """Let the tasks of a queue whose leases are over be leased again, or end those that were leased often enough."""
    while True:
        now = engine.now()
        stalled = engine.stalled(_OVER_MAX, queue=queue)
        over = [settle(task, fate_of_stalled(task, now), 0, now, 0.0)._replace(only_if_over=True) for task in stalled]
        if over:
            engine.turn(over, None)
        if len(stalled) < _OVER_MAX:
            return


def modify(owner: Deferq, queue: str, task: Task, seconds: float) -> None:
    """Let the lease of `task` end so many seconds from now. Raises what `Queue.modify_task_lease` raises."""
    with translated():
        settings = check_pulled(owner, queue)
        if settings is not None and settings.paused:
            raise QueuePausedError(f"The queue {queue!r} is paused, and its leases are not changed meanwhile.")
        (found,) = by_name(owner.engine, queue, [task.name or ""])
        stored = _checked(found, task, queue)
        now = owner.engine.now()
        if stored.leasable_at != task._eta_usec or stored.leasable_at <= now:
            raise _expired(task)
        until = now + round(seconds * US)
        if not _moved(owner.engine, stored, until):
            raise _expired(task)
        task._lease_ends(until)


def _checked(found: model.Task | int | None, task: Task, queue: str) -> model.Task:
    if isinstance(found, model.Task) and not found.state.finished:
        return found
    if found is not None:
        raise TombstonedTaskError(f"The task {task.name!r} of queue {queue!r} was deleted, or has ended.")
    raise Error(f"The queue {queue!r} has no task {task.name!r}.")


def _moved(engine: LeasingEngine, stored: model.Task, until: int) -> bool:
    """Whether the lease was still the same one; the eta of one that is not leased is as good as the end of a lease."""
    if stored.state is State.PENDING:
        return bool(engine.change([stored.id], Reschedule(until)))
    lost, _ = engine.renew([held(stored)], until)
    return not lost


def _expired(task: Task) -> TaskLeaseExpiredError:
    return TaskLeaseExpiredError(
        f"The lease of task {task.name!r} is over: it may be somebody else's by now. Lease it again."
    )
