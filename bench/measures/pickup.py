"""How long an idle worker in another process takes to start a task: from calling `defer` to the task's first line."""

from __future__ import annotations

import random
import time
from pathlib import Path

from bench.compare import Bench, Case, Figure, Row, Values, percentile
from bench.marks import Marks
from bench.ours import Ours
from bench.system import System, idle_worker, opened
from bench.systems import peers

P50 = Figure(title="pick-up latency p50", unit="ms", more_is_better=False)
P99 = Figure(title="pick-up latency p99", unit="ms", more_is_better=False)
PAUSE_S = (0.005, 0.02)
POLLING_PAUSE_S = (0.05, 0.4)


def run(bench: Bench) -> list[Row]:
    """Rows of deferq with both settings and of the peers."""
    cases = [_case(bench, Ours()), _case(bench, Ours("NORMAL"))]
    for peer in peers(bench):
        polls = peer.name == "SqliteHuey"
        cases.append(_case(bench, peer, polls=polls))
    return bench.side_by_side(cases)


def _case(bench: Bench, system: System, *, polls: bool = False) -> Case:
    often = system.role == "ours" or system.name == "RedisHuey"
    samples = bench.size(20, 5) if polls else bench.size(300 if often else 100, 20)
    pause_s = POLLING_PAUSE_S if polls else PAUSE_S

    def once(folder: Path) -> Values:
        took_ms = _latencies(system, folder, samples, pause_s)
        return {P50: percentile(took_ms, 50), P99: percentile(took_ms, 99)}

    note = f"{samples} tasks, {pause_s[0] * 1000:.0f}-{pause_s[1] * 1000:.0f} ms apart"
    if polls:
        note += "; polls each 0.1 s after a task and less and less often (up to 10 s) while idle"
    return Case(candidate=system, figures=(P50, P99), once=once, label=system.threads, note=note)


def _latencies(system: System, folder: Path, samples: int, pause_s: tuple[float, float]) -> list[float]:
    chance = random.Random(1)
    took_ms = []
    with opened(system, folder) as store, Marks(folder) as marks, idle_worker(store, folder, marks):
        for number in range(samples):
            time.sleep(chance.uniform(*pause_s))
            called_ns = time.monotonic_ns()
            store.mark(marks.path, number)
            took_ms.append((marks.wait(number, 60) - called_ns) / 1e6)
    return took_ms
