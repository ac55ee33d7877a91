"""Many threads of one process defer at the same time."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path

from bench.compare import Bench, Case, Figure, Row, Values
from bench.floor import SharedFloor
from bench.ours import Ours
from bench.system import Candidate
from bench.systems import peers

EIGHT = Figure(title="defer, 8 threads", unit="/s")
THIRTY_TWO = Figure(title="defer, 32 threads", unit="/s")
THREADS = {EIGHT: 8, THIRTY_TWO: 32}


def run(bench: Bench) -> list[Row]:
    """Rows for 8 and for 32 threads."""
    return [
        row
        for figure in THREADS
        for row in bench.side_by_side(
            [_case(bench, candidate, figure) for candidate in [SharedFloor(), Ours(), *peers(bench)]]
        )
    ]


def _case(bench: Bench, candidate: Candidate, figure: Figure) -> Case:
    duration_s = bench.seconds(0.8 if candidate.role == "peer" else 1.5, 0.3)

    def once(folder: Path) -> Values:
        return {figure: _rate(candidate, folder, THREADS[figure], duration_s)}

    return Case(candidate=candidate, figures=(figure,), once=once)


def _rate(candidate: Candidate, folder: Path, threads: int, duration_s: float) -> float:
    counts = [0] * threads
    errors: list[Exception] = []
    start = threading.Barrier(threads + 1)
    stop = threading.Event()
    with closing(candidate.open(folder)) as sink:

        def caller(number: int) -> None:
            start.wait()
            try:
                while not stop.is_set():
                    sink.defer()
                    counts[number] += 1
            except Exception as error:
                errors.append(error)

        callers = [threading.Thread(target=caller, args=(number,), daemon=True) for number in range(threads)]
        for thread in callers:
            thread.start()
        start.wait()
        begun = time.perf_counter()
        time.sleep(duration_s)
        stop.set()
        for thread in callers:
            thread.join()
        took_s = time.perf_counter() - begun
    if errors:
        raise errors[0]
    return sum(counts) / took_s
