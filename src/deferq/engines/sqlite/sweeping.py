"""Upkeep in short rounds: expiry, retention, tombstones, totals. Each function is one write transaction."""

from __future__ import annotations

from sqlite3 import Connection

from deferq.engines.base import MINUTE_US, Retention, Swept
from deferq.engines.sqlite.changing import cancel_pending, delete
from deferq.engines.sqlite.statements import statements
from deferq.model.task import State
from deferq.model.transitions import US

SQL = statements("sweep")


def sweep(connection: Connection, retention: Retention, limit: int, now: int, tombstone_us: int) -> Swept:
    """One round; every duty handles at most `limit` rows."""
    expired = _expire(connection, limit, now, tombstone_us)
    purged = [
        _purge(connection, state, _before(connection, state, retention, now), limit, now, tombstone_us)
        for state in (State.SUCCEEDED, State.CANCELLED, State.DEAD)
    ]
    tombstones = _drop_tombstones(connection, limit, now)
    folded = _fold(connection, retention, now)
    more = limit in (expired, tombstones, *purged)
    return Swept(expired=expired, purged=sum(purged), tombstones=tombstones, folded=folded, more=more)


def _expire(connection: Connection, limit: int, now: int, tombstone_us: int) -> int:
    ids = [row[0] for row in connection.execute(SQL["expired"], {"now": now, "limit": limit})]
    if ids:
        cancel_pending(connection, ids, "expired", now, tombstone_us)
    return len(ids)


def _before(connection: Connection, state: State, retention: Retention, now: int) -> int:
    """Tasks of this state that finished at or before this time go."""
    if state is State.DEAD:
        return now - int(retention.dead_s * US)
    if state is State.CANCELLED:
        return now - int(retention.cancelled_s * US)
    by_age = now - int(retention.succeeded_s * US)
    keep = {"state": int(state), "keep": retention.succeeded_max}
    one_too_many = connection.execute(SQL["nth_newest"], keep).fetchone()
    return by_age if one_too_many is None else max(by_age, one_too_many[0])


def _purge(connection: Connection, state: State, before: int, limit: int, now: int, tombstone_us: int) -> int:
    parameters = {"state": int(state), "before": before, "limit": limit}
    ids = [row[0] for row in connection.execute(SQL["past_retention"], parameters)]
    if ids:
        delete(connection, ids, now, tombstone_us)
    return len(ids)


def _drop_tombstones(connection: Connection, limit: int, now: int) -> int:
    names = connection.execute(SQL["old_tombstones"], {"now": now, "limit": limit}).fetchall()
    connection.executemany(SQL["drop_tombstone"], [(queue, name, now) for queue, name in names])
    return len(names)


def _fold(connection: Connection, retention: Retention, now: int) -> int:
    """Rows of past minutes become one row per minute; rows past their retention go."""
    before = {"before": now // MINUTE_US * MINUTE_US}
    folded = 0
    if connection.execute(SQL["fold_totals"], before).rowcount:
        folded = connection.execute(SQL["drop_folded"], before).rowcount
    connection.execute(SQL["drop_old_totals"], {"before": now - int(retention.totals_s * US)})
    return folded
