"""SIGTERM at any moment loses no task, and cuts none off that may still finish: each runs exactly once.

Elsewhere an exception that was raised in a signal handler, between the popping of a task and its return, lost one in a
million: celery/celery#7339. Here a handler only sets a flag.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from deferq import Deferq, State
from deferq.engines.base import Filter
from tests.cli.processes import Running
from tests.storm.ledger import FILE, executions, read
from tests.storm.processes import APP, HERE
from tests.support import sized, tried

import storm_tasks as tasks  # isort: skip

PATIENCE_S = 60.0
#: Tasks that are there at a time; there are always some to lease.
BACKLOG = 300


class Shop:
    """A store, and who has put how much into it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/jobs.db"
        self.deferq = Deferq(self.url)
        self.chance = random.Random(seed)
        self.deferred: set[int] = set()
        print(f"seed {seed}")

    def put(self, number: int) -> None:
        calls = [
            self.deferq.call(tasks.sleep, f"t{len(self.deferred) + one}", self.chance.choice([0, 0, 0.001, 0.005]))
            for one in range(number)
        ]
        self.deferred |= {handle.id for handle in self.deferq.defer_many(calls)}

    def pending(self) -> int:
        return len(self.deferq.engine.find(Filter(state=State.PENDING), limit=BACKLOG).tasks)

    def wait_until_done(self) -> None:
        ends = time.monotonic() + PATIENCE_S
        while any(
            self.deferq.engine.find(Filter(state=state), limit=1).tasks for state in (State.PENDING, State.LEASED)
        ):
            assert time.monotonic() < ends, "there is still something to do"
            time.sleep(0.02)

    def each_ran_exactly_once(self) -> None:
        started = executions(read(self.folder / FILE))
        assert Counter(one.task for one in started) == Counter(self.deferred)
        assert {one.how for one in started} == {"end"}
        for task_id in self.deferred:
            task = self.deferq.task(task_id).refresh()
            assert (task.state, task.attempts) == (State.SUCCEEDED, 1)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path, random.SystemRandom().randrange(10**6))


@pytest.mark.programme
def test_sigterms_at_random_moments_lose_no_task(shop: Shop) -> None:
    most, seconds = sized((200, 2.0), (100_000, 20.0), (100_000, 3_600.0))
    shop.put(BACKLOG)
    sent = 0
    with Running(shop.folder, shop.url, command=(str(HERE / "often_stopped.py"),)) as worker:
        worker.wait_for("ready")
        ends = time.monotonic() + seconds
        while sent < most and time.monotonic() < ends:
            for _ in range(50):
                time.sleep(shop.chance.uniform(0, 0.005))
                worker.send(signal.SIGTERM)
            sent += 50
            if shop.pending() < BACKLOG // 2:
                shop.put(BACKLOG)
        shop.wait_until_done()
        (shop.folder / "enough").touch()
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 0, worker.output
    heard = int((shop.folder / "heard").read_text())
    tried("SIGTERMs at random moments, to a worker that begins again", heard)
    tried("tasks run exactly once under SIGTERMs", len(shop.deferred))
    assert heard > sent / 10
    shop.each_ran_exactly_once()


@pytest.mark.slow
@pytest.mark.programme
def test_a_sigterm_at_any_moment_of_its_life_ends_a_worker_in_order(shop: Shop) -> None:
    """From its first breath on: before it works the signal ends it as any other program."""
    most, seconds = sized((3, 5.0), (60, 20.0), (2_000, 1_800.0))
    ends = time.monotonic() + seconds
    times = 0
    while times < most and time.monotonic() < ends:
        shop.put(20)
        times += 1
        with Running(shop.folder, "worker", str(APP), "--url", shop.url) as worker:
            time.sleep(shop.chance.uniform(0, 0.8))
            works = "worker started" in worker.output
            worker.send(signal.SIGTERM)
            assert worker.exit_code() in ({0} if works else {0, -signal.SIGTERM}), worker.output
            worker.wait_for_silence()
    with Running(shop.folder, "worker", str(APP), "--url", shop.url, "--once") as last:
        assert last.exit_code() == 0
    tried("SIGTERMs at a random moment of a worker's life", times)
    shop.each_ran_exactly_once()
