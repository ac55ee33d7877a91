"""Bugs in names, tombstones and putting."""

from __future__ import annotations

from tests.planted.bug import Bug

MEMORY = "engines/memory/names.py"
PUT, SETTLE = "engines/sqlite/statements/put.sql", "engines/sqlite/statements/settle.sql"

BUGS = [
    Bug(
        "A name is free as soon as its task has ended",
        MEMORY,
        "return self.until is not None and self.until <= now",
        "return self.until is not None",
        "memory",
        100,
        "got the name",
    ),
    Bug(
        "A tombstone is over as soon as it stands",
        MEMORY,
        "            until = now + self._tombstone_us\n",
        "            until = now\n",
        "memory",
        100,
        "got the name",
        quick=True,
    ),
    Bug(
        "A tombstone is written only for what succeeded",
        "engines/sqlite/settling.py",
        "if s.task.name is not None and s.transition.state.finished]",
        "if s.task.name is not None and s.transition.state is State.SUCCEEDED]",
        "sqlite",
        80,
        "would be right",
    ),
    Bug(
        "A task that is cancelled while pending keeps its name for ever",
        "engines/sqlite/changing.py",
        "    bury_names(connection, ids, now + tombstone_us)\n\n\ndef delete",
        "\n\ndef delete",
        "sqlite",
        250,
        "would be right",
    ),
    Bug(
        "A sweep drops tombstones before their time",
        "engines/sqlite/statements/sweep.sql",
        "where until <= :now\n"
        "  and (queue, name) in (select queue, name from deferq_name indexed by deferq_name_until\n"
        "                        where until is not null and until <= :now limit :limit);",
        "where until is not null;",
        "sqlite",
        80,
        "the name",
    ),
    Bug(
        "A sweep drops whatever name is first in line",
        MEMORY,
        "if taken is not None and taken.free(now):\n                del",
        "if taken is not None:\n                del",
        "memory",
        100,
        "has its name | got the name of",
    ),
    Bug(
        "The name of a live task is taken over",
        "engines/memory/putting.py",
        'if taken is not None and task.if_exists != "replace":',
        'if taken is not None and taken.until is not None and task.if_exists != "replace":',
        "memory",
        100,
        "got the name",
    ),
    Bug(
        "A task that is replaced is not cancelled",
        PUT,
        "name = null where id = :id and state = 0;",
        "name = null where id = :id and state = 1;",
        "sqlite",
        60,
        "by its history, and the store has",
    ),
    Bug(
        "A task that is put again after a lost answer is stored twice",
        "engines/memory/putting.py",
        "return Stored(task.id) if known.made.payload == task.payload else Clash(task.id)",
        "return Clash(task.id)",
        "memory",
        100,
        "in its own way",
    ),
    Bug(
        "A task whose name is taken from it is not cancelled",
        "engines/memory/putting.py",
        "    replaced = _displace(tasks, taken, now) if taken else None\n",
        "    replaced = None\n",
        "memory",
        100,
        "has its name | by its history, and the store has",
    ),
]
