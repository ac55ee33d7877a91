"""Many tasks in one call."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from bench.compare import Bench, Case, Figure, Row, Values
from bench.floor import Floor
from bench.ours import Ours
from bench.system import Candidate
from bench.systems import peers

BULK = Figure(title="defer_many", unit="/s")
CALLS = 3


def run(bench: Bench) -> list[Row]:
    """Rows of everything; who has no call for many is measured one by one, with fewer tasks."""
    return bench.side_by_side([_case(bench, candidate) for candidate in [Floor(), Ours(), *peers(bench)]])


def _case(bench: Bench, candidate: Candidate) -> Case:
    count = bench.size(10_000, 2_000) if candidate.bulk else bench.size(2_000, 500)

    def once(folder: Path) -> Values:
        with closing(candidate.open(folder)) as sink:
            sink.defer()
            begun = time.perf_counter()
            for _ in range(CALLS):
                sink.defer_many(count)
            return {BULK: CALLS * count / (time.perf_counter() - begun)}

    label = "" if candidate.bulk else "one by one"
    note = f"{count:,} tasks a call" if candidate.bulk else "has no call for many tasks"
    return Case(candidate=candidate, figures=(BULK,), once=once, label=label, note=note)
