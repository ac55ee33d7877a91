"""Tables that fit a width: what matters least is left out first, and the first column is shortened last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_GAP = "  "
#: The first column keeps so many characters.
_NAME_MIN = 16


class Column(NamedTuple):
    """A heading, and the cells under it."""

    heading: str
    cells: Sequence[str]
    #: Numbers stand right.
    right: bool = True
    #: The larger, the sooner it is left out for want of room. 0: never.
    spare: int = 0

    @property
    def width(self) -> int:
        """Of its widest cell."""
        return max(map(len, (self.heading, *self.cells)))


def table(columns: Sequence[Column], width: int) -> list[str]:
    """Lines of at most `width` characters, the headings first. A column without any content is left out."""
    first, *others = [column for column in columns if any(column.cells)]
    others = _those_with_room(others, width - min(first.width, _NAME_MIN))
    room = max(_NAME_MIN, width - _width(others))
    first = first._replace(cells=[shortened(cell, room) for cell in first.cells])
    rows = zip(*(_aligned(column) for column in (first, *others)), strict=True)
    return [shortened(_GAP.join(row).rstrip(), width) for row in rows]


def shortened(text: str, width: int) -> str:
    """`text`, with its middle left out if it is longer than `width`: names often differ at their ends."""
    if len(text) <= width:
        return text
    end = (width - 1) // 3
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def _those_with_room(columns: list[Column], width: int) -> list[Column]:
    while _width(columns) > width:
        least = max(columns, key=lambda column: column.spare)
        if not least.spare:
            break
        columns = [column for column in columns if column is not least]
    return columns


def _width(columns: Sequence[Column]) -> int:
    return sum(len(_GAP) + column.width for column in columns)


def _aligned(column: Column) -> list[str]:
    return [text.rjust(column.width) if column.right else text.ljust(column.width) for text in _lines(column)]


def _lines(column: Column) -> tuple[str, ...]:
    return (column.heading, *column.cells)
