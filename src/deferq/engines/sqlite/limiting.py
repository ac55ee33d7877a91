"""What the limits of queues allow. Nothing here runs for a queue without limits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from sqlite3 import Connection

from deferq.engines.sqlite.rows import json_list
from deferq.engines.sqlite.statements import statements
from deferq.model.limits import Limits
from deferq.model.standing import Bucket, Standing

SQL = statements("limit")


def standings(connection: Connection, queues: Collection[str]) -> dict[str, Standing]:
    """How those of these queues stand that are limited."""
    rows = connection.execute(SQL["standings"], {"queues": json_list(queues)})
    return {
        name: Standing(
            Limits(rate=rate, bucket_size=size, max_concurrent=most), Bucket(full_at, parts), held, bool(paused)
        )
        for name, rate, size, most, full_at, parts, paused, held in rows
    }


def useless(standings: Mapping[str, Standing], freed: Collection[str], now: int) -> set[str]:
    """The queues from which nothing can be leased, so that nobody need take the write lock to find that out.

    `freed` are those in which leases are about to end. A bucket that has to be corrected is worth a lock as well.
    """
    return {
        name
        for name, standing in standings.items()
        if not standing.allowance(now) and name not in freed and standing.corrected(now) == standing
    }


def spend(connection: Connection, before: Mapping[str, Standing], after: Mapping[str, Standing]) -> None:
    """Store the buckets that have changed. Runs inside the write transaction in which `before` was read."""
    rows = [(*after[name].bucket, name) for name in before if after[name].bucket != before[name].bucket]
    if rows:
        connection.executemany(SQL["spend"], rows)


def can_go_on(connection: Connection, queues: Collection[str], now: int) -> bool:
    """Whether one of these queues, in which leases have ended, has a task that is due and may start."""
    return any(
        connection.execute(SQL[statement], {"queue": name, "now": now}).fetchone()
        for name, standing in standings(connection, queues).items()
        if standing.limits.max_concurrent is not None and standing.allowance(now)
        for statement in ("is_due", "delivered_is_due")
    )
