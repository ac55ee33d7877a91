"""How a target is judged by the rows of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from bench.compare import Figure, Row


@dataclass(frozen=True, slots=True)
class Value:
    """What a target looks at."""

    figure: Figure
    #: Its value by these rows; None: they do not tell.
    of: Callable[[Sequence[Row]], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One target and what this run says to it."""

    target: str
    value: str
    reached: bool

    def __str__(self) -> str:
        return f"{'reached' if self.reached else 'MISSED '}  {self.target}: {self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A value to reach, or not to exceed."""

    text: str
    value: Value
    at_least: float | None = None
    at_most: float | None = None
    form: str = "{:,.0f}"

    def judge(self, rows: Sequence[Row]) -> Verdict | None:
        """None: the run has not measured it. What was to be measured and could not be is missed."""
        value = self.value.of(rows)
        if value is None:
            reason = next(_why_not(rows, self.value.figure), "")
            return Verdict(target=self.text, value=f"no value, {reason}", reached=False) if reason else None
        enough = self.at_least is None or value >= self.at_least
        reached = enough and (self.at_most is None or value <= self.at_most)
        return Verdict(target=self.text, value=self.form.format(value), reached=reached)


def ours(figure: Figure, durability: str = "") -> Value:
    """Our own median; `durability` says which, if there are several."""

    def value(rows: Sequence[Row]) -> float | None:
        row = _find(rows, figure, "ours", durability=durability)
        return row.median if row else None

    return Value(figure, value)


def against(figure: Figure, role: str, system: str = "") -> Value:
    """Ours as a multiple of the best other row of that role and name."""

    def value(rows: Sequence[Row]) -> float | None:
        mine = _find(rows, figure, "ours")
        others = list(_all(rows, figure, role, system))
        if mine is None or not others:
            return None
        return min(_times(mine, other) for other in others)

    return Value(figure, value)


def variant(figure: Figure, words: str) -> Value:
    """The variant of ours that is so called, as a multiple of ours."""

    def value(rows: Sequence[Row]) -> float | None:
        mine = _find(rows, figure, "ours")
        other = next((row for row in _all(rows, figure, "variant") if words in row.system), None)
        return _times(other, mine) if mine and other else None

    return Value(figure, value)


def _times(row: Row, other: Row) -> float:
    """Each repeat against its own neighbour."""
    return median(a / b for a, b in zip(row.values, other.values, strict=False))


def _why_not(rows: Sequence[Row], figure: Figure) -> Iterator[str]:
    """Why there are no values of ours."""
    return (row.missing for row in rows if row.figure == figure and row.role in ("ours", "variant") and row.missing)


def _find(rows: Sequence[Row], figure: Figure, role: str, durability: str = "") -> Row | None:
    return next((row for row in _all(rows, figure, role) if durability in row.durability), None)


def _all(rows: Sequence[Row], figure: Figure, role: str, system: str = "") -> Iterator[Row]:
    return (r for r in rows if r.figure == figure and r.role == role and r.values and r.system.startswith(system))
