"""Real processes on one file: they defer, drain and are killed, and nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deferq.engines.base import Filter
from deferq.engines.sqlite import SqliteEngine
from deferq.model.state import State

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024

#: Puts one task at a time until its standard input is closed, then says how many, and how long the slowest took.
DEFER = """
import json, select, sys, time
from deferq.engines.sqlite import SqliteEngine
from deferq.ids import IdSource
from tests.support import TaskMaker
engine = SqliteEngine(sys.argv[1])
new, ids = TaskMaker(engine.now), IdSource(engine.now)
engine.open()
print("ready", flush=True)
sys.stdin.readline()
stored, slowest = [], 0.0
while not select.select([sys.stdin], [], [], 0)[0]:
    task = new(task_id=ids.next())
    began = time.perf_counter()
    (answer,) = engine.put([task])
    slowest = max(slowest, time.perf_counter() - began)
    stored.append(answer.id)
engine.close()
print(json.dumps({"ids": stored, "slowest_s": slowest}))
"""
#: Leases and settles whatever is due until its standard input is closed and nothing is left, then says what it leased.
DRAIN = """
import json, os, select, sys
from deferq.engines.base import new_lease_id
from deferq.engines.sqlite import SqliteEngine
from deferq.model.outcome import SUCCEEDED
from tests.support import settlement, want
engine = SqliteEngine(sys.argv[1])
bell = engine.bell(1)
print("ready", flush=True)
sys.stdin.readline()
leased, lost, done, serial, wal = [], 0, [], 0, 0
while True:
    serial += 1
    wanted = want(50)._replace(lease_id=new_lease_id(os.getpid(), serial), ahead=150)
    turn = engine.turn(done, wanted)
    lost += len(turn.lost)
    leased += [task.id for task in turn.leased]
    done = [settlement(engine, task, SUCCEEDED) for task in turn.leased]
    wal = max(wal, engine.info()["wal_bytes"]) if serial % 100 == 0 else wal
    if not done:
        if select.select([sys.stdin], [], [], 0)[0]:
            break
        bell.wait(0.05)
bell.close()
engine.close()
print(json.dumps({"ids": leased, "lost": lost, "wal_bytes": wal}))
"""
#: Puts tasks by one and by ten, and says each time what was acknowledged. It runs until it is killed.
DEFER_ALOUD = """
import sys
from deferq.engines.sqlite import SqliteEngine
from deferq.ids import IdSource
from tests.support import TaskMaker
engine = SqliteEngine(sys.argv[1])
new, ids = TaskMaker(engine.now), IdSource(engine.now)
while True:
    for number in (1, 10):
        answers = engine.put([new(task_id=ids.next(), payload=b"x" * 300) for _ in range(number)])
        print(*(answer.id for answer in answers), flush=True)
