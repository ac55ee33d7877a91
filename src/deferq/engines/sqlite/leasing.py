"""Leasing tasks: looking where work is, taking it in two statements, reading what was taken."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from sqlite3 import Connection
from typing import Any, NamedTuple

from deferq.engines.answers import TakeUp
from deferq.engines.base import LEASE_SERIAL_BITS, Clock, Settlement, Want
from deferq.engines.sqlite import limiting
from deferq.engines.sqlite.connections import first_row
from deferq.engines.sqlite.rows import json_list, to_leased
from deferq.engines.sqlite.sharing import CutShort, Due, Lane, Line, share_out
from deferq.engines.sqlite.statements import statements
from deferq.model.state import State
from deferq.model.task import Leased

SQL = statements("lease")
#: With more lanes than this, only as much of each is looked at as is likely to be taken.
FEW_LANES = 16
#: By whether their tasks are delivered.
_LANES, _CANDIDATES = ("lanes", "delivered_lanes"), ("candidates", "delivered_candidates")


class LaneName(NamedTuple):
    """One half of a lane: its tasks of a single start, or the others."""

    queue: str
    priority: int
    at_most_once: int
    #: Whether its queue is limited.
    limited: int
    #: Whether they have an url: they stand in an index of their own.
    delivered: int = 0


class Lanes(NamedTuple):
    """Where work is, and when the next task is due that is not due yet."""

    due: list[LaneName]
    next_due: int | None
    #: Those of the queues with due tasks that are limited.
    limited: frozenset[str] = frozenset()


class Taken(NamedTuple):
    """What a lease took."""

    #: In starting order.
    ids: list[int]
    #: When the rate of a queue lets the next task start, where it holds some back.
    next_due: int | None = None


def look(connection: Connection, want: Want, now: int, settlements: Sequence[Settlement] = ()) -> Lanes:
    """Find the lanes with due tasks. A read without a lock: what it misses, the next bell or poll finds.

    `settlements` are about to be written, and may make room in a queue that is at its limit.
    """
    queues = None if want.queues is None else json_list(want.queues)
    due: list[LaneName] = []
    upcoming: list[int] = []
    tight: set[str] = set()
    for delivered in range(1 + want.delivers):
        rows = connection.execute(SQL[_LANES[delivered]], {"queues": queues, "pulls": want.pulls, "now": now})
        for queue, is_limited, priority, once, is_due, following in rows:
            if is_due:
                due.append(LaneName(queue, priority, once, is_limited, delivered))
                if is_limited:
                    tight.add(queue)
            if following is not None:
                upcoming.append(following)
    lanes = Lanes(due, min(upcoming, default=None), frozenset(tight))
    return _within_limits(connection, lanes, want, now, settlements) if tight else lanes


def _within_limits(
    connection: Connection, lanes: Lanes, want: Want, now: int, settlements: Sequence[Settlement]
) -> Lanes:
    """Without the lanes of queues from which nothing can be leased."""
    standings = limiting.standings(connection, lanes.limited)
    if not want.free:  # a limited queue is never leased ahead; once there is a slot, somebody looks again
        useless, held_back = set(standings), set[str]()
    else:
        useless = held_back = limiting.useless(standings, {one.task.queue for one in settlements}, now)
    times = [lanes.next_due, *(standings[name].due(now) for name in held_back)]
    return Lanes(
        [lane for lane in lanes.due if lane.queue not in useless],
        min((time for time in times if time is not None), default=None),
        lanes.limited - useless,
    )


def lease(connection: Connection, want: Want, lanes: Lanes, now: int, clock: Clock) -> Taken:
    """Take up to `want.free + want.ahead` tasks inside a write transaction.

    Buckets are reckoned by `clock`: from the transaction before, `now` may have been long ago.
    """
    if not lanes.limited:
        return Taken(_take(connection, _Wish(want, lanes, now, {})).ids)
    at = clock()
    stored = limiting.standings(connection, lanes.limited)
    before = {name: standing.corrected(at) for name, standing in stored.items()}
    allowances = {name: standing.allowance(at) for name, standing in before.items()}
    ids, lines = _take(connection, _Wish(want, lanes, now, allowances))
    after = {name: standing.taken(lines[name].count(ids), at) for name, standing in before.items()}
    limiting.spend(connection, stored, after)
    held_back = [standing.due(at) for name, standing in after.items() if lines[name].has_more(ids)]
    return Taken(ids, min((time for time in held_back if time is not None), default=None))


class _Wish(NamedTuple):
    """What to lease, where to look for it, and how many some queues allow."""

    want: Want
    lanes: Lanes
    now: int
    allowances: Mapping[str, int]

    @property
    def room(self) -> int:
        return self.want.free + self.want.ahead


class _Chosen(NamedTuple):
    ids: list[int]
    #: By queue, what they were chosen from.
    lines: dict[str, Line]


def _take(connection: Connection, wish: _Wish) -> _Chosen:
    queues = _rotated({lane.queue for lane in wish.lanes.due}, wish.want.rotation)
    limit = wish.room if len(wish.lanes.due) <= FEW_LANES else 2 * wish.room // len(queues) + 8
    try:
        chosen = _choose(connection, wish, queues, min(limit, wish.room))
    except CutShort:
        chosen = _choose(connection, wish, queues, wish.room)
    if chosen.ids:
        want = wish.want
        parameters = {"ids": json_list(chosen.ids), "lease_id": want.lease_id, "until": wish.now + want.lease_us}
        connection.execute(SQL["lease"], parameters)
    return chosen


def _choose(connection: Connection, wish: _Wish, queues: Sequence[str], limit: int) -> _Chosen:
    """Choose from the first `limit` due tasks of every lane."""
    heads = _heads(connection, wish, limit)
    lines = {queue: Line(heads[queue], wish.allowances.get(queue)) for queue in queues}
    return _Chosen(share_out(lines.values(), wish.want.free, wish.room), lines)


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
        "routes": _routes(want),
        "delivers": want.delivers,
        "now": now,
        "lease_id": want.lease_id,
        "until": now + want.lease_us,
    }
    # It is a write for as long as its cursor is open, and an error at a row may keep the cursor alive.
    with closing(connection.execute(SQL["lease_first"], parameters)) as rows:
        return [to_leased(row) for row in rows.fetchall()]


def stalled(
    connection: Connection, now: int, limit: int, dead: Collection[int], queue: str | None = None
) -> list[Leased]:
    """Tasks whose lease is over, of one queue or of all, then those that these dead dispatchers hold."""
    parameters: dict[str, Any] = {"now": now, "limit": limit, "queue": queue}
    found = [to_leased(row) for row in connection.execute(SQL["stalled"], parameters)]
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


def take_up(connection: Connection, task_id: int, lease_id: int, now: int) -> TakeUp:
    """Take a lease up, once, if it holds. Needs no transaction around it."""
    parameters = {"id": task_id, "lease_id": lease_id, "now": now}
    if connection.execute(SQL["take_up"], parameters).rowcount:
        return TakeUp.TAKEN
    row = first_row(connection, SQL["why_not"], parameters)
    if row is None:
        return TakeUp.NOT_HELD
    state, held_by, until, taken_up = row
    if State(state).finished:
        return TakeUp.FINISHED
    is_ours = (state, held_by, taken_up) == (State.LEASED, lease_id, lease_id) and until > now
    return TakeUp.TAKEN_BEFORE if is_ours else TakeUp.NOT_HELD


def _heads(connection: Connection, wish: _Wish, limit: int) -> dict[str, list[Lane]]:
    """The first `limit` due tasks of every lane, by queue and then from high to low priority."""
    names = sorted(wish.lanes.due, key=lambda lane: -lane.priority)
    halves: dict[tuple[str, int], dict[int, list[Due]]] = defaultdict(dict)
    for delivered in range(1 + wish.want.delivers):
        asked = [name for name in names if name.delivered == delivered]
        if not asked:
            continue
        parameters = {
            "lanes": json_list(asked),
            "pulls": wish.want.pulls,
            "now": wish.now,
            "routes": _routes(wish.want),
            "limit": limit,
        }
        answer = json.loads(connection.execute(SQL[_CANDIDATES[delivered]], parameters).fetchone()[0])
        for place, tasks in answer:
            queue, priority, once, *_ = asked[place]
            half = halves[queue, priority]
            half[once] = sorted(half[once] + tasks)[:limit] if once in half else tasks
    by_queue: dict[str, list[Lane]] = defaultdict(list)
    for queue, priority in sorted(halves, key=lambda lane: -lane[1]):
        half = halves[queue, priority]
        by_queue[queue].append(Lane(half.get(0, ()), half.get(1, ()), limit))
    return by_queue


def _routes(want: Want) -> str | None:
    """As JSON; no route is the empty one."""
    return None if want.routes is None else json_list(route or "" for route in want.routes)


def _rotated(queues: set[str], rotation: int) -> list[str]:
    in_order = sorted(queues)
    start = rotation % len(in_order) if in_order else 0
    return in_order[start:] + in_order[:start]
