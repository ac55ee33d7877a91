"""Upkeep in short rounds: expiry, retention, tombstones, totals."""

from __future__ import annotations

import json
from sqlite3 import Connection

from deferq.engines.base import MINUTE_US, Retention, Swept
from deferq.engines.sqlite.changing import cancel_pending, delete
from deferq.engines.sqlite.statements import statements
from deferq.model.state import State
from deferq.model.transitions import US

SQL = statements("sweep")


def one_too_many(connection: Connection, retention: Retention) -> int:
    """When the newest of those succeeded tasks finished that are too many, whatever their age; 0 if none is.

    To be read before the sweep, without a lock.
    """
    keep = {"state": int(State.SUCCEEDED), "keep": retention.succeeded_max}
    row = connection.execute(SQL["nth_newest"], keep).fetchone()
    return 0 if row is None else int(row[0])


def sweep(
    connection: Connection, retention: Retention, too_many: int, limit: int, now: int, tombstone_us: int
) -> Swept:
    """One round inside a write transaction; every duty handles at most `limit` rows."""
    expired = _ids(connection, "expired", now=now, limit=limit)
    if expired:
        cancel_pending(connection, expired, "expired", now, tombstone_us)
    purged = 0
    for state, before in (
        (State.SUCCEEDED, max(too_many, _ago(now, retention.succeeded_s))),
        (State.CANCELLED, _ago(now, retention.cancelled_s)),
        (State.DEAD, _ago(now, retention.dead_s)),
    ):
        purged += _purge(connection, state, before, limit - purged, now, tombstone_us)
    tombstones = connection.execute(SQL["drop_tombstones"], {"now": now, "limit": limit}).rowcount
    folded = _fold(connection, retention, now)
    more = limit in (len(expired), tombstones, purged)
    return Swept(expired=len(expired), purged=purged, tombstones=tombstones, folded=folded, more=more)


def _ids(connection: Connection, statement: str, **parameters: int) -> list[int]:
    ids: list[int] = json.loads(connection.execute(SQL[statement], parameters).fetchone()[0])
    return ids


def _ago(now: int, seconds: float) -> int:
    return now - int(seconds * US)


def _purge(connection: Connection, state: State, before: int, limit: int, now: int, tombstone_us: int) -> int:
    """Delete tasks of this state that finished at or before this time."""
    ids = _ids(connection, "past_retention", state=int(state), before=before, limit=limit)
    if ids:
        delete(connection, ids, now, tombstone_us)
    return len(ids)


def _fold(connection: Connection, retention: Retention, now: int) -> int:
    """Rows of past minutes become one row per minute; rows past their retention go."""
    before = {"before": now // MINUTE_US * MINUTE_US}
    folded = 0
    if connection.execute(SQL["fold_totals"], before).rowcount:
        folded = connection.execute(SQL["drop_folded"], before).rowcount
    connection.execute(SQL["drop_old_totals"], {"before": now - int(retention.totals_s * US)})
    return folded
