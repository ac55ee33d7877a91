"""What stands in a database, and how two states of it differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

_ROWS_SHOWN = 6
_VALUE_SHOWN = 60


class Table(NamedTuple):
    """A table as it was read."""

    columns: tuple[str, ...]
    #: Which columns are its primary key; none: rows are told apart by all they hold.
    key: tuple[int, ...]
    rows: list[tuple[Any, ...]]


Tables = Mapping[str, Table]


class Difference(NamedTuple):
    """One thing that is not as it was in an undisturbed run."""

    #: `table` or `table.column`, as `ignore` names it.
    where: str
    text: str


def table_of(rows: object) -> Table:
    """What a user's snapshot returned under one name: rows as mappings or sequences, or any value."""
    if not isinstance(rows, Iterable) or isinstance(rows, str | bytes):
        return Table(("value",), (), [(rows,)])
    listed = list(rows)
    if listed and all(isinstance(row, Mapping) for row in listed):
        columns = tuple(dict.fromkeys(str(column) for row in listed for column in row))
        return Table(columns, (), [tuple(row.get(column) for column in columns) for row in listed])
    tuples = [tuple(row) if isinstance(row, list | tuple) else (row,) for row in listed]
    width = max(map(len, tuples), default=0)
    return Table(tuple(str(number) for number in range(width)), (), tuples)


def differences(undisturbed: Tables, now: Tables, ignore: Iterable[str]) -> list[Difference]:
    """How `now` differs from `undisturbed`, table by table.

    `ignore` has tables, `table.column` and patterns such as `*.created_at`.
    """
    patterns = tuple(ignore)
    found: list[Difference] = []
    for name in dict.fromkeys((*undisturbed, *now)):
        if _matches(name, patterns):
            continue
        if name not in undisturbed or name not in now:
            there = "there, and was not after" if name in now else "missing, and was there after"
            found.append(Difference(name, f"the table is {there} an undisturbed run"))
        else:
            found += _in_table(name, _without(name, undisturbed[name], patterns), _without(name, now[name], patterns))
    return found


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _without(name: str, table: Table, patterns: tuple[str, ...]) -> Table:
    """The table without the columns to ignore; without one of its key it has none."""
    kept = [index for index, column in enumerate(table.columns) if not _matches(f"{name}.{column}", patterns)]
    key = tuple(kept.index(index) for index in table.key) if set(table.key) <= set(kept) else ()
    rows = [tuple(row[index] for index in kept if index < len(row)) for row in table.rows]
    return Table(tuple(table.columns[index] for index in kept), key, rows)


def _in_table(name: str, undisturbed: Table, now: Table) -> Iterator[Difference]:
    if undisturbed.key and undisturbed.columns != now.columns:
        yield Difference(name, "the table has other columns than after an undisturbed run")
    elif undisturbed.key:
        yield from _by_key(name, undisturbed, now)
    else:
        yield from _as_bags(name, undisturbed, now)


def _by_key(name: str, undisturbed: Table, now: Table) -> Iterator[Difference]:
    before, after = _keyed(undisturbed), _keyed(now)
    for key in dict.fromkeys((*before, *after)):
        if key not in after:
            yield Difference(name, f"- {_row(undisturbed, before[key])}")
        elif key not in before:
            yield Difference(name, f"+ {_row(now, after[key])}")
        elif before[key] != after[key]:
            yield from _in_row(name, undisturbed, before[key], after[key])


def _in_row(name: str, table: Table, before: tuple[Any, ...], after: tuple[Any, ...]) -> Iterator[Difference]:
    of = ", ".join(f"{table.columns[index]}={_value(before[index])}" for index in table.key)
    for column, old, new in zip(table.columns, before, after, strict=True):
        if old != new:
            yield Difference(f"{name}.{column}", f"~ ({of}): {column} is {_value(new)}, and should be {_value(old)}")


def _as_bags(name: str, undisturbed: Table, now: Table) -> Iterator[Difference]:
    before, after = (Counter(map(_hashable, table.rows)) for table in (undisturbed, now))
    rows = {_hashable(row): row for row in (*undisturbed.rows, *now.rows)}
    for key, row in rows.items():
        missing = before[key] - after[key]
        if missing:
            sign, table = ("-", undisturbed) if missing > 0 else ("+", now)
            times = f" {abs(missing)} times" if abs(missing) > 1 else ""
            yield Difference(name, f"{sign} {_row(table, row)}{times}")


def _keyed(table: Table) -> dict[Hashable, tuple[Any, ...]]:
    return {_hashable(tuple(row[index] for index in table.key)): row for row in table.rows}


def _hashable(row: tuple[Any, ...]) -> Hashable:
    try:
        hash(row)
    except TypeError:
        return repr(row)
    return row


def _row(table: Table, row: tuple[Any, ...]) -> str:
    shown = [
        _value(value) if column.isdigit() else f"{column}={_value(value)}"
        for column, value in zip(table.columns, row, strict=False)
    ]
    return f"({', '.join(shown)})"


def _value(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _VALUE_SHOWN else f"{text[:_VALUE_SHOWN]}..."


def in_words(found: Iterable[Difference]) -> list[str]:
    """The differences, a line each, under the names of their tables."""
    by_table: dict[str, list[str]] = {}
    for difference in found:
        by_table.setdefault(difference.where.partition(".")[0], []).append(difference.text)
    lines = []
    for table, texts in by_table.items():
        more = [f"... and {len(texts) - _ROWS_SHOWN} more"] if len(texts) > _ROWS_SHOWN else []
        lines += [f"{table}:", *(f"  {text}" for text in (*texts[:_ROWS_SHOWN], *more))]
    return lines
