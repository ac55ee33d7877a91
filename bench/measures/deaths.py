"""How soon the work goes on when somebody dies, or is told to stop.

A task reports its process and stays. Then its child is killed, or the whole tree of its worker while another worker
lives, and the clock runs until the task starts again: what it took to notice, the policy's backoff (0.1 s by default)
and the start. Or a worker that has leased ahead gets SIGTERM, and the clock runs until the store shows no lease.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.compare import Bench, Case, Figure, Row
from bench.machine import tree
from bench.marks import Marks, Silence
from bench.ours import Ours, OurStore, has_children
from bench.processes import kill_tree
from bench.system import idle_worker, opened

CHILD = Figure(title="SIGKILL of a child: until its task runs again", unit="s", more_is_better=False)
TREE = Figure(title="SIGKILL of a tree beside another worker: the same", unit="s", more_is_better=False)
STOP = Figure(title="SIGTERM: until what has not started is released", unit="s", more_is_better=False)
PATIENCE_S = 20.0
NAPS, NAP_S = 2_000, 0.02
#: So many tasks are leased at the least when the worker is told to stop; it has threads for fewer.
AHEAD = 12


def run(bench: Bench) -> list[Row]:
    """Rows of deferq; of each the median of some."""
    ways: dict[Figure, Callable[[Path], float]] = {CHILD: child_dies, TREE: tree_dies, STOP: stops}
    cases = [_case(figure, way) for figure, way in ways.items()]
    return bench.side_by_side(cases, repeats=bench.size(5, 1))


def _case(figure: Figure, way: Callable[[Path], float]) -> Case:
    def once(folder: Path) -> dict[Figure, float]:
        return {figure: way(folder)}

    return Case(candidate=Ours(), figures=(figure,), once=once, label=Ours().threads)


def child_dies(folder: Path) -> float:
    """Seconds from the death of a child to the restart of its task."""
    if not has_children():
        raise RuntimeError("this `deferq worker` executes tasks in the process that leases")
    with (
        opened(Ours(), folder) as store,
        Marks(folder) as marks,
        idle_worker(store, folder, marks),
        _staying(store, folder, marks) as pid,
    ):
        killed_ns = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        return _again_after(marks, pid, killed_ns)


def tree_dies(folder: Path) -> float:
    """Seconds from the death of a worker with all its children to the restart of its task by another one."""
    with (
        opened(Ours(), folder) as store,
        Marks(folder) as marks,
        idle_worker(store, folder, marks) as one,
        idle_worker(store, folder, marks) as other,
    ):
        _until(lambda: store.workers() == 2, "two workers")
        with _staying(store, folder, marks) as pid:
            victim = one if pid in tree(one.pid) else other
            killed_ns = time.monotonic_ns()
            kill_tree(victim)
            return _again_after(marks, pid, killed_ns)


def stops(folder: Path) -> float:
    """Seconds from SIGTERM to the moment when nothing is leased."""
    with opened(Ours(), folder) as store, Marks(folder) as marks, idle_worker(store, folder, marks) as worker:
        store.nap_many(NAPS, NAP_S)
        _until(lambda: store.leased() >= AHEAD, "leases ahead of their start")
        begun_s = time.monotonic()
        worker.terminate()
        _until(lambda: store.leased() == 0, "the release of leases")
        took_s = time.monotonic() - begun_s
        if (spent := store.spent()) or not store.ready():
            raise RuntimeError(f"{spent} released tasks have spent an attempt, and {store.ready()} are ready")
        if worker.wait(PATIENCE_S):
            raise RuntimeError(f"the worker was asked to stop and ended with {worker.returncode}")
        return took_s


@contextmanager
def _staying(store: OurStore, folder: Path, marks: Marks) -> Iterator[int]:
    """The process of a task that stays for the length of the block."""
    leave = folder / "leave"
    store.stay(marks.path, leave)
    try:
        yield _next(marks)[0]
    finally:
        leave.touch()


def _again_after(marks: Marks, pid: int, killed_ns: int) -> float:
    again, at_ns = _next(marks)
    if again == pid:
        raise RuntimeError("the task reported twice from the process that was killed")
    return (at_ns - killed_ns) / 1e9


def _next(marks: Marks) -> tuple[int, int]:
    """Process and time of the next task that stays; other marks are passed over."""
    end_s = time.monotonic() + PATIENCE_S
    while (left_s := end_s - time.monotonic()) > 0:
        arrived = marks.read(left_s)
        if arrived is not None and arrived[0] > 0:
            return arrived
    raise Silence(f"no task reported within {PATIENCE_S:.0f} s")


def _until(reached: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not reached():
        if time.monotonic() > end_s:
            raise Silence(f"the store did not show {what} within {PATIENCE_S:.0f} s")
        time.sleep(0.002)
