"""What people do to tasks and queues. Every function runs inside a stroke."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from typing import assert_never

from deferq.engines.base import Cancel, Change, Delete, Parking, Reschedule
from deferq.engines.memory.rows import Row
from deferq.engines.memory.tasks import Tasks
from deferq.model.settings import QueueChange, QueueSettings, changed
from deferq.model.state import State


def change(tasks: Tasks, row: Row, change: Change, now: int) -> bool:
    """Apply `change` if it fits the row; says whether it did."""
    match change:
        case Cancel(reason):
            return _cancel(tasks, row, reason, now)
        case Reschedule(eta):
            return _reschedule(tasks, row, eta, now)
        case Delete():
            if row.state is State.LEASED:
                return False
            tasks.delete(row, now)
            return True
        case _:
            assert_never(change)


def _cancel(tasks: Tasks, row: Row, reason: str, now: int) -> bool:
    if row.state is State.LEASED:
        row.cancel_requested = True
    elif row.state is State.PENDING:
        tasks.withdraw(row, reason, now)
    else:
        return False
    return True


def _reschedule(tasks: Tasks, row: Row, eta: int, now: int) -> bool:
    if row.state is not State.PENDING:
        return False
    if row.attempts == 0:
        row.first_due = eta
    tasks.reschedule(row, eta, now)
    return True


def purge(tasks: Tasks, queue: str, limit: int, now: int) -> int:
    """Delete pending tasks of a queue."""
    if queue not in tasks.queues:
        return 0
    rows = list(islice(tasks.queues[queue].pending.values(), limit))
    for row in rows:
        tasks.delete(row, now)
    return len(rows)


def requeue(tasks: Tasks, row: Row, now: int) -> bool:
    """Make an ended task pending again; says whether it was one. Its name comes back unless somebody else has it."""
    if row.state not in (State.DEAD, State.CANCELLED):
        return False
    del tasks.finished[row.state][row.id]
    row.eta = row.first_due = now
    row.attempts = row.parks = row.crashes = 0
    row.finished_at = row.result = None
    row.reason = "requeued"
    # A person wants it to run: neither an expiry that has passed nor an old request may end it again.
    row.cancel_requested = False
    if row.expires_at is not None and row.expires_at <= now:
        row.expires_at = None
    tasks.names.take_back(row, now)
    tasks.place(row, now)
    return True


def wake(tasks: Tasks, only: Parking | None, limit: int, now: int) -> int:
    """Make parked tasks due now."""
    parked = chain.from_iterable(queue.parked.values() for queue in tasks.queues.values())
    rows = list(islice((row for row in parked if row.eta > now and _is_meant(row, only)), limit))
    for row in rows:
        tasks.reschedule(row, now, now)
    return len(rows)


def _is_meant(row: Row, only: Parking | None) -> bool:
    return only is None or (
        row.reason == only.reason
        and (only.queues is None or row.made.queue in only.queues)
        and (only.routes is None or row.made.route in only.routes)
        and (only.delivers or row.made.url is None)
    )


def change_queues(tasks: Tasks, changes: Sequence[tuple[str, QueueChange]]) -> list[QueueSettings]:
    """Change settings of queues: all of them, or none if one makes no sense."""
    settings = {name: stored.settings for name, _ in changes if (stored := tasks.queues.get(name))}
    for name, change in changes:
        settings[name] = changed(settings.get(name, QueueSettings(name=name)), change)
    for name, after in settings.items():
        queue = tasks.queue(name)
        # Also for what is due later: dispatchers did not reckon with it while the queue was paused.
        tasks.ring |= after != queue.settings and not after.paused and bool(queue.pending)
        queue.set_up(after)
    return [settings[name] for name, _ in changes]
