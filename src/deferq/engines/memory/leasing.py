"""Which tasks a dispatcher gets, and for how long. Every function runs inside a stroke."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from deferq.engines.base import Want
from deferq.engines.memory.queue import Queue
from deferq.engines.memory.rows import Row, to_leased
from deferq.engines.memory.tasks import Tasks
from deferq.model.state import State
from deferq.model.task import Leased


def wanted(tasks: Tasks, want: Want) -> list[Queue]:
    """The queues that may have work, from the one whose turn it is to be first."""
    names = tasks.queues.keys() if want.queues is None else tasks.queues.keys() & set(want.queues)
    queues = [queue for name in sorted(names) if not (queue := tasks.queues[name]).paused and queue.pending]
    start = want.rotation % len(queues) if queues else 0
    return queues[start:] + queues[:start]


def lease(tasks: Tasks, queues: Iterable[Queue], want: Want, now: int) -> list[Leased]:
    """Lease from these queues what is wanted."""
    permits = iter(range(want.free))
    lines = [_line(tasks, queue, want, permits, now) for queue in queues]
    rows = _share_out(lines, want.free + want.ahead)
    # The free slots are for those in front, and tasks of a single start may have no other.
    rows.sort(key=lambda row: not row.made.at_most_once)
    return [to_leased(row) for row in rows]


def _line(tasks: Tasks, queue: Queue, want: Want, permits: Iterator[int], now: int) -> Iterator[Row]:
    """The tasks of one queue in the order in which they are served; each is leased as it is drawn."""
    for row in queue.offer(want, permits, now):
        tasks.hold(row, want.lease_id, now + want.lease_us)
        yield row


def _share_out(lines: list[Iterator[Row]], room: int) -> list[Row]:
    """Equal shares for all that have work, and again of what some left over."""
    rows: list[Row] = []
    while room and lines:
        share = max(1, room // len(lines))
        hungry = []
        for line in lines:
            taken = list(islice(line, min(share, room)))
            rows += taken
            room -= len(taken)
            if len(taken) == share:
                hungry.append(line)
        lines = hungry
    return rows


def next_due(queues: Iterable[Queue]) -> int | None:
    """When the next task of these queues is due that is not due yet."""
    return min((due for queue in queues if (due := queue.next_due()) is not None), default=None)


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


def stalled(tasks: Tasks, now: int, limit: int) -> list[Leased]:
    """Tasks whose lease is over."""
    entries = list(islice(tasks.held.due(now), limit))
    for entry in entries:
        tasks.held.add(entry)
    return [to_leased(tasks.rows[entry.task_id]) for entry in entries]
