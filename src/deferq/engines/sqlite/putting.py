"""Storing tasks. Every function runs inside a write transaction."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from sqlite3 import Connection
from typing import Any

from deferq.engines.answers import Clash, Existing, PutAnswer, Stored, Tombstoned
from deferq.engines.sqlite.statements import statements
from deferq.model.state import State
from deferq.model.task import NewTask

SQL = statements("put")
#: Larger envelopes get a row of their own: every later update rewrites the task's row.
INLINE_BYTES = 1024
#: Rows per INSERT. One statement is one step, and between steps other threads may hold up whoever has the write lock.
ROWS_PER_INSERT = 100


def put(connection: Connection, tasks: Sequence[NewTask], now: int) -> list[PutAnswer]:
    """Store `tasks`; the answers stand in their order."""
    if len(tasks) == 1 and tasks[0].name is None:
        return [put_plain(connection, tasks[0])]
    if any(task.name is not None or task.spill is not None for task in tasks):
        return [_put_one(connection, task, now) for task in tasks]
    return _put_many(connection, tasks)


def add_queues(connection: Connection, queues: set[str]) -> None:
    """Make queues that are not there yet."""
    connection.executemany(SQL["insert_queue"], [(queue,) for queue in sorted(queues)])


def _put_one(connection: Connection, task: NewTask, now: int) -> PutAnswer:
    return put_plain(connection, task) if task.name is None else _put_named(connection, task, now)


def put_plain(connection: Connection, task: NewTask) -> PutAnswer:
    """Store a task without a name."""
    return Stored(task.id) if _insert(connection, task) else _clash(connection, task)


def _insert(connection: Connection, task: NewTask) -> bool:
    """False: its id is taken."""
    if len(task.payload) > INLINE_BYTES:
        connection.execute(SQL["insert_payload"], (task.id, task.payload))
    inserted = bool(connection.execute(SQL["insert_tasks"], _row(task)).rowcount)
    if inserted and task.spill is not None:
        connection.execute(SQL["insert_spill"], (task.id, task.spill))
    return inserted


def _row(task: NewTask) -> tuple[Any, ...]:
    """The columns of a new task: its eta stands for three of them, and a large envelope stands elsewhere."""
    (task_id, queue, target, priority, eta, expires_at, once, name, _, route, url, options, payload, _) = task
    inline = payload if len(payload) <= INLINE_BYTES else None
    return (task_id, queue, target, priority, eta, eta, eta, expires_at, once, name, route, url, options, inline)


def _clash(connection: Connection, task: NewTask) -> PutAnswer:
    """The id is taken: by this very task, put before (its answer was lost), or by another."""
    row = connection.execute(SQL["stored_payload"], (task.id,)).fetchone()
    return Stored(task.id) if row is not None and row[0] == task.payload else Clash(task.id)


def _put_many(connection: Connection, tasks: Sequence[NewTask]) -> list[PutAnswer]:
    """Rows by the hundred. If ids are taken, the answer of each task is looked up."""
    large = [(task.id, task.payload) for task in tasks if len(task.payload) > INLINE_BYTES]
    if large:
        connection.executemany(SQL["insert_payload"], large)
    stored = 0
    for start in range(0, len(tasks), ROWS_PER_INSERT):
        rows = [_row(task) for task in tasks[start : start + ROWS_PER_INSERT]]
        stored += connection.execute(_insert_rows(len(rows)), list(chain.from_iterable(rows))).rowcount
    if stored == len(tasks):
        return [Stored(task.id) for task in tasks]
    return [_clash(connection, task) for task in tasks]


@cache
def _insert_rows(count: int) -> str:
    """The insertion of one task, for `count` of them."""
    head, row = SQL["insert_tasks"].split("values ")
    values, tail = row.split("\n", 1)
    return f"{head}values {', '.join([values] * count)}\n{tail}"


# ---- names


def _put_named(connection: Connection, task: NewTask, now: int) -> PutAnswer:
    """A name is unique in its queue while its task lives, and for a while after."""
    row = connection.execute(SQL["holder_of_name"], (task.queue, task.name)).fetchone()
    if row is None:
        return _take(connection, task)
    holder, until, state = row
    if holder == task.id and state is not None:
        return _clash(connection, task)
    if task.if_exists == "replace":
        return _replace(connection, task, holder, state, now)
    if until is None:
        return Existing(holder)
    return Tombstoned(holder, until) if until > now else _take(connection, task)


def _take(connection: Connection, task: NewTask) -> PutAnswer:
    """Store a task with its name. One that is stored already, since its answer got lost, has had it."""
    if not _insert(connection, task):
        return _clash(connection, task)
    connection.execute(SQL["take_name"], (task.queue, task.name, task.id))
    return Stored(task.id)


def _replace(connection: Connection, task: NewTask, holder: int, state: int | None, now: int) -> PutAnswer:
    """A pending holder is cancelled, a leased one ends nameless, a tombstone gives way."""
    if not _insert(connection, task):
        return _clash(connection, task)
    connection.execute(SQL["take_name"], (task.queue, task.name, task.id))
    if state == State.PENDING:
        connection.execute(SQL["cancel_replaced"], {"id": holder, "now": now})
        return Stored(task.id, replaced=holder)
    if state == State.LEASED:
        connection.execute(SQL["become_nameless"], (holder,))
    return Stored(task.id)
