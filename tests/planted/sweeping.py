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
        60,
        "by its history, and the store has",
    ),
    Bug(
        "A sweep purges what is young and keeps what is old",
        MEMORY,
        "(row.finished_at or 0) > before:",
        "(row.finished_at or 0) < before:",
        "memory",
        100,
        "is missing",
        quick=True,
    ),
    Bug(
        "A sweep purges what has finished since, not what had before",
        SQL,
        "and finished_at <= :before order by",
        "and finished_at >= :before order by",
        "sqlite",
        60,
        "is missing",
    ),
    Bug(
        "Dead tasks are kept as long as succeeded ones",
        MEMORY,
        "(State.DEAD, retention.dead_s, None),",
        "(State.DEAD, retention.succeeded_s, None),",
        "memory",
        100,
        "is missing",
    ),
    Bug(
        "What is kept of succeeded tasks is reckoned over all that have ended",
        SQL,
        "where state >= 2 and state = :state and finished_at <= :before",
        "where state >= 2 and finished_at <= :before",
        "sqlite",
        60,
        "is missing",
    ),
]
