"""Which tasks a dispatcher gets, and for how long. Every function runs inside a stroke."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from deferq.engines.answers import TakeUp
from deferq.engines.base import Want
from deferq.engines.memory.agenda import Entry
from deferq.engines.memory.queue import Queue
from deferq.engines.memory.rows import Row, to_leased
from deferq.engines.memory.tasks import Tasks
from deferq.model.limits import NO_LIMITS
from deferq.model.sharing import Slots, limited, share_out
from deferq.model.state import State
from deferq.model.task import Leased


def wanted(tasks: Tasks, want: Want) -> list[Queue]:
    """The queues that may have work, from the one whose turn it is to be first."""
    names = tasks.queues.keys() if want.queues is None else tasks.queues.keys() & set(want.queues)
    queues = [queue for name in sorted(names) if _serves(queue := tasks.queues[name], want) and queue.pending]
    start = want.rotation % len(queues) if queues else 0
    return queues[start:] + queues[:start]


def _serves(queue: Queue, want: Want) -> bool:
    return not queue.paused and queue.pulled == want.pulls


def lease(tasks: Tasks, want: Want, now: int) -> tuple[list[Leased], int | None]:
    """Lease what is wanted, and say when to look again if that was not all."""
    queues = wanted(tasks, want)
    slots, room = Slots(want.free), want.free + want.ahead
    rows = share_out([_line(tasks, queue, want, slots, now) for queue in queues], room)
    tight = [queue for queue in queues if queue.limits is not NO_LIMITS]
    # The free slots are for those in front, and some may have no other.
    rows.sort(key=lambda row: not (row.made.at_most_once or (tight and tasks.queue_of(row) in tight)))
    times = [queue.next_due() for queue in queues]
    for queue in tight:
        due = queue.took(sum(tasks.queue_of(row) is queue for row in rows), now)
        times += [due] if want.free else []
    leased = [to_leased(row) for row in rows]
    return leased, None if len(rows) >= room else min((time for time in times if time is not None), default=None)


def _line(tasks: Tasks, queue: Queue, want: Want, slots: Slots, now: int) -> Iterator[Row]:
    """The tasks of one queue in the order in which they are served; each is leased as it is drawn."""
    if queue.limits is NO_LIMITS:
        return _leased(tasks, queue.offer(want, slots, now), want, now)
    line = _leased(tasks, queue.offer(want, None, now), want, now)
    return limited(line, queue.standing(now).allowance(now), slots)


def _leased(tasks: Tasks, rows: Iterable[Row], want: Want, now: int) -> Iterator[Row]:
    for row in rows:
        tasks.hold(row, want.lease_id, now + want.lease_us)
        yield row


def offer_freed(tasks: Tasks, now: int) -> None:
    """Ring if a lease has ended for which others have waited: they saw their queue at its limit."""
    tasks.ring |= any(tasks.queues[name].could_go_on(now) for name in tasks.freed)
    tasks.freed.clear()


def renew(tasks: Tasks, leases: Sequence[Leased], until: int) -> tuple[list[Leased], list[Leased]]:
    """Let leases end at `until`. Returns the lost ones, and those to cancel."""
    lost, to_cancel = [], []
    for held in leases:
        row = tasks.rows.get(held.id)
        if row is None or row.state is not State.LEASED or row.lease_id != held.lease_id:
            lost.append(held)
            continue
        tasks.hold_until(row, until)
        if row.cancel_requested:
            to_cancel.append(held)
    return lost, to_cancel


def take_up(row: Row | None, lease_id: int, now: int) -> TakeUp:
    """Take a lease up, once, if it holds."""
    if row is None:
        return TakeUp.NOT_HELD
    if row.state.finished:
        return TakeUp.FINISHED
    if row.state is not State.LEASED or row.lease_id != lease_id or row.leasable_at <= now:
        return TakeUp.NOT_HELD
    if row.taken_up == lease_id:
        return TakeUp.TAKEN_BEFORE
    row.taken_up = lease_id
    return TakeUp.TAKEN


def stalled(tasks: Tasks, now: int, limit: int, queue: str | None) -> list[Leased]:
    """Tasks whose lease is over."""
    looked_at: list[Entry] = []
    rows = islice(_over(tasks, now, queue, looked_at), limit)
    found = [to_leased(row) for row in rows]
    for entry in looked_at:
        tasks.held.add(entry)
    return found


def _over(tasks: Tasks, now: int, queue: str | None, looked_at: list[Entry]) -> Iterator[Row]:
    for entry in tasks.held.due(now):
        looked_at.append(entry)
        row = tasks.rows[entry.task_id]
        if queue is None or row.made.queue == queue:
            yield row
