"""What a worker costs that has nothing to do: CPU time and memory of its whole process tree."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from bench.compare import Bench, Case, Figure, Row, Values
from bench.machine import cpu_s, pss_mib
from bench.marks import Marks
from bench.ours import Ours
from bench.peers.redis_server import RedisServer
from bench.system import Candidate, Sink, System, idle_worker, opened
from bench.systems import peers

MEMORY = Figure(title="memory of an idle worker (PSS of the tree)", unit="MiB", more_is_better=False)
#: CPU time is given for so many seconds.
PER_S = 30
CPU = Figure(title=f"CPU of an idle worker in {PER_S} s", unit="ms", more_is_better=False)


def run(bench: Bench) -> list[Row]:
    """Memory of one system after the other, once, since it hardly varies; then CPU time of all at once."""
    systems = [Ours(), *peers(bench)]
    cases = [*(_memory(system) for system in systems), _server(bench)]
    return [*bench.side_by_side(cases, repeats=1), *_cpu_rows(bench, systems)]


def _memory(system: System) -> Case:
    def once(folder: Path) -> Values:
        with (
            opened(system, folder) as store,
            Marks(folder) as marks,
            idle_worker(store, folder, marks, rest_s=1.0) as worker,
        ):
            return {MEMORY: pss_mib(worker.pid)}

    return Case(candidate=system, figures=(MEMORY,), once=once, label=system.threads)


class _Server(Candidate):
    """redis-server itself, which the peers on Redis need beside their workers."""

    name = "redis-server"
    durability = ""

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    def missing(self) -> str:
        return self.server.missing()

    def open(self, folder: Path) -> Sink:
        raise TypeError("nobody defers into the server itself")


def _server(bench: Bench) -> Case:
    def once(folder: Path) -> Values:
        return {MEMORY: pss_mib(bench.server.pid)}

    return Case(candidate=_Server(bench.server), figures=(MEMORY,), once=once, note="comes on top of each peer on it")


def _cpu_rows(bench: Bench, systems: list[System]) -> list[Row]:
    duration_s = bench.seconds(20, 5)
    rows = [_row(system, duration_s) for system in systems]
    _idle_together(bench, systems, rows, duration_s)
    return rows


def _row(system: System, duration_s: float) -> Row:
    return Row(
        figure=CPU,
        system=f"{system.name}, {system.threads}",
        durability=system.durability,
        role=system.role,
        note=f"reckoned from {duration_s:.0f} s",
        missing=system.missing(),
    )


def _idle_together(bench: Bench, systems: list[System], rows: list[Row], duration_s: float) -> None:
    with bench.scratch() as folder, ExitStack() as stack:
        pids: list[tuple[Row, int]] = []
        for system, row in zip(systems, rows, strict=True):
            if row.missing:
                continue
            place = folder / system.name
            place.mkdir()
            try:
                store = stack.enter_context(opened(system, place))
                marks = stack.enter_context(Marks(place))
                pids.append((row, stack.enter_context(idle_worker(store, place, marks, rest_s=0.0)).pid))
            except Exception as error:
                bench.fail([row], error)
        time.sleep(3)
        used_s = [cpu_s(pid) for _, pid in pids]
        for repeat in range(bench.repeats):
            bench.say(f"{repeat + 1}/{bench.repeats} all workers idle for {duration_s:.0f} s")
            time.sleep(duration_s)
            before_s, used_s = used_s, [cpu_s(pid) for _, pid in pids]
            for (row, _), before, after in zip(pids, before_s, used_s, strict=True):
                row.values.append((after - before) / duration_s * PER_S * 1000)
