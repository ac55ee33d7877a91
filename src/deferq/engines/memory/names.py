"""Names: unique in their queue while their task lives, and for a while after."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from deferq.engines.memory.rows import Row


class Name(NamedTuple):
    """Who has a name, or had it."""

    task_id: int
    #: None: a live task has it; else a tombstone that stands until then.
    until: int | None

    def free(self, now: int) -> bool:
        return self.until is not None and self.until <= now


class Names:
    """Who has which name."""

    def __init__(self, tombstone_us: int) -> None:
        self._tombstone_us = tombstone_us
        self._names: dict[tuple[str, str], Name] = {}
        #: In the order in which they were set up; the name may be somebody else's by now.
        self._tombstones: deque[tuple[int, tuple[str, str]]] = deque()

    def clear(self) -> None:
        """Let every name be free."""
        self._names.clear()
        self._tombstones.clear()

    def holder(self, queue: str, name: str, now: int) -> Name | None:
        """Who has it, alive or as a tombstone; None: it is free."""
        taken = self._names.get((queue, name))
        return None if taken is None or taken.free(now) else taken

    def take(self, queue: str, name: str, task_id: int) -> None:
        """The name belongs to a live task from now on."""
        self._names[queue, name] = Name(task_id, None)

    def take_back(self, row: Row, now: int) -> None:
        """Give a task that lives again its name, unless somebody else has it by now."""
        if row.name is None:
            return
        taken = self.holder(row.made.queue, row.name, now)
        if taken is None or taken.task_id == row.id:
            self.take(row.made.queue, row.name, row.id)
        else:
            row.name = None

    def bury(self, row: Row, now: int) -> None:
        """Let the name of a task that has ended stand as a tombstone."""
        if row.name is None:
            return
        key = (row.made.queue, row.name)
        if self._names.get(key) == Name(row.id, None):
            until = now + self._tombstone_us
            self._names[key] = Name(row.id, until)
            self._tombstones.append((until, key))

    def drop_tombstones(self, now: int, limit: int) -> int:
        """Forget tombstones whose time is over; returns how many."""
        dropped = 0
        while self._tombstones and self._tombstones[0][0] <= now and dropped < limit:
            _, key = self._tombstones.popleft()
            taken = self._names.get(key)
            if taken is not None and taken.free(now):
                del self._names[key]
                dropped += 1
        return dropped
