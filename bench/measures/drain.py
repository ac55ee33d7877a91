"""One worker, idle before, runs tasks that were stored in one transaction: no-ops, and tasks that use the CPU.

For deferq the clock runs from the first lease to the last settlement, as its rows tell; for the others from the start
of the first task to the moment when the store shows the last one settled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.compare import Bench, Case, Figure, Row, Values
from bench.floor import Floor, drain_rate
from bench.marks import FIRST, LAST, Marks
from bench.ours import Ours
from bench.system import Store, System, idle_worker, opened
from bench.systems import peers

DRAIN = Figure(title="drain of no-ops, one worker", unit="/s")
BUSY = Figure(title="drain of tasks of 1 ms CPU", unit="/s")
SPIN_S = 0.001
MARKS = 2
TURNS = 3

Filler = Callable[[int, str], None]


def run(bench: Bench) -> list[Row]:
    """Rows of the floor, of deferq and of the peers with their default and with 8 threads."""
    ours = [Ours(), Ours(children=2), Ours(inside=True)]
    cases = [_floor(bench), *(_case(bench, system) for system in ours)]
    for peer in peers(bench):
        cases.append(_case(bench, peer))
        if peer.threads == "1 thread":
            cases.append(_case(bench, peer, threads=8))
    return [*bench.side_by_side(cases), *bench.side_by_side([_busy(bench, system) for system in ours[:2]])]


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


def _busy(bench: Bench, system: Ours) -> Case:
    count = bench.size(3_000, 300)

    def once(folder: Path) -> Values:
        with opened(system, folder) as store:
            return {BUSY: drain(store, folder, count, fill=partial(store.fill, spin_s=SPIN_S))}

    return Case(candidate=system, figures=(BUSY,), once=once, label=system.threads, note=f"{count:,} tasks")


def _extent(bench: Bench, system: System, threads: int | None) -> tuple[int, int]:
    """How often and how many tasks: a drain of deferq is over in a moment, RQ forks for each task."""
    if isinstance(system, Ours):
        return TURNS, bench.size(20_000, 2_000)
    if system.name == "RQ":
        return 1, bench.size(200, 50)
    return 1, bench.size(6_000 if threads is None else 3_000, 1_000)


def drain(store: Store, folder: Path, count: int, threads: int | None = None, fill: Filler | None = None) -> float:
    """Tasks a second; `fill` stores them, by default no-ops."""
    with Marks(folder) as marks, idle_worker(store, folder, marks, threads):
        before = store.succeeded()
        (fill or store.fill)(count, marks.path)
        first_ns = marks.wait(FIRST, 60)
        marks.wait(LAST, 300)
        settled_ns = _settled(store)
        if before is not None and (ended := (store.succeeded() or 0) - before) != count + MARKS:
            raise RuntimeError(f"{count + MARKS} tasks were drained, the store shows {ended} more that succeeded")
        took_s = store.span_s(first_ns) or (settled_ns - first_ns) / 1e9
    return (count + MARKS) / took_s


def _settled(store: Store, patience_s: float = 60.0) -> int:
    deadline = time.monotonic() + patience_s
    while not store.drained():
        if time.monotonic() > deadline:
            raise RuntimeError("the last task ran, but the store does not show it settled")
        time.sleep(0.001)
    return time.monotonic_ns()
