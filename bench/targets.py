"""What deferq has set itself to reach, judged by the rows of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from bench.compare import Figure, Row
from bench.measures import beside, bulk, crowd, defer, drain, start, threads


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
    value: Callable[[Sequence[Row]], float | None]
    at_least: float | None = None
    at_most: float | None = None
    form: str = "{:,.0f}"

    def judge(self, rows: Sequence[Row]) -> Verdict | None:
        """None: the run has not measured it."""
        value = self.value(rows)
        if value is None:
            return None
        enough = self.at_least is None or value >= self.at_least
        reached = enough and (self.at_most is None or value <= self.at_most)
        return Verdict(target=self.text, value=self.form.format(value), reached=reached)


def judge(rows: Sequence[Row]) -> list[Verdict]:
    """Every target that the run has measured."""
    return [verdict for target in TARGETS if (verdict := target.judge(rows)) is not None]


def _ours(figure: Figure) -> Callable[[Sequence[Row]], float | None]:
    def value(rows: Sequence[Row]) -> float | None:
        row = _find(rows, figure, "ours")
        return row.median if row else None

    return value


def _against(figure: Figure, role: str, system: str = "") -> Callable[[Sequence[Row]], float | None]:
    """Ours as a multiple of the best other row of that role and name."""

    def value(rows: Sequence[Row]) -> float | None:
        ours = _find(rows, figure, "ours")
        others = list(_all(rows, figure, role, system))
        if ours is None or not others:
            return None
        return min(median(a / b for a, b in zip(ours.values, other.values, strict=False)) for other in others)

    return value


def _find(rows: Sequence[Row], figure: Figure, role: str) -> Row | None:
    return next(_all(rows, figure, role), None)


def _all(rows: Sequence[Row], figure: Figure, role: str, system: str = "") -> Iterator[Row]:
    return (r for r in rows if r.figure == figure and r.role == role and r.values and r.system.startswith(system))


TARGETS = (
    Target(
        text="defer, one caller, FULL: at least 85 % of the floor",
        value=_against(defer.FULL, "floor"),
        at_least=0.85,
        form="{:.0%}",
    ),
    Target(
        text="defer, one caller, FULL: not below SqliteHuey",
        value=_against(defer.FULL, "peer", "SqliteHuey"),
        at_least=1.0,
        form="{:.2f} x",
    ),
    Target(text="defer, one caller, NORMAL: at least 25,000/s", value=_ours(defer.NORMAL), at_least=25_000),
    Target(text="defer, 8 threads, FULL: at least 15,000/s", value=_ours(threads.EIGHT), at_least=15_000),
    Target(text="defer, 32 threads, FULL: at least 18,000/s", value=_ours(threads.THIRTY_TWO), at_least=18_000),
    Target(
        text="16 processes: slowest at least half the mean",
        value=_ours(crowd.EVEN),
        at_least=50,
        form="{:.0f} % of the mean",
    ),
    Target(text="16 processes: worst defer at most 500 ms", value=_ours(crowd.WORST), at_most=500, form="{:.0f} ms"),
    Target(text="16 processes: no error", value=_ours(crowd.ERRORS), at_most=0),
    Target(text="defer_many, 10,000 a call: at least 100,000/s", value=_ours(bulk.BULK), at_least=100_000),
    Target(
        text="drain: at least 4 times SqliteHuey",
        value=_against(drain.DRAIN, "peer", "SqliteHuey"),
        at_least=4.0,
        form="{:.1f} x",
    ),
    Target(
        text="drain: at least 4 times RedisHuey",
        value=_against(drain.DRAIN, "peer", "RedisHuey"),
        at_least=4.0,
        form="{:.1f} x",
    ),
    Target(
        text="drain beside 1,000,000 future tasks: at least 90 % of the rate beside none",
        value=_against(beside.FUTURE, "floor"),
        at_least=0.9,
        form="{:.0%}",
    ),
    Target(
        text="drain beside 1,000,000 finished tasks: at least 90 % of the rate beside none",
        value=_against(beside.FINISHED, "floor"),
        at_least=0.9,
        form="{:.0%}",
    ),
    Target(text="deferq --help: under 150 ms", value=_ours(start.HELP), at_most=150, form="{:.0f} ms"),
    Target(text="import deferq: under 60 ms", value=_ours(start.IMPORT), at_most=60, form="{:.0f} ms"),
)
