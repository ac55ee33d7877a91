"""What people and waiting callers read. Nothing here takes a lock."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection

from deferq.engines.base import Counts, Details, Filter, Page, QueueCounts, Record, Total
from deferq.engines.sqlite.rows import json_list, to_failure, to_queue, to_task
from deferq.engines.sqlite.statements import statements
from deferq.errors import TaskNotFound
from deferq.model.settings import QueueSettings
from deferq.model.state import State
from deferq.model.task import Task

SQL = statements("read")
CHANGE_SQL = statements("change")
ID_MAX = 2**63 - 1


def get(connection: Connection, ids: Sequence[int]) -> list[Task]:
    """The tasks that exist, in the order asked for."""
    found = {row[0]: to_task(row) for row in connection.execute(SQL["get"], {"ids": json_list(ids)})}
    return [found[task_id] for task_id in ids if task_id in found]


def details(connection: Connection, task_id: int) -> Details:
    """Payload, result and failures of a task."""
    row = connection.execute(SQL["details"], (task_id,)).fetchone()
    if row is None:
        raise TaskNotFound(f"There is no task {task_id}. Its retention may be over, or the store is another one.")
    failures = tuple(to_failure(row) for row in connection.execute(SQL["failures"], (task_id,)))
    return Details(payload=row[0], result=row[1], failures=failures)


def spill(connection: Connection, task_id: int) -> bytes | None:
    """What was put beside a task; None: nothing."""
    row = connection.execute(SQL["spill"], (task_id,)).fetchone()
    return None if row is None else row[0]


def find(connection: Connection, where: Filter, after: int | None, limit: int) -> Page:
    """One page of the tasks that match, newest first."""
    parameters = {
        "after": ID_MAX if after is None else after,
        "queue": where.queue,
        "state": None if where.state is None else int(where.state),
        "target": where.target,
        "name": where.name,
        "limit": limit + 1,
    }
    statement = SQL["find_dead"] if where.state is State.DEAD else SQL["find"]
    tasks = [to_task(row) for row in connection.execute(statement, parameters)]
    return Page(tasks[:limit], tasks[limit - 1].id if len(tasks) > limit else None)


def holders(connection: Connection, queue: str, names: Sequence[str], now: int) -> list[int | None]:
    """Who has each of these names, alive or as a tombstone."""
    parameters = {"queue": queue, "names": json_list(names), "now": now}
    found = dict(connection.execute(SQL["holders"], parameters))
    return [found.get(name) for name in names]


def queues(connection: Connection) -> list[QueueSettings]:
    """Every queue by name."""
    return [to_queue(row) for row in connection.execute(SQL["queues"])]


def counts(connection: Connection, now: int, cap: int) -> Counts:
    """How many tasks stand where, no count above `cap`."""
    return Counts(
        now=now,
        queues=tuple(_queue_counts(connection, queue, now, cap) for queue in queues(connection)),
        succeeded=_finished(connection, State.SUCCEEDED, cap),
        dead=_finished(connection, State.DEAD, cap),
        cancelled=_finished(connection, State.CANCELLED, cap),
        cap=cap,
    )


def _queue_counts(connection: Connection, queue: QueueSettings, now: int, cap: int) -> QueueCounts:
    parameters = {"queue": queue.name, "now": now, "cap": cap}
    ready, scheduled, retrying, parked, oldest = connection.execute(SQL["count_pending"], parameters).fetchone()
    return QueueCounts(
        queue=queue.name,
        paused=queue.paused,
        ready=ready or 0,
        scheduled=scheduled or 0,
        retrying=retrying or 0,
        parked=parked or 0,
        leased=connection.execute(SQL["count_held"], {"queue": queue.name, "cap": cap}).fetchone()[0],
        oldest_ready=oldest,
    )


def _finished(connection: Connection, state: State, cap: int) -> int:
    count: int = connection.execute(SQL["count_finished"], {"state": int(state), "cap": cap}).fetchone()[0]
    return count


def totals(connection: Connection, since: int, until: int) -> list[Total]:
    """Totals in [since, until)."""
    return [Total(*row) for row in connection.execute(SQL["totals"], (since, until))]


def records(connection: Connection, kind: str, after: str | None, limit: int) -> list[Record]:
    """Records of a kind by key."""
    return [Record(*row) for row in connection.execute(CHANGE_SQL["records"], (kind, after or "", limit))]
