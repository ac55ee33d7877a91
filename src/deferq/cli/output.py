"""Words for people and JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def print_json(document: object, *, indent: int | None = 2) -> None:
    """Print a document, in ASCII so that every terminal and pipe can take it."""
    print(json.dumps(document, indent=indent))


def printable(text: str) -> str:
    """`text` without characters that could command a terminal: a task's error may hold anything."""
    return "".join(map(_printable, text))


def _printable(char: str) -> str:
    return char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headings; what is empty in every row is left out.

    Columns whose heading begins with '>' are numbers and stand right.
    """
    columns, cells = _without_empty(columns, [[_cell(value) for value in row] for row in rows])
    if sys.stdout.isatty() and _print_rich_table(columns, cells):
        return
    headings = [column.lstrip(">").upper() for column in columns]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for row in (headings, *cells):
        line = [
            cell.rjust(width) if column.startswith(">") else cell.ljust(width)
            for column, cell, width in zip(columns, row, widths, strict=True)
        ]
        print("  ".join(line).rstrip())


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one to a line; what is None or empty is left out."""
    shown = [(name, _cell(value)) for name, value in fields if value is not None and value != ""]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name:<{width}}  {value}")


def number(value: int, cap: int | None = None) -> str:
    """A count; one that stopped at its cap gets a plus sign."""
    return f"{value:,}+" if cap is not None and value >= cap else f"{value:,}"


def size(count: int) -> str:
    """A number of bytes."""
    if count < 1024:
        return f"{count} bytes"
    amount = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024 or unit == "GiB":
            break
    return f"{amount:,.1f} {unit} ({count:,} bytes)"


def plural(value: int, noun: str) -> str:
    """`1 task`, `3 tasks`."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def _cell(value: object) -> str:
    return printable("" if value is None else str(value)).replace("\n", " ")


def _without_empty(columns: Sequence[str], cells: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    kept = [place for place in range(len(columns)) if any(row[place] for row in cells)]
    return [columns[place] for place in kept], [[row[place] for place in kept] for row in cells]


def _print_rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> bool:
    """Print with rich, if it is installed."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table: Any = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        justify: Any = "right" if column.startswith(">") else "left"
        whole = column == columns[0] or column.startswith(">")  # an id that is broken in two cannot be copied
        table.add_column(column.lstrip(">"), justify=justify, overflow="fold", no_wrap=whole)
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
    return True
