"""The same drain beside a million tasks that are due later, and beside a million that have ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bench.compare import Bench, Case, Figure, Row, Values
from bench.measures.drain import drain
from bench.ours import FILE, Ours
from bench.shape import Shape, add_finished, add_future, bare, forget_succeeded, shape_in
from bench.system import opened

FUTURE = Figure(title="drain beside future tasks", unit="/s")
FINISHED = Figure(title="drain beside finished tasks", unit="/s")
TURNS = 2

Filler = Callable[[sqlite3.Connection, Shape, int], None]


def run(bench: Bench) -> list[Row]:
    """Rows of deferq; the drain beside none stands in the place of the floor."""
    ours = Ours()
    if ours.missing():
        return bench.side_by_side([_case(bench, None, bench.folder, (FUTURE, FINISHED), "beside none")])
    with bench.scratch() as folder:
        kinds: dict[str, tuple[Filler | None, tuple[Figure, ...]]] = {
            "beside none": (None, (FUTURE, FINISHED)),
            "beside future": (add_future, (FUTURE,)),
            "beside finished": (add_finished, (FINISHED,)),
        }
        cases = []
        for label, (filler, figures) in kinds.items():
            place = folder / label.replace(" ", "-")
            place.mkdir()
            cases.append(_case(bench, filler, place, figures, label))
        return bench.side_by_side(cases)


def _case(bench: Bench, filler: Filler | None, place: Path, figures: tuple[Figure, ...], label: str) -> Case:
    """The store is built once, in `place`, and drained in every repeat."""
    count, million = bench.size(20_000, 2_000), bench.size(1_000_000, 20_000)

    def once(folder: Path) -> Values:
        if not (place / FILE).exists():
            bench.say(f"{label}: building the store")
            _build(place, filler, million, shape_in(bench.folder))
        with opened(Ours(), place) as store:
            rate = drain(store, folder, count)
        with closing(bare(place / FILE, "NORMAL")) as connection:
            forget_succeeded(connection)
        return dict.fromkeys(figures, rate)

    return Case(
        candidate=Ours(),
        figures=figures,
        once=once,
        label=label,
        turns=TURNS,
        role="floor" if filler is None else "ours",
        note=f"{million:,} rows built by direct SQL" if filler else "stands where the floor stands elsewhere",
    )


def _build(place: Path, filler: Filler | None, count: int, shape: Shape) -> None:
    with opened(Ours(), place) as store:
        store.defer()
    with closing(bare(place / FILE, "NORMAL")) as connection:
        if filler is not None:
            filler(connection, shape, count)
        connection.execute("pragma wal_checkpoint(truncate)")
