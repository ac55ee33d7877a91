"""A minute of deferring and draining at once, with a retention so short that the janitor works all the while.

One process keeps a few thousand tasks waiting, a thousand no-ops a call, and one worker drains them. How many tasks
were settled, the store's totals tell, since the history is purged. Plain drains just before and just after are what
the rate is compared with.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from subprocess import Popen

from bench.compare import Bench, Case, Figure, Row, Values
from bench.marks import Marks
from bench.measures.drain import drain
from bench.ours import Ours, OurStore
from bench.processes import python, running, tail
from bench.system import idle_worker, opened

RATE = Figure(title="deferring and draining at once: drained", unit="/s")
SHARE = Figure(title="the same, against a plain drain", unit="%")
#: Marks on the way, in seconds.
AFTER_S = (20, 40, 60)
SIZES = tuple(
    Figure(title=f"database and log after {after} s of both", unit="MB", more_is_better=False) for after in AFTER_S
)
GROWTH = Figure(title="database and log, after 60 s against after 20 s", unit="%", more_is_better=False)
LOG = Figure(title="largest log of that minute", unit="MB", more_is_better=False)
FIGURES = (RATE, SHARE, *SIZES, GROWTH, LOG)
KEPT_S = 5
WAITING, CALL = 4_000, 1_000
LOOK_EACH_S = 0.25


@dataclass(slots=True)
class _Course:
    """What was seen on the way."""

    sizes_mb: list[float] = field(default_factory=list)
    log_mb: float = 0.0
    rate: float = 0.0

    def look(self, database: Path) -> None:
        """Keep the log's largest size."""
        self.log_mb = max(self.log_mb, _mb(_log_of(database)))


def run(bench: Bench) -> list[Row]:
    """Rows of deferq; one long run."""
    duration_s, count = bench.seconds(AFTER_S[-1], 3), bench.size(20_000, 2_000)

    def once(folder: Path) -> Values:
        before = _plain(bench, count)
        course = _both(folder, duration_s)
        return _values(course, fmean([before, _plain(bench, count)]))

    note = f"once for {duration_s:.0f} s, succeeded tasks kept for {KEPT_S} s"
    case = Case(candidate=Ours(), figures=FIGURES, once=once, label=Ours().threads, note=note)
    return bench.side_by_side([case], repeats=1)


def _plain(bench: Bench, count: int) -> float:
    with bench.scratch() as folder, opened(Ours(), folder) as store:
        return drain(store, folder, count)


def _values(course: _Course, plain: float) -> Values:
    first, *_, last = course.sizes_mb
    return {
        RATE: course.rate,
        SHARE: 100 * course.rate / plain,
        **dict(zip(SIZES, course.sizes_mb, strict=True)),
        GROWTH: 100 * last / first,
        LOG: course.log_mb,
    }


def _both(folder: Path, duration_s: float) -> _Course:
    kept = {"DEFERQ_KEEP_SUCCEEDED_S": str(KEPT_S)}
    with (
        opened(Ours(), folder) as store,
        Marks(folder) as marks,
        idle_worker(store, folder, marks, more=kept) as worker,
        _deferring(store, folder) as caller,
    ):
        _until_running(store)
        course = _watch(store, duration_s)
        for process in (worker, caller):
            _still_alive(process, folder)
    return course


@contextmanager
def _deferring(store: OurStore, folder: Path) -> Iterator[Popen[bytes]]:
    with running(python("-m", "bench.measures.mixed", store.url), folder / "caller.log") as caller:
        yield caller


def _until_running(store: OurStore, patience_s: float = 30.0) -> None:
    end_s = time.monotonic() + patience_s
    while store.settled() < CALL:
        if time.monotonic() > end_s:
            raise RuntimeError("the worker and the caller did not get going")
        time.sleep(0.05)


def _watch(store: OurStore, duration_s: float) -> _Course:
    """Look at the files now and then, and at the totals at the begin and at the end."""
    course, database = _Course(), store.file
    settled, begin_s = store.settled(), time.monotonic()
    for mark in AFTER_S:
        end_s = begin_s + duration_s * mark / AFTER_S[-1]
        while time.monotonic() < end_s:
            time.sleep(LOOK_EACH_S)
            course.look(database)
        course.sizes_mb.append(_mb(database) + _mb(_log_of(database)))
    took_s = time.monotonic() - begin_s
    course.rate = (store.settled() - settled) / took_s
    return course


def _still_alive(process: Popen[bytes], folder: Path) -> None:
    if process.poll() is not None:
        logs = " / ".join(tail(folder / name) for name in ("worker.log", "caller.log"))
        raise RuntimeError(f"a process ended with {process.returncode}: {logs}")


def _log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _mb(file: Path) -> float:
    return file.stat().st_size / 1e6


def _keep_deferring(store: OurStore) -> None:
    while True:
        if store.ready() < WAITING:
            store.defer_many(CALL)
        else:
            time.sleep(0.005)


if __name__ == "__main__":
    _keep_deferring(OurStore(sys.argv[1]))
