"""How long a worker keeps other writers waiting while its tasks use the CPU: the write lock, tried from outside."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from bench.compare import Bench, Case, Figure, Row, Values, percentile
from bench.marks import Marks
from bench.ours import FILE, Ours
from bench.shape import bare
from bench.system import idle_worker, opened

P50 = Figure(title="write lock held, tasks of 1 ms CPU: p50", unit="ms", more_is_better=False)
WORST = Figure(title="write lock held, tasks of 1 ms CPU: worst", unit="ms", more_is_better=False)
TASK_S = 0.001
TRY_EACH_S = 0.0002


def run(bench: Bench) -> list[Row]:
    """Rows of deferq."""

    def once(folder: Path) -> Values:
        held_ms = _held_ms(folder, bench.seconds(5, 1))
        return {P50: percentile(held_ms, 50), WORST: max(held_ms)}

    note = f"BEGIN IMMEDIATE tried each {TRY_EACH_S * 1000:.1f} ms; shorter holds are seen only by chance"
    return bench.side_by_side([Case(candidate=Ours(), figures=(P50, WORST), once=once, note=note)])


def _held_ms(folder: Path, duration_s: float) -> list[float]:
    with opened(Ours(), folder) as store, Marks(folder) as marks, idle_worker(store, folder, marks):
        store.spin_many(int(duration_s / TASK_S) * 2, TASK_S)
        with closing(bare(folder / FILE, "FULL")) as outsider:
            outsider.execute("pragma busy_timeout = 0")
            return _sample(outsider, time.monotonic() + duration_s) or [0.0]


def _sample(outsider: sqlite3.Connection, end: float) -> list[float]:
    """Milliseconds of each stretch in which the lock was somebody's."""
    held_ms: list[float] = []
    since: float | None = None
    while (now := time.monotonic()) < end:
        if _is_free(outsider):
            if since is not None:
                held_ms.append((now - since) * 1000)
            since = None
        elif since is None:
            since = now
        time.sleep(TRY_EACH_S)
    return held_ms


def _is_free(outsider: sqlite3.Connection) -> bool:
    try:
        outsider.execute("begin immediate")
    except sqlite3.OperationalError:
        return False
    outsider.execute("rollback")
    return True
