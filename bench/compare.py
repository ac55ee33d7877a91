"""Several systems side by side: within each repeat they take turns, so that the machine's drift hits all alike."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median

from bench.peers.redis_server import RedisServer
from bench.system import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What is measured."""

    title: str
    unit: str
    more_is_better: bool = True


@dataclass(slots=True, kw_only=True)
class Row:
    """One system's values of one figure, one value for each repeat."""

    figure: Figure
    system: str
    durability: str = ""
    role: str = "peer"
    note: str = ""
    values: list[float] = field(default_factory=list)
    #: Why there are no values.
    missing: str = ""

    @property
    def median(self) -> float | None:
        """The middle value; None: there is none."""
        return median(self.values) if self.values else None


Values = Mapping[Figure, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One system in one configuration, and how to measure it once in an empty folder."""

    candidate: Candidate
    figures: tuple[Figure, ...]
    once: Callable[[Path], Values]
    #: Added to the system's name.
    label: str = ""
    durability: str | None = None
    role: str | None = None
    note: str = ""
    #: How often it comes round within a repeat, the others in between; the repeat's value is the mean.
    turns: int = 1

    @property
    def system(self) -> str:
        """As the table calls it."""
        return f"{self.candidate.name}, {self.label}" if self.label else self.candidate.name

    def rows(self) -> dict[Figure, Row]:
        """A row for each figure, still without values."""
        candidate = self.candidate
        return {
            figure: Row(
                figure=figure,
                system=self.system,
                durability=candidate.durability if self.durability is None else self.durability,
                role=self.role or candidate.role,
                note=self.note,
                missing=candidate.missing(),
            )
            for figure in self.figures
        }


@dataclass(kw_only=True)
class Bench:
    """One run: where it works, how long, and what it says meanwhile."""

    folder: Path
    server: RedisServer
    repeats: int = 3
    quick: bool = False
    #: Name of the measure that runs.
    measure: str = ""

    def size(self, full: int, quick: int) -> int:
        """How many: in a full run, in a smoke run."""
        return quick if self.quick else full

    def seconds(self, full: float, quick: float) -> float:
        """How long: in a full run, in a smoke run."""
        return quick if self.quick else full

    def say(self, text: str) -> None:
        """A line of progress."""
        print(f"{time.strftime('%H:%M:%S')} {self.measure:8} {text}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder for the length of a block."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def side_by_side(self, cases: Sequence[Case], repeats: int | None = None) -> list[Row]:
        """Measure each case in each repeat, starting with another one each time; None: as often as everything."""
        table = [(case, case.rows()) for case in cases]
        repeats = repeats or self.repeats
        for repeat in range(repeats):
            first = repeat % len(table)
            order = table[first:] + table[:first]
            taken: dict[int, list[Values]] = {id(case): [] for case in cases}
            for turn in range(max(case.turns for case in cases)):
                for case, rows in order:
                    if turn < case.turns and not any(row.missing for row in rows.values()):
                        taken[id(case)] += self._measure(case, rows, f"{repeat + 1}/{repeats}")
            for case, rows in order:
                _enter(rows, taken[id(case)])
        return [row for _, rows in table for row in rows.values()]

    def _measure(self, case: Case, rows: Mapping[Figure, Row], which: str) -> list[Values]:
        try:
            with self.scratch() as folder:
                values = case.once(folder)
        except Exception as error:
            self.fail(rows.values(), error)
            return []
        shown = ", ".join(f"{value:,.4g} {figure.unit}" for figure, value in values.items())
        self.say(f"{which} {case.system}: {shown}")
        return [values]

    def fail(self, rows: Iterable[Row], error: Exception) -> None:
        """A system that cannot be measured is missing from the table, with the reason; the others go on."""
        reason = f"failed: {type(error).__name__}: {error}"
        for row in rows:
            row.missing = reason
            row.values.clear()
        self.say(reason)


def _enter(rows: Mapping[Figure, Row], turns: Sequence[Values]) -> None:
    """The mean of a repeat's turns becomes its value."""
    for figure, row in rows.items():
        if turns and not row.missing:
            row.values.append(fmean(values[figure] for values in turns))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
