"""One caller defers one task after the other. All systems take turns in short blocks."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass

from bench.compare import Bench, Figure, Row
from bench.floor import Floor
from bench.ours import Ours
from bench.system import Candidate, Sink
from bench.systems import peers

FULL = Figure(title="defer, one caller, FULL", unit="/s")
NORMAL = Figure(title="defer, one caller, NORMAL", unit="/s")


@dataclass(slots=True)
class _Runner:
    """One candidate within one repeat."""

    row: Row
    sink: Sink
    count: int = 0
    took_s: float = 0.0

    def block(self, block_s: float) -> None:
        """Defer for a while."""
        defer, count = self.sink.defer, 0
        begun = time.perf_counter()
        end = begun + block_s
        while (now := time.perf_counter()) < end:
            defer()
            count += 1
        self.count += count
        self.took_s += now - begun


def run(bench: Bench) -> list[Row]:
    """Rows of both settings of `synchronous`."""
    entries: list[tuple[Figure, Candidate]] = [(FULL, Floor()), (FULL, Ours())]
    entries += [(NORMAL, Floor("NORMAL")), (NORMAL, Ours("NORMAL"))]
    entries += [(FULL, peer) for peer in peers(bench)]
    table = [(candidate, _row(figure, candidate)) for figure, candidate in entries]
    for repeat in range(bench.repeats):
        _repeat(bench, table)
        shown = ", ".join(f"{row.system} {row.values[-1]:,.0f}" for _, row in table if row.values)
        bench.say(f"{repeat + 1}/{bench.repeats} per second: {shown}")
    return [row for _, row in table]


def _row(figure: Figure, candidate: Candidate) -> Row:
    return Row(
        figure=figure,
        system=candidate.name,
        durability=candidate.durability,
        role=candidate.role,
        missing=candidate.missing(),
    )


def _repeat(bench: Bench, table: list[tuple[Candidate, Row]]) -> None:
    with bench.scratch() as folder, ExitStack() as open_stores:
        runners = []
        for number, (candidate, row) in enumerate(table):
            if not row.missing:
                place = folder / str(number)
                place.mkdir()
                try:
                    sink = open_stores.enter_context(closing(candidate.open(place)))
                except Exception as error:
                    bench.fail([row], error)
                else:
                    runners.append(_Runner(row, sink))
        for _ in range(bench.size(10, 3)):
            for runner in runners:
                _block(bench, runner)
        for runner in runners:
            if not runner.row.missing:
                runner.row.values.append(runner.count / runner.took_s)


def _block(bench: Bench, runner: _Runner) -> None:
    if runner.row.missing:
        return
    try:
        runner.block(bench.seconds(0.2, 0.05))
    except Exception as error:
        bench.fail([runner.row], error)
