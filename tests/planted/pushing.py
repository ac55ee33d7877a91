"""Bugs around tasks that are pushed: who takes a lease up, and what a dispatcher has let go."""

from __future__ import annotations

from tests.planted.bug import Bug

DISPATCHER, MEMORY, SQL = "runtime/dispatcher.py", "engines/memory/leasing.py", "engines/sqlite/statements/lease.sql"

BUGS = [
    Bug(
        "What was let go is not remembered, and given back as if it had never started",
        DISPATCHER,
        "        self._let_go[task.id] = task.lease_id, outcome\n",
        "",
        "memory",
        20,
        "was settled as interrupted",
        push=True,
        quick=True,
    ),
    Bug(
        "What was let go is settled at once, although it may still run",
        DISPATCHER,
        "            if let_go:\n                self._leave(held, outcome)\n                continue\n",
        "",
        "memory",
        20,
        "was let go, and is settled before its lease is over",
        push=True,
    ),
    Bug(
        "What was let go is renewed for ever",
        DISPATCHER,
        "            del self._held[task.id]\n            if let_go:\n",
        "            if not let_go:\n                del self._held[task.id]\n            if let_go:\n",
        "memory",
        20,
        "did not end within",
        push=True,
    ),
    Bug(
        "A lease is taken up as often as somebody asks",
        MEMORY,
        "    if row.taken_up == lease_id:\n",
        "    if False:\n",
        "memory",
        20,
        "to be taken up a second time",
        push=True,
    ),
    Bug(
        "A lease is taken up as often as somebody asks, on SQLite",
        SQL,
        " and leasable_at > :now and taken_up is not :lease_id;",
        " and leasable_at > :now;",
        "sqlite",
        20,
        "to be taken up a second time",
        push=True,
    ),
    Bug(
        "A lease is taken up although it is over",
        SQL,
        " and leasable_at > :now and taken_up is not :lease_id;",
        " and taken_up is not :lease_id;",
        "sqlite",
        20,
        "to be taken up when its lease was over",
        push=True,
    ),
    Bug(
        "What a handler runs is orphaned when its sender dies",
        SQL,
        "  and t.lease_id >> :bits in (select value from json_each(:holders)) and t.taken_up is not t.lease_id\n",
        "  and t.lease_id >> :bits in (select value from json_each(:holders))\n",
        "sqlite",
        20,
        "runs elsewhere than its holder",
        push=True,
    ),
]
