"""Bugs in expiry and retention."""

from __future__ import annotations

from tests.planted.bug import Bug

MEMORY, SQL = "engines/memory/sweeping.py", "engines/sqlite/statements/sweep.sql"

BUGS = [
    Bug(
        "Tasks expire ten seconds early",
        SQL,
        "and expires_at <= :now limit :limit);",
        "and expires_at <= :now + 10000000 limit :limit);",
        "sqlite",
        300,
        "expire",
    ),
    Bug(
        "Tasks never expire",
        MEMORY,
        "    expired = _expire(tasks, limit, now)\n",
        "    expired = 0\n",
        "memory",
        300,
        "expire",
    ),
    Bug(
        "A sweep purges what is young and keeps what is old",
        MEMORY,
        "(row.finished_at or 0) > before:",
        "(row.finished_at or 0) < before:",
        "memory",
        100,
        "are there",
    ),
    Bug(
        "A sweep purges what has finished since, not what had before",
        SQL,
        "and finished_at <= :before order by",
        "and finished_at >= :before order by",
        "sqlite",
        100,
        "are there",
    ),
    Bug(
        "Dead tasks are kept as long as succeeded ones",
        MEMORY,
        "(State.DEAD, retention.dead_s, None),",
        "(State.DEAD, retention.succeeded_s, None),",
        "memory",
        300,
        "are there",
    ),
    Bug(
        "What is kept of succeeded tasks is reckoned over all that have ended",
        SQL,
        "where state >= 2 and state = :state and finished_at <= :before",
        "where state >= 2 and finished_at <= :before",
        "sqlite",
        300,
        "are there",
    ),
    Bug(
        "A sweep also takes what is leased",
        "engines/sqlite/statements/change.sql",
        "update deferq_task set state = 4, finished_at = :now, reason = :reason\n"
        "where id in (select value from json_each(:ids)) and state = 0;",
        "update deferq_task set state = 4, finished_at = :now, reason = :reason\n"
        "where id in (select value from json_each(:ids));",
        "sqlite",
        300,
        "",
    ),
]
