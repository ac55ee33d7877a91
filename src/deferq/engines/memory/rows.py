"""A stored task, and as what others see it."""

from __future__ import annotations

from dataclasses import dataclass

from deferq.engines.base import Filter
from deferq.model.state import State
from deferq.model.task import Failure, Leased, NewTask, Task, decode_options


@dataclass(slots=True)
class Row:
    """A stored task: what was put, and what has happened to it since."""

    made: NewTask
    eta: int
    leasable_at: int
    first_due: int
    name: str | None
    expires_at: int | None
    state: State = State.PENDING
    attempts: int = 0
    starts: int = 0
    parks: int = 0
    crashes: int = 0
    #: The last lease; it stays after the settlement, so that a repeated one is recognised.
    lease_id: int | None = None
    #: The last lease that was taken up.
    taken_up: int | None = None
    cancel_requested: bool = False
    finished_at: int | None = None
    reason: str | None = None
    result: bytes | None = None
    failures: tuple[Failure, ...] = ()
    #: The one valid entry in an agenda has this number; 0: none has.
    ticket: int = 0
    #: As which it is counted while pending.
    reading: str = ""

    @property
    def id(self) -> int:
        return self.made.id


def new_row(task: NewTask) -> Row:
    """The row of a task that has just been put."""
    return Row(
        made=task,
        eta=task.eta,
        leasable_at=task.eta,
        first_due=task.eta,
        name=task.name,
        expires_at=task.expires_at,
    )


def reading(row: Row, now: int) -> str:
    """As which a pending row is counted; the same as `Task.reading` says."""
    if row.parks:
        return "parked"
    if row.eta <= now:
        return "ready"
    return "retrying" if row.attempts else "scheduled"


def matches(row: Row, where: Filter) -> bool:
    """Whether `find` shows it."""
    return (
        (where.queue is None or row.made.queue == where.queue)
        and (where.state is None or row.state is where.state)
        and (where.target is None or row.made.target == where.target)
        and (where.name is None or row.name == where.name)
    )


def to_task(row: Row) -> Task:
    """A row as people read it."""
    made = row.made
    return Task(
        id=row.id,
        queue=made.queue,
        target=made.target,
        state=row.state,
        priority=made.priority,
        eta=row.eta,
        leasable_at=row.leasable_at,
        first_due=row.first_due,
        attempts=row.attempts,
        starts=row.starts,
        parks=row.parks,
        expires_at=row.expires_at,
        name=row.name,
        route=made.route,
        url=made.url,
        options=decode_options(made.options),
        lease_id=row.lease_id,
        cancel_requested=row.cancel_requested,
        finished_at=row.finished_at,
        reason=row.reason,
        payload_bytes=len(made.payload),
        crashes=row.crashes,
    )


def to_leased(row: Row) -> Leased:
    """A row in a dispatcher's hand. Only leased rows come here."""
    made = row.made
    assert row.lease_id is not None
    return Leased(
        id=row.id,
        queue=made.queue,
        target=made.target,
        priority=made.priority,
        eta=row.eta,
        attempts=row.attempts,
        starts=row.starts,
        parks=row.parks,
        expires_at=row.expires_at,
        name=row.name,
        route=made.route,
        url=made.url,
        options=made.options,
        payload=made.payload,
        first_due=row.first_due,
        lease_id=row.lease_id,
        leased_until=row.leasable_at,
        cancel_requested=row.cancel_requested,
        crashes=row.crashes,
    )
