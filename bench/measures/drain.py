"""One worker process, idle before, runs no-ops that were stored in one transaction.

The clock runs from the first task of the first lease to the moment when the store shows the last one settled.
"""

from __future__ import annotations

import time
from pathlib import Path

from bench.compare import Bench, Case, Figure, Row, Values
from bench.floor import Floor, drain_rate
from bench.marks import FIRST, LAST, Marks
from bench.ours import Ours
from bench.system import Store, System, idle_worker, opened
from bench.systems import peers

DRAIN = Figure(title="drain of no-ops, one worker process", unit="/s")
MARKS = 2
TURNS = 3


def run(bench: Bench) -> list[Row]:
    """Rows of the floor, of deferq and of the peers with their default and with 8 threads."""
    cases = [_floor(bench), _case(bench, Ours())]
    for peer in peers(bench):
        cases.append(_case(bench, peer))
        if peer.threads == "1 thread":
            cases.append(_case(bench, peer, threads=8))
    return bench.side_by_side(cases)


def _floor(bench: Bench) -> Case:
    count = bench.size(20_000, 2_000)

    def once(folder: Path) -> Values:
        return {DRAIN: drain_rate(folder, count)}

    return Case(
        candidate=Floor(),
        figures=(DRAIN,),
        once=once,
        label="bare loop",
        note=f"lease 200, verify, unpickle, call, settle 200; mean of {TURNS} drains of {count:,}",
        turns=TURNS,
    )


def _case(bench: Bench, system: System, threads: int | None = None) -> Case:
    turns, count = _extent(bench, system, threads)

    def once(folder: Path) -> Values:
        with opened(system, folder) as store:
            return {DRAIN: drain(store, folder, count, threads)}

    label = system.threads if threads is None else f"{threads} threads"
    note = f"{count:,} tasks" if turns == 1 else f"mean of {turns} drains of {count:,}"
    return Case(candidate=system, figures=(DRAIN,), once=once, label=label, note=note, turns=turns)


def _extent(bench: Bench, system: System, threads: int | None) -> tuple[int, int]:
    """How often and how many tasks: a drain of deferq is over in a moment, RQ forks for each task."""
    if threads is not None:
        return 1, bench.size(5_000, 1_000)
    if system.role == "ours":
        return TURNS, bench.size(20_000, 2_000)
    return 1, bench.size(300, 50) if system.name == "RQ" else bench.size(20_000, 2_000)


def drain(store: Store, folder: Path, count: int, threads: int | None = None) -> float:
    """Tasks a second."""
    with Marks(folder) as marks, idle_worker(store, folder, marks, threads):
        before = store.succeeded()
        store.fill(count, marks.path)
        first_ns = marks.wait(FIRST, 60)
        marks.wait(LAST, 300)
        settled_ns = _settled(store)
        if before is not None and (ended := (store.succeeded() or 0) - before) != count + MARKS:
            raise RuntimeError(f"{count + MARKS} tasks were drained, the store shows {ended} more that succeeded")
    return (count + MARKS) / (settled_ns - first_ns) * 1e9


def _settled(store: Store, patience_s: float = 60.0) -> int:
    deadline = time.monotonic() + patience_s
    while not store.drained():
        if time.monotonic() > deadline:
            raise RuntimeError("the last task ran, but the store does not show it settled")
        time.sleep(0.001)
    return time.monotonic_ns()
