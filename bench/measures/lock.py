"""How long a worker keeps other writers waiting while its tasks use the CPU: the write lock, looked at from outside.

In WAL mode SQLite's write lock is a record lock on byte 120 of the file `-shm`. Another process asks the kernel who
holds it (F_GETLK), again and again, and measures the spells in which somebody does. It never takes the lock itself, so
nobody waits for it. It is a process of its own, since the kernel tells nobody of his own locks.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.compare import Bench, Case, Figure, Row, Values, percentile
from bench.marks import Marks
from bench.ours import FILE, Ours
from bench.processes import python, running, tail
from bench.system import idle_worker, opened

P50 = Figure(title="write lock held, tasks of 1 ms CPU: p50", unit="ms", more_is_better=False)
WORST = Figure(title="write lock held, tasks of 1 ms CPU: worst", unit="ms", more_is_better=False)
TASK_S = 0.001
LOOK_EACH_S = 0.0001
#: Where SQLite's WAL mode has its locks in the file `-shm`; the first is the write lock.
WRITE_LOCK_AT = 120
#: `struct flock`: type, whence, start, length, process; filled up to eight bytes.
FLOCK = struct.Struct("@hhqqi0q")


def run(bench: Bench) -> list[Row]:
    """Rows of deferq."""
    duration_s = bench.seconds(5, 1)

    def once(folder: Path) -> Values:
        held_ms = _held_ms(folder, duration_s)
        return {P50: percentile(held_ms, 50), WORST: max(held_ms)}

    note = f"looked at each {LOOK_EACH_S * 1000:.1f} ms and a little; shorter holds are seen only by chance"
    case = Case(candidate=Ours(), figures=(P50, WORST), once=once, label=Ours().threads, note=note)
    return bench.side_by_side([case])


def _held_ms(folder: Path, duration_s: float) -> list[float]:
    with opened(Ours(), folder) as store, Marks(folder) as marks, idle_worker(store, folder, marks):
        store.spin_many(int(duration_s / TASK_S) * 2, TASK_S)
        log = folder / "lock.log"
        argv = python("-m", "bench.measures.lock", str(folder / FILE), str(duration_s))
        with running(argv, log) as onlooker:
            if onlooker.wait(duration_s + 30):
                raise RuntimeError(f"the onlooker ended with {onlooker.returncode}: {tail(log)}")
        held_ms: list[float] = json.loads(log.read_text())
    if not held_ms:
        raise RuntimeError("the worker never held the write lock")
    return held_ms


@contextmanager
def onlooking(database: Path) -> Iterator[int]:
    """A descriptor for `holder`. The process must not have the database open: closing this would drop its locks."""
    descriptor = os.open(f"{database}-shm", os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def holder(descriptor: int) -> int:
    """The process that holds the write lock, or 0."""
    question = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, WRITE_LOCK_AT, 1, 0)
    kind, _, _, _, pid = FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def _watch(descriptor: int, end_s: float) -> list[float]:
    """Milliseconds of each spell in which one process held the lock."""
    held_ms: list[float] = []
    before, since_s = 0, 0.0
    while (now_s := time.monotonic()) < end_s:
        pid = holder(descriptor)
        if pid != before:
            if before:
                held_ms.append((now_s - since_s) * 1000)
            before, since_s = pid, now_s
        time.sleep(LOOK_EACH_S)
    return held_ms


if __name__ == "__main__":
    with onlooking(Path(sys.argv[1])) as opened_file:
        print(json.dumps(_watch(opened_file, time.monotonic() + float(sys.argv[2]))))
