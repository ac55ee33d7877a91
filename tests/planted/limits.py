"""Bugs in rates and in how many tasks of a queue are leased at a time."""

from __future__ import annotations

from tests.planted.bug import Bug

STANDING, SHARING = "model/standing.py", "model/sharing.py"
SQL = "engines/sqlite/statements/limit.sql"

BUGS = [
    Bug(
        "A bucket that has been full for long gives what it could not hold",
        STANDING,
        "return max(0, min(size, filled // rate.period_us))",
        "return max(0, filled // rate.period_us)",
        "memory",
        100,
        "its rate is",
    ),
    Bug(
        "What is taken from a full bucket is taken from the time when it became full",
        STANDING,
        "start = self if self.full_at >= now else Bucket(now)",
        "start = self",
        "memory",
        100,
        "its rate is",
    ),
    Bug(
        "A bucket holds one more than its size",
        STANDING,
        "filled = size * rate.period_us - (self.full_at - now)",
        "filled = (size + 1) * rate.period_us - (self.full_at - now)",
        "memory",
        100,
        "its rate is",
    ),
    Bug(
        "One task too many is leased at a time",
        STANDING,
        "return UNLIMITED if most is None else most - self.held",
        "return UNLIMITED if most is None else most - self.held + 1",
        "memory",
        100,
        "at a time and",
    ),
    Bug(
        "A rate wins over the number at a time",
        STANDING,
        "return max(0, min(self._tokens(now), self.places))",
        "return max(0, self._tokens(now) if self.limits.rate else self.places)",
        "memory",
        100,
        "at a time and",
    ),
    Bug(
        "A limited queue gives one task more than it may in a turn",
        SHARING,
        "while allowance and slots.free and (task",
        "while allowance >= 0 and slots.free and (task",
        "memory",
        100,
        "its rate is | at a time and",
    ),
    Bug(
        "What a limited queue gives is not counted within a turn",
        SHARING,
        "        allowance -= 1\n",
        "",
        "sqlite",
        60,
        "its rate is | at a time and",
    ),
    Bug(
        "A limited queue is leased ahead of free slots",
        SHARING,
        "while allowance and slots.free and (task",
        "while allowance and (task",
        "memory",
        100,
        "that need a slot",
        quick=True,
    ),
    Bug(
        "Leases that are over do not count among those at a time",
        SQL,
        "where state = 1 and queue = q.name) end",
        "where state = 1 and queue = q.name and leasable_at > cast(unixepoch('subsec') * 1e6 as integer)) end",
        "sqlite",
        60,
        "at a time and",
    ),
    Bug(
        "What was taken from a bucket is not stored",
        "engines/memory/queue.py",
        "taken(count, now)\n        self._bucket = standing.bucket\n",
        "taken(count, now)\n",
        "memory",
        100,
        "its rate is",
    ),
    Bug(
        "The fraction of a microsecond is stored as the bucket, and the bucket as the fraction",
        SQL,
        "update deferq_queue set full_at = ?, full_at_parts = ? where name = ?;",
        "update deferq_queue set full_at_parts = ?, full_at = ? where name = ?;",
        "sqlite",
        60,
        "its rate is",
    ),
]
