"""The rows as a table for people, as Markdown for the documentation and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from bench.compare import Row
from bench.judging import Verdict

HEADINGS = ("measure", "system", "durability", "median", "spread", "of floor", "deferq is")
BEGIN, END = "<!-- bench: results begin -->", "<!-- bench: results end -->"


def cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The table without its headings."""
    return [_line(row, _partner(rows, row, "floor"), _partner(rows, row, "ours")) for row in rows]


def grouped(rows: Sequence[Row]) -> list[Row]:
    """The rows of each figure together, in the order in which the figures were measured."""
    figures = dict.fromkeys(row.figure for row in rows)
    return [row for figure in figures for row in rows if row.figure == figure]


def text(machine: Mapping[str, str], rows: Sequence[Row], verdicts: Sequence[Verdict]) -> str:
    """For a terminal."""
    parts = [f"{label:12} {value}" for label, value in machine.items()]
    parts += ["", *_aligned([HEADINGS, *cells(rows)])]
    parts += ["", *(f"note: {note}" for note in _notes(rows))]
    parts += ["", "To reach:", *(f"  {verdict}" for verdict in verdicts)] if verdicts else []
    return "\n".join(parts)


def markdown(machine: Mapping[str, str], rows: Sequence[Row], verdicts: Sequence[Verdict]) -> str:
    """For docs/reference/benchmarks.md."""
    parts = [f"- {label}: {value}" for label, value in machine.items()]
    parts += ["", _pipes(HEADINGS), _pipes("---" for _ in HEADINGS), *(_pipes(line) for line in cells(rows))]
    parts += ["", *(f"- {note}" for note in _notes(rows))]
    parts += ["", "To reach:", "", *(f"- {verdict}" for verdict in verdicts)] if verdicts else []
    return "\n".join(parts)


def to_json(machine: Mapping[str, str], rows: Sequence[Row], verdicts: Sequence[Verdict]) -> str:
    """Everything that was measured."""
    return json.dumps(
        {
            "machine": machine,
            "rows": [{**asdict(row), "median": row.median} for row in rows],
            "targets": [asdict(verdict) for verdict in verdicts],
        },
        indent=1,
    )


def write_into(page: Path, section: str) -> None:
    """Replace the results of a documentation page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{page}: the lines {BEGIN} and {END} are missing.")
    page.write_text(f"{before}{BEGIN}\n{section}\n{END}{after}")


def ratio(row: Row, other: Row | None) -> float | None:
    """How many times `other` this row is: the median over the repeats, each against its own neighbour."""
    if other is None or other is row or not row.values or not other.values or not all(other.values):
        return None
    return median(mine / theirs for mine, theirs in zip(row.values, other.values, strict=False))


def _line(row: Row, floor: Row | None, ours: Row | None) -> tuple[str, ...]:
    if row.missing:
        return row.figure.title, row.system, row.durability, "missing", row.missing.replace("|", "/")[:200], "", ""
    unit = f" {row.figure.unit}"
    spread = f"{_number(min(row.values))} – {_number(max(row.values))}"
    return (
        row.figure.title,
        row.system,
        row.durability,
        f"{_number(row.median or 0.0)}{unit}",
        spread,
        *(
            _of_floor(row, floor),
            _ours_is(row, ours),
        ),
    )


def _of_floor(row: Row, floor: Row | None) -> str:
    share = ratio(row, floor)
    if share is None or row.role == "floor":
        return ""
    return f"{share:.0%}" if row.figure.more_is_better else f"{share:.1f} x"


def _ours_is(row: Row, ours: Row | None) -> str:
    if row.role != "peer" or ours is None:
        return ""
    factor = ratio(ours, row) if row.figure.more_is_better else ratio(row, ours)
    if not factor:
        return ""
    return f"{factor:.1f} x better" if factor >= 1 else f"{1 / factor:.1f} x worse"


def _partner(rows: Iterable[Row], row: Row, role: str) -> Row | None:
    return next((other for other in rows if other.figure == row.figure and other.role == role), None)


def _notes(rows: Iterable[Row]) -> Iterator[str]:
    seen = {(row.system, row.note): row.figure.title for row in reversed(list(rows)) if row.note}
    return (f"{title}: {system}: {note}" for (system, note), title in reversed(seen.items()))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _pipes(line: Iterable[str]) -> str:
    return "| " + " | ".join(line) + " |"


def _aligned(lines: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*((cell[:48] for cell in line) for line in lines), strict=True)]
    shown, last = [], ""
    for line in lines:
        again = line[0] == last
        last = line[0]
        if not again:
            shown.append("")
        first = "" if again else line[0]
        padded = (cell.ljust(width) for cell, width in zip((first, *line[1:]), widths, strict=True))
        shown.append("  ".join(padded).rstrip())
    return shown
