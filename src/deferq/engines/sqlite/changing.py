"""What people do to tasks and queues. Every function runs inside a write transaction."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection
from typing import assert_never

from deferq.engines.base import Cancel, Change, Delete, Parking, RecordChange, Reschedule
from deferq.engines.sqlite.reading import queues
from deferq.engines.sqlite.rows import json_list, queue_row
from deferq.engines.sqlite.settling import bury_names
from deferq.engines.sqlite.statements import statements
from deferq.model.settings import QueueChange, QueueSettings, changed
from deferq.model.state import State

SQL = statements("change")


def change(connection: Connection, ids: Sequence[int], change: Change, now: int, tombstone_us: int) -> list[int]:
    """Apply `change` where it fits; returns the ids it changed, in the order given."""
    states = dict(connection.execute(SQL["states"], {"ids": json_list(ids)}))
    pending = [task_id for task_id in ids if states.get(task_id) == State.PENDING]
    match change:
        case Cancel(reason):
            leased = [task_id for task_id in ids if states.get(task_id) == State.LEASED]
            cancel_pending(connection, pending, reason, now, tombstone_us)
            connection.execute(SQL["request_cancel"], {"ids": json_list(leased)})
            fitting = {*pending, *leased}
        case Reschedule(eta):
            connection.execute(SQL["reschedule"], {"ids": json_list(pending), "eta": eta})
            fitting = set(pending)
        case Delete():
            fitting = {task_id for task_id, state in states.items() if state != State.LEASED}
            delete(connection, sorted(fitting), now, tombstone_us)
        case _:
            assert_never(change)
    return [task_id for task_id in ids if task_id in fitting]


def cancel_pending(connection: Connection, ids: Sequence[int], reason: str, now: int, tombstone_us: int) -> None:
    """Cancel pending tasks; their names become tombstones."""
    connection.execute(SQL["cancel_pending"], {"ids": json_list(ids), "reason": reason, "now": now})
    bury_names(connection, ids, now + tombstone_us)


def delete(connection: Connection, ids: Sequence[int], now: int, tombstone_us: int) -> None:
    """Delete tasks that nobody holds, with everything that belongs to them; names stay as tombstones."""
    parameters = {"ids": json_list(ids)}
    bury_names(connection, ids, now + tombstone_us)
    for statement in ("delete_tasks", "delete_payloads", "delete_spills", "delete_results", "delete_failures"):
        connection.execute(SQL[statement], parameters)


def purge(connection: Connection, queue: str, limit: int, now: int, tombstone_us: int) -> int:
    """Delete pending tasks of a queue."""
    ids = [row[0] for row in connection.execute(SQL["some_pending"], {"queue": queue, "limit": limit})]
    delete(connection, ids, now, tombstone_us)
    return len(ids)


def requeue(connection: Connection, ids: Sequence[int], now: int) -> list[int]:
    """Make ended tasks pending again. A name comes back unless somebody else has it by now."""
    parameters = {"ids": json_list(ids), "now": now}
    ended = {row[0] for row in connection.execute(SQL["states"], parameters) if row[1] in (State.DEAD, State.CANCELLED)}
    _take_names_back(connection, ids, now)
    connection.execute(SQL["requeue"], parameters)
    return [task_id for task_id in ids if task_id in ended]


def _take_names_back(connection: Connection, ids: Sequence[int], now: int) -> None:
    """Of those with the same name the first takes it, and the others have none."""
    parameters = {"ids": json_list(ids), "now": now}
    named = {row[0]: row[1:] for row in connection.execute(SQL["names_of_ended"], parameters)}
    holders: dict[tuple[str, str], int] = {}
    for task_id in ids:
        if task_id in named:
            queue, name, holder = named[task_id]
            holders.setdefault((queue, name), task_id if holder is None else holder)
    own = {task_id: name for name, task_id in holders.items() if task_id in named}
    connection.executemany(SQL["take_name_back"], [(*name, task_id) for task_id, name in own.items()])
    connection.execute(SQL["drop_names"], {"ids": json_list(named.keys() - own.keys())})


def parked(connection: Connection, only: Parking | None, limit: int, now: int) -> str:
    """The ids of parked tasks that are not due yet, as a list in JSON."""
    reason, queues, routes, delivers = only or (None, None, None, True)
    parameters = {
        "reason": reason,
        "queues": None if queues is None else json_list(queues),
        "routes": None if routes is None else json_list(route or "" for route in routes),
        "delivers": delivers,
        "limit": limit,
        "now": now,
    }
    ids: str = connection.execute(SQL["parked"], parameters).fetchone()[0]
    return ids


def wake(connection: Connection, only: Parking | None, limit: int, now: int) -> int:
    """Make parked tasks due now."""
    ids = parked(connection, only, limit, now)
    return connection.execute(SQL["wake"], {"ids": ids, "now": now}).rowcount


def change_queues(connection: Connection, changes: Sequence[tuple[str, QueueChange]]) -> list[QueueSettings]:
    """Change settings of queues; makes those that are not there."""
    settings = {queue.name: queue for queue in queues(connection)}
    for name, change in changes:
        settings[name] = changed(settings.get(name, QueueSettings(name=name)), change)
    for name in dict.fromkeys(name for name, _ in changes):
        connection.execute(SQL["write_queue"], queue_row(settings[name]))
    return [settings[name] for name, _ in changes]


def change_record(connection: Connection, change: RecordChange) -> bool:
    """Compare and set one record; says whether it applied."""
    key = (change.kind, change.key)
    if change.document is None:
        return connection.execute(SQL["delete_record"], (*key, change.expected)).rowcount == 1
    if change.expected == 0:
        return connection.execute(SQL["insert_record"], (*key, change.due, change.document)).rowcount == 1
    parameters = (change.due, change.document, *key, change.expected)
    return connection.execute(SQL["update_record"], parameters).rowcount == 1