"""


@dataclass
class Program:
    """A process that begins when it is told to, and reports when it is told to stop."""

    process: subprocess.Popen[str]

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def report(self, timeout_s: float) -> dict[str, list[int] | float]:
        out, err = self.process.communicate(timeout=timeout_s)
        assert (self.process.returncode, err) == (0, "")
        report: dict[str, list[int] | float] = json.loads(out)
        return report


@contextmanager
def program(script: str, path: Path) -> Iterator[Program]:
    command = [sys.executable, "-c", script, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield Program(process)
        finally:
            process.kill()


@dataclass
class Outcome:
    deferring: list[dict[str, list[int] | float]]
    draining: list[dict[str, list[int] | float]]

    @property
    def stored(self) -> list[int]:
        return [task_id for each in self.deferring for task_id in each["ids"]]  # type: ignore[union-attr]

    @property
    def leased(self) -> list[int]:
        return [task_id for each in self.draining for task_id in each["ids"]]  # type: ignore[union-attr]


def defer_and_drain(path: Path, *, deferring: int, draining: int, for_s: float) -> Outcome:
    with closing(SqliteEngine(path)) as engine:
        engine.open()
    with ExitStack() as stack:
        defers = [stack.enter_context(program(DEFER, path)) for _ in range(deferring)]
        drains = [stack.enter_context(program(DRAIN, path)) for _ in range(draining)]
        for each in (*defers, *drains):
            assert each.process.stdout is not None
            assert each.process.stdout.readline() == "ready\n"
        for each in (*drains, *defers):
            each.begin()
        time.sleep(for_s)  # what is measured is how much they do in this time
        return Outcome([each.report(30) for each in defers], [each.report(60) for each in drains])


def test_four_processes_defer_and_two_drain_and_every_task_runs_once(tmp_path: Path) -> None:
    path = tmp_path / "deferq.db"
    outcome = defer_and_drain(path, deferring=4, draining=2, for_s=2)
    assert min(len(each["ids"]) for each in outcome.deferring) > 0  # type: ignore[arg-type]
    assert Counter(outcome.leased) == Counter(outcome.stored)
    assert [each["lost"] for each in outcome.draining] == [0, 0]
    with closing(SqliteEngine(path)) as engine:
        counts = engine.counts(cap=10**9)
        assert counts.succeeded == len(outcome.stored)
        assert (counts.queues[0].ready, counts.queues[0].leased, counts.dead) == (0, 0, 0)
        assert engine.check(full=True) == []


@pytest.mark.slow
def test_of_sixteen_processes_that_defer_beside_one_that_drains_none_is_starved(tmp_path: Path) -> None:
    path = tmp_path / "deferq.db"
    outcome = defer_and_drain(path, deferring=16, draining=1, for_s=10)
    each_stored = [len(each["ids"]) for each in outcome.deferring]  # type: ignore[arg-type]
    slowest_s = max(each["slowest_s"] for each in outcome.deferring)  # type: ignore[type-var]
    print(f"stored by each: {sorted(each_stored)}, worst single defer: {slowest_s:.3f} s")
    assert min(each_stored) >= sum(each_stored) / len(each_stored) / 2
    assert float(slowest_s) < 5  # type: ignore[arg-type]
    assert Counter(outcome.leased) == Counter(outcome.stored)
    assert float(outcome.draining[0]["wal_bytes"]) < 100 * MIB  # type: ignore[arg-type]
    with closing(SqliteEngine(path)) as engine:
        assert engine.check(full=True) == []


def acknowledged_before_it_was_killed(path: Path, lines: int, moment: float) -> list[int]:
    """Ids that a process printed before it was killed somewhere within a put."""
    with program(DEFER_ALOUD, path) as killed:
        process = killed.process
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
        assert process.wait(10) == -signal.SIGKILL
    return [int(task_id) for line in said if line.endswith("\n") for task_id in line.split()]


def killed_in_the_middle_of_a_put(path: Path, times: int) -> None:
    chance = random.Random(1)
    acknowledged: list[int] = []
    for number in range(times):
        acknowledged += acknowledged_before_it_was_killed(path, number % 5 + 1, chance.uniform(0, 0.002))
        with closing(SqliteEngine(path)) as engine:
            assert len(engine.get(acknowledged)) == len(acknowledged)
    with closing(SqliteEngine(path)) as engine:
        assert engine.check(full=True) == []
        assert all(task.state is State.PENDING for task in engine.find(Filter(), limit=100_000).tasks)
        stored = engine.counts(cap=10**9).queues[0].ready
        assert len(acknowledged) <= stored <= len(acknowledged) + times * 10


def test_what_was_acknowledged_by_a_process_that_is_killed_is_there(tmp_path: Path) -> None:
    killed_in_the_middle_of_a_put(tmp_path / "deferq.db", times=10)


@pytest.mark.slow
def test_what_was_acknowledged_by_many_killed_processes_is_there(tmp_path: Path) -> None:
    killed_in_the_middle_of_a_put(tmp_path / "deferq.db", times=60)


@pytest.mark.slow
def test_others_go_on_beside_processes_that_are_killed(tmp_path: Path) -> None:
    """The gate and the write lock of the dead are free at once: nobody waits for a timeout."""
    path = tmp_path / "deferq.db"
    with closing(SqliteEngine(path)) as engine, program(DEFER, path) as steady:
        assert steady.process.stdout is not None
        assert steady.process.stdout.readline() == "ready\n"
        steady.begin()
        acknowledged = [task_id for _ in range(8) for task_id in acknowledged_before_it_was_killed(path, 2, 0.001)]
        report = steady.report(20)
        assert float(report["slowest_s"]) < 2  # type: ignore[arg-type]
        stored = [*acknowledged, *report["ids"]]  # type: ignore[misc]
        assert len(engine.get(stored)) == len(stored)
