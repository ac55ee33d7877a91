"""Leasing tasks: looking where work is, taking it in two statements, reading what was taken."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from sqlite3 import Connection
from typing import NamedTuple

from deferq.engines.base import LEASE_SERIAL_BITS, Want
from deferq.engines.sqlite.rows import json_list, to_leased
from deferq.engines.sqlite.sharing import CutShort, Due, Lane, share_out
from deferq.engines.sqlite.statements import statements
from deferq.model.task import Leased

SQL = statements("lease")
#: With more lanes than this, only as much of each is looked at as is likely to be taken.
FEW_LANES = 16


class LaneName(NamedTuple):
    """One half of a lane: its tasks of a single start, or the others."""

    queue: str
    priority: int
    at_most_once: int


class Lanes(NamedTuple):
    """Where work is, and when the next task is due that is not due yet."""

    due: list[LaneName]
    next_due: int | None


def look(connection: Connection, want: Want, now: int) -> Lanes:
    """Find the lanes with due tasks. A read without a lock: what it misses, the next bell or poll finds."""
    queues = None if want.queues is None else json_list(want.queues)
    due: list[LaneName] = []
    upcoming: list[int] = []
    for queue, priority, once, is_due, following in connection.execute(SQL["lanes"], {"queues": queues, "now": now}):
        if is_due:
            due.append(LaneName(queue, priority, once))
        if following is not None:
            upcoming.append(following)
    return Lanes(due, min(upcoming, default=None))


def lease(connection: Connection, want: Want, lanes: Lanes, now: int) -> list[int]:
    """Take up to `want.free + want.ahead` tasks inside a write transaction; returns their ids in starting order."""
    room = want.free + want.ahead
    queues = _rotated({lane.queue for lane in lanes.due}, want.rotation)
    limit = room if len(lanes.due) <= FEW_LANES else 2 * room // len(queues) + 8
    try:
        ids = share_out(_heads(connection, want, lanes, queues, now, min(limit, room)), want.free, room)
    except CutShort:
        ids = share_out(_heads(connection, want, lanes, queues, now, room), want.free, room)
    if ids:
        parameters = {"ids": json_list(ids), "lease_id": want.lease_id, "until": now + want.lease_us}
        connection.execute(SQL["lease"], parameters)
    return ids


def read_leased(connection: Connection, want: Want, ids: Sequence[int], lanes: Lanes, now: int) -> list[Leased]:
    """What `lease` took, in the same order. Needs no lock: nobody else changes what we hold."""
    parameters = {
        "lease_id": want.lease_id,
        "until": now + want.lease_us,
        "queues": json_list({lane.queue for lane in lanes.due}),
    }
    leased = {row[0]: to_leased(row) for row in connection.execute(SQL["leased"], parameters)}
    return [leased[task_id] for task_id in ids if task_id in leased]


def lease_first(connection: Connection, want: Want, queue: str, now: int) -> list[Leased]:
    """Take the first task of the highest priority of `queue`, if it is due. Needs no transaction around it."""
    parameters = {
        "queue": queue,
        "route": want.route,
        "now": now,
        "lease_id": want.lease_id,
        "until": now + want.lease_us,
    }
    return [to_leased(row) for row in connection.execute(SQL["lease_first"], parameters).fetchall()]


def stalled(connection: Connection, now: int, limit: int, dead: Collection[int]) -> list[Leased]:
    """Tasks whose lease is over, then those that these dead dispatchers hold."""
    found = [to_leased(row) for row in connection.execute(SQL["stalled"], {"now": now, "limit": limit})]
    if dead and len(found) < limit:
        parameters = {"now": now, "limit": limit - len(found), "holders": json_list(dead), "bits": LEASE_SERIAL_BITS}
        found += [to_leased(row) for row in connection.execute(SQL["orphaned"], parameters)]
    return found


def renew(connection: Connection, leases: Sequence[Leased], until: int) -> tuple[list[Leased], list[Leased]]:
    """Move the end of leases; returns those that are lost and those to be cancelled."""
    lost: list[Leased] = []
    unwanted: list[Leased] = []
    by_lease: dict[int, list[Leased]] = defaultdict(list)
    for task in leases:
        by_lease[task.lease_id].append(task)
    for lease_id, tasks in by_lease.items():
        ids = json_list(task.id for task in tasks)
        connection.execute(SQL["renew"], {"until": until, "ids": ids, "lease_id": lease_id})
        held = dict(json.loads(connection.execute(SQL["still_held"], {"ids": ids, "lease_id": lease_id}).fetchone()[0]))
        lost += [task for task in tasks if task.id not in held]
        unwanted += [task for task in tasks if held.get(task.id)]
    return lost, unwanted


def _heads(
    connection: Connection, want: Want, lanes: Lanes, queues: Sequence[str], now: int, limit: int
) -> list[list[Lane]]:
    """The first `limit` due tasks of every lane, by queue and then from high to low priority."""
    names = sorted(lanes.due, key=lambda lane: -lane.priority)
    parameters = {"lanes": json_list(names), "now": now, "route": want.route, "limit": limit}
    answer = json.loads(connection.execute(SQL["candidates"], parameters).fetchone()[0])
    halves: dict[tuple[str, int], dict[int, list[Due]]] = defaultdict(dict)
    for place, tasks in answer:
        name = names[place]
        halves[name.queue, name.priority][name.at_most_once] = tasks
    by_queue: dict[str, list[Lane]] = {queue: [] for queue in queues}
    for (queue, _), half in halves.items():
        by_queue[queue].append(Lane(half.get(0, ()), half.get(1, ()), limit))
    return list(by_queue.values())


def _rotated(queues: set[str], rotation: int) -> list[str]:
    in_order = sorted(queues)
    start = rotation % len(in_order) if in_order else 0
    return in_order[start:] + in_order[:start]
