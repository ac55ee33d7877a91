"""Sixteen processes defer into one store while one worker drains it."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from bench.compare import Bench, Case, Figure, Row, Values
from bench.marks import Marks
from bench.ours import Ours, OurStore
from bench.peers import huey_sqlite
from bench.processes import python, running, tail
from bench.system import Sink, System, idle_worker, opened

PROCESSES = 16
RATE = Figure(title="16 processes defer, one worker drains: all", unit="/s")
EVEN = Figure(title="16 processes: slowest one against the mean", unit="%")
WORST = Figure(title="16 processes: worst single defer", unit="ms", more_is_better=False)
ERRORS = Figure(title="16 processes: defers that failed", unit="", more_is_better=False)
FIGURES = (RATE, EVEN, WORST, ERRORS)


def run(bench: Bench) -> list[Row]:
    """Rows of deferq and SqliteHuey, the two on a file."""
    ours = _case(bench, Ours(), bench.seconds(30, 2))
    theirs = _case(bench, huey_sqlite.HueySqlite(), bench.seconds(5, 2))
    return bench.side_by_side([ours, theirs])


def _case(bench: Bench, system: System, duration_s: float) -> Case:
    def once(folder: Path) -> Values:
        return _measure(system, folder, duration_s)

    return Case(candidate=system, figures=FIGURES, once=once, note=f"16 processes for {duration_s:.0f} s")


def _measure(system: System, folder: Path, duration_s: float) -> Values:
    with opened(system, folder) as store, Marks(folder) as marks, idle_worker(store, folder, marks):
        begin_s = time.monotonic() + 3.0
        with ExitStack() as children:
            logs = [folder / f"caller-{number}" for number in range(PROCESSES)]
            callers = []
            for log in logs:
                kind, address = _address(store)
                argv = python("-m", "bench.measures.crowd", kind, address, str(begin_s), str(duration_s))
                callers.append(children.enter_context(running(argv, log)))
            for caller, log in zip(callers, logs, strict=True):
                if caller.wait(duration_s + 60):
                    raise RuntimeError(f"caller ended with {caller.returncode}: {tail(log)}")
        reports = [json.loads(log.read_text().splitlines()[-1]) for log in logs]
    counts = [report["count"] for report in reports]
    mean = sum(counts) / PROCESSES
    return {
        RATE: sum(counts) / duration_s,
        EVEN: 100 * min(counts) / mean if mean else 0.0,
        WORST: max(report["worst_ms"] for report in reports),
        ERRORS: sum(report["errors"] for report in reports),
    }


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
