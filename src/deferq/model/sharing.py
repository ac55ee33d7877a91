"""How the queues that have work share what is leased: pure arithmetic over lines of tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


class Slots:
    """Free slots, for tasks that must not wait for one once they are leased."""

    __slots__ = ("free",)

    def __init__(self, free: int) -> None:
        self.free = free

    def take(self) -> bool:
        """Take one; false if none is left."""
        taken = self.free > 0
        self.free -= taken
        return taken


def share_out(lines: Iterable[Iterator[T]], room: int) -> list[T]:
    """Up to `room` tasks: equal shares for all lines that have work, and again of what some left over."""
    hungry = list(lines)
    tasks: list[T] = []
    while room and hungry:
        share = max(1, room // len(hungry))
        lines, hungry = hungry, []
        for line in lines:
            taken = list(islice(line, min(share, room)))
            tasks += taken
            room -= len(taken)
            if len(taken) == share:
                hungry.append(line)
    return tasks


def limited(line: Iterator[T], allowance: int, slots: Slots) -> Iterator[T]:
    """At most `allowance` tasks of a line, each for a free slot: a limited queue is never leased ahead.

    Nothing is drawn from the line that is not given on, so a line may lease what is drawn from it.
    """
    while allowance and slots.free and (task := next(line, None)) is not None:
        allowance -= 1
        slots.take()
        yield task
