"""Which task to look at next: a heap by time, in which entries may be out of date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple


class Entry(NamedTuple):
    """When to look at a task."""

    at: int
    task_id: int
    #: The entry holds while its row has the same.
    ticket: int


class Agenda:
    """Entries by time, then id. Those that no longer hold are dropped on the way."""

    TIDY_MIN = 64

    def __init__(self, holds: Callable[[Entry], bool]) -> None:
        self._holds = holds
        self._entries: list[Entry] = []
        self._tidy_at = self.TIDY_MIN

    def add(self, entry: Entry) -> None:
        heappush(self._entries, entry)
        if len(self._entries) >= self._tidy_at:
            self._tidy()

    def head(self) -> Entry | None:
        """The first entry that holds."""
        while self._entries and not self._holds(self._entries[0]):
            heappop(self._entries)
        return self._entries[0] if self._entries else None

    def pop(self) -> Entry:
        """Remove the entry that `head` has just shown."""
        return heappop(self._entries)

    def due(self, now: int) -> Iterator[Entry]:
        """Remove the entries up to `now`, one by one."""
        while (entry := self.head()) is not None and entry.at <= now:
            yield self.pop()

    def _tidy(self) -> None:
        self._entries = [entry for entry in self._entries if self._holds(entry)]
        heapify(self._entries)
        self._tidy_at = max(self.TIDY_MIN, 2 * len(self._entries))
