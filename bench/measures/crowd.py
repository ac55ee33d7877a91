"""Sixteen processes defer into one store, each as fast as it can, while four workers drain it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from bench.compare import Bench, Case, Figure, Row, Values
from bench.marks import Marks
from bench.ours import Ours, OurStore
from bench.peers import huey_sqlite
from bench.processes import python, running, tail
from bench.system import Sink, Store, System, idle_worker, opened

RATE = Figure(title="16 processes defer, 4 workers drain: all", unit="/s")
EVEN = Figure(title="16 processes: slowest one against the mean", unit="%")
WORST = Figure(title="16 processes: worst single defer", unit="ms", more_is_better=False)
ERRORS = Figure(title="16 processes: defers that failed", unit="", more_is_better=False)
FIGURES = (RATE, EVEN, WORST, ERRORS)
#: Until every caller has imported what it needs.
LEAD_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """How many of whom, for how long."""

    callers: int = 16
    workers: int = 4
    duration_s: float = 60.0

    def __str__(self) -> str:
        return f"{self.callers} processes and {self.workers} workers, once for {self.duration_s:.0f} s"


def run(bench: Bench) -> list[Row]:
    """Rows of deferq and SqliteHuey, the two on a file; one long run each."""
    ours = _case(Ours(), Crowd(duration_s=bench.seconds(60, 2)))
    theirs = _case(huey_sqlite.HueySqlite(), Crowd(duration_s=bench.seconds(5, 2)))
    return bench.side_by_side([ours, theirs], repeats=1)


def _case(system: System, crowd: Crowd) -> Case:
    def once(folder: Path) -> Values:
        return _measure(system, folder, crowd)

    return Case(candidate=system, figures=FIGURES, once=once, label=system.threads, note=str(crowd))


def _measure(system: System, folder: Path, crowd: Crowd) -> Values:
    with opened(system, folder) as store, Marks(folder) as marks, ExitStack() as stack:
        workers = [stack.enter_context(idle_worker(store, folder, marks)) for _ in range(crowd.workers)]
        reports = _let_them_call(store, folder, crowd)
        _all_alive(workers, folder)
    counts = [report["count"] for report in reports]
    mean = sum(counts) / crowd.callers
    return {
        RATE: sum(counts) / crowd.duration_s,
        EVEN: 100 * min(counts) / mean if mean else 0.0,
        WORST: max(report["worst_ms"] for report in reports),
        ERRORS: sum(report["errors"] for report in reports),
    }


def _let_them_call(store: Store, folder: Path, crowd: Crowd) -> list[dict[str, float]]:
    logs = [folder / f"caller-{number}.log" for number in range(crowd.callers)]
    when = (str(time.monotonic() + LEAD_S), str(crowd.duration_s))
    with ExitStack() as stack:
        argv = python("-m", "bench.measures.crowd", *_address(store), *when)
        callers = [stack.enter_context(running(argv, log)) for log in logs]
        for caller, log in zip(callers, logs, strict=True):
            if caller.wait(crowd.duration_s + 60):
                raise RuntimeError(f"caller ended with {caller.returncode}: {tail(log)}")
    return [json.loads(log.read_text().splitlines()[-1]) for log in logs]


def _all_alive(workers: Sequence[Popen[bytes]], folder: Path) -> None:
    for worker in workers:
        if worker.poll() is not None:
            raise RuntimeError(f"a worker ended with {worker.returncode}: {tail(folder / 'worker.log')}")


def _address(store: Sink) -> tuple[str, str]:
    match store:
        case OurStore():
            return "deferq", store.url
        case huey_sqlite.SqliteStore():
            return "huey", store.file
        case _:
            raise TypeError(f"{type(store).__name__} is not on a file")


def _caller(kind: str, address: str, begin_s: float, duration_s: float) -> dict[str, float]:
    """One of the sixteen: defer from `begin_s` on and count."""
    sink: Sink = OurStore(address) if kind == "deferq" else huey_sqlite.SqliteStore(address)
    time.sleep(max(0.0, begin_s - time.monotonic()))
    late_s = max(0.0, time.monotonic() - begin_s)
    count, errors, worst_s, now = 0, 0, 0.0, time.monotonic()
    while now < begin_s + late_s + duration_s:
        try:
            sink.defer()
            count += 1
        except Exception as error:
            errors += 1
            print(f"{type(error).__name__}: {error}")
        before, now = now, time.monotonic()
        worst_s = max(worst_s, now - before)
    sink.close()
    return {"count": count, "errors": errors, "worst_ms": worst_s * 1000}


if __name__ == "__main__":
    print(json.dumps(_caller(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))))
