"""How much of a payload is kept while it is read: about seven megabytes, whatever it holds.

All that a reader makes is charged here. When the room is used up, what lies deep inside is counted and no longer kept;
a reserve is left for what stands near the top, so that the arguments after a very long one are still shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from deferq.codec.inert.nodes import LOST, Items, Lost, Made, Name, Node, Pairs, Span

#: Bytes, about.
ROOM, RESERVE = 5_000_000, 1_000_000
#: What stands no deeper than this may use the reserve.
TOP_LEVELS = 8
SLOT_COST = 50

_COSTS: dict[type, int] = {Span: 130, Name: 1000, Items: 250, Pairs: 250, Made: 250}

T = TypeVar("T", Span, Name, Items, Pairs, Made)


class Keeper:
    """Says what may be kept."""

    def __init__(self, items_max: int, level: Callable[[], int]) -> None:
        """`items_max` is how many items of one container are kept, and `level` says how deep inside the reader is."""
        self._items_max = items_max
        self._level = level
        self._room = ROOM
        self._reserve = RESERVE
        #: Whether something was not kept for want of room.
        self.full = False

    def may(self, cost: int) -> bool:
        """Take `cost` bytes, if they are there."""
        if self._room >= cost:
            self._room -= cost
            return True
        self.full = True
        if self._reserve >= cost and self._level() <= TOP_LEVELS:
            self._reserve -= cost
            return True
        return False

    def keep(self, node: T) -> T | Lost:
        """`node`, or LOST."""
        return node if self.may(_COSTS[type(node)]) else LOST

    def add(self, items: Items, node: Node) -> None:
        """One item more."""
        items.count += 1
        if len(items.kept) < self._items_max and self.may(SLOT_COST):
            items.kept.append(node)

    def add_pair(self, pairs: Pairs, key: Node, value: Node) -> None:
        """One key more, with its value."""
        pairs.count += 1
        if len(pairs.kept) < 2 * self._items_max and self.may(2 * SLOT_COST):
            pairs.kept += (key, value)
