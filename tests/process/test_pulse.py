"""Whole workers are killed, or frozen, while another one lives on the machine. A lease lasts two minutes."""

from __future__ import annotations

import fcntl
import importlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from deferq import Deferq, RetryPolicy, TaskHandle
from deferq.model.task import State
from tests.cli.processes import Running

#: Much less than the rest of a lease, and much more than it takes.
SOON_S = 60.0
THREADS = 4
PATIENT = RetryPolicy(max_attempts=25, min_backoff_s=0.01)

#: Beside it stand the ledger, with a line for each start, and the file "go", which some tasks wait for.
TASKS = """
import time
from pathlib import Path

folder = Path(__file__).parent

def work(number):
    with open(folder / "ledger", "a") as ledger:
        ledger.write(f"{number}\\n")
    time.sleep(0.002)

def hold(number):
    work(number)
    while not (folder / "go").exists():
        time.sleep(0.01)
"""
EMBEDDED = """
import sys, time
from deferq import Deferq
Deferq(sys.argv[1], app="pulse_tasks").worker(threads=int(sys.argv[2])).start()
print("threads", flush=True)
time.sleep(600)
"""


class Place:
    """A folder with a store, some tasks and their ledger."""

    def __init__(self, folder: Path, deferq: Deferq, tasks: ModuleType) -> None:
        self.folder = folder
        self.deferq = deferq
        self._tasks = tasks

    def start(self, name: str, numbers: range, **options: float) -> list[TaskHandle]:
        function = getattr(self._tasks, name)
        calls = [self.deferq.call(function, number).with_options(retry=PATIENT, **options) for number in numbers]
        return self.deferq.defer_many(calls)

    def let_go(self) -> None:
        (self.folder / "go").touch()

    def starts(self) -> Counter[int]:
        ledger = self.folder / "ledger"
        return Counter(int(line) for line in ledger.read_text().split()) if ledger.exists() else Counter()

    def wait_for_starts(self, number: int) -> None:
        eventually(lambda: self.starts().total() >= number)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    (tmp_path / "pulse_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    tasks = importlib.import_module("pulse_tasks")
    with Deferq(f"sqlite:///{tmp_path}/jobs.db") as deferq:
        yield Place(tmp_path, deferq, tasks)
    del sys.modules["pulse_tasks"]


@pytest.fixture(params=["a worker", "an embedded worker"])
def worker(request: pytest.FixtureRequest, place: Place) -> Callable[..., Running]:
    """Makes a process with a worker of this kind."""

    def make(*options: str) -> Running:
        url, threads = str(place.deferq.engine.url), str(THREADS)
        if request.param == "an embedded worker":
            running = Running(place.folder, url, threads, command=("-c", EMBEDDED))
        else:
            running = Running(place.folder, "worker", "pulse_tasks", "--url", url, "--threads", threads, *options)
        running.wait_for("threads")
        return running

    return make


def eventually(reached: Callable[[], bool]) -> None:
    ends = time.monotonic() + SOON_S
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.01)


def all_succeeded(handles: list[TaskHandle]) -> bool:
    return all(handle.refresh().state is State.SUCCEEDED for handle in handles)


def kill(running: Running) -> None:
    """All of it: the whole tree."""
    running.send_to_all(signal.SIGKILL)
    running.process.wait()


def freeze(running: Running, place: Place) -> None:
    """Stop all of it, but not in the middle of a commit, where it would keep everybody out of the store."""
    with open(f"{place.folder}/jobs.db-gate", "rb") as gate:
        while True:
            running.send_to_all(signal.SIGSTOP)
            os.waitid(os.P_PID, running.process.pid, os.WSTOPPED)
            try:
                fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                running.send_to_all(signal.SIGCONT)


def test_what_a_killed_worker_ran_runs_again_on_another_that_was_idle(
    place: Place, worker: Callable[..., Running]
) -> None:
    with worker() as one:
        handles = place.start("hold", range(THREADS))
        place.wait_for_starts(THREADS)
        with worker():
            kill(one)
            place.wait_for_starts(2 * THREADS)
            place.let_go()
            eventually(lambda: all_succeeded(handles))
    assert place.starts() == Counter(dict.fromkeys(range(THREADS), 2))
    for handle in handles:
        (failure,) = place.deferq.engine.details(handle.id).failures
        assert (failure.kind, failure.message) == (
            "worker lost",
            "The process of its worker ended before the task did.",
        )


def test_a_worker_killed_in_the_middle_of_many_tasks_leaves_none_behind(
    place: Place, worker: Callable[..., Running]
) -> None:
    with worker() as one, worker():
        handles = place.start("work", range(2_000))
        place.wait_for_starts(200)
        kill(one)
        eventually(lambda: all_succeeded(handles))
    assert set(place.starts()) == set(range(2_000))


@pytest.mark.slow
def test_the_tasks_of_a_worker_that_is_frozen_are_not_taken(place: Place, worker: Callable[..., Running]) -> None:
    with worker() as one:
        handles = place.start("hold", range(THREADS))
        place.wait_for_starts(THREADS)
        freeze(one, place)
        with worker():
            (later,) = place.start("work", range(100, 101), countdown=3)
            eventually(lambda: all_succeeded([later]))  # meanwhile the other one has looked around more than once
            assert {handle.refresh().state for handle in handles} == {State.LEASED}
            one.send_to_all(signal.SIGCONT)
            place.let_go()
            eventually(lambda: all_succeeded(handles))
    assert place.starts() == Counter([*range(THREADS), 100])


def test_a_worker_that_starts_takes_over_what_its_killed_predecessor_ran(
    place: Place, worker: Callable[..., Running]
) -> None:
    with worker() as one:
        handles = place.start("hold", range(THREADS))
        place.wait_for_starts(THREADS)
        kill(one)
        place.let_go()
    with worker():
        eventually(lambda: all_succeeded(handles))
    assert place.starts() == Counter(dict.fromkeys(range(THREADS), 2))


@pytest.mark.slow
@pytest.mark.parametrize("worker", ["a worker"], indirect=True)
def test_what_a_stopped_worker_could_not_end_in_time_runs_again_soon(
    place: Place, worker: Callable[..., Running]
) -> None:
    with worker("--drain-s", "0") as one:
        handles = place.start("hold", range(THREADS))
        place.wait_for_starts(THREADS)
        with worker():
            one.send(signal.SIGTERM)
            place.wait_for_starts(2 * THREADS)
            place.let_go()
            eventually(lambda: all_succeeded(handles))
