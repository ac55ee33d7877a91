"""A child that is killed in the middle of what it reads harms nobody else: children share no lock and no pipe.

Elsewhere a whole pool stood still when a child was killed that held the lock of their pipe: celery/billiard#457.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from deferq import Deferq, State
from tests.storm.ledger import FILE, executions, read
from tests.storm.processes import Worker, strike
from tests.support import sized, tried

import storm_tasks as tasks  # isort: skip

PATIENCE_S = 60.0
#: More than a socket holds, so that the parent waits in the middle of a task until the child reads on.
LARGE = b"x" * 1_500_000
#: So many tasks wait at a time that both children always have something to read.
WAITING = 12


@pytest.mark.programme
def test_children_that_are_killed_while_they_read_hold_up_nobody(tmp_path: Path) -> None:
    most, seconds = sized((5, 8.0), (1_000, 20.0), (10_000, 7_200.0))
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    url = f"sqlite:///{tmp_path}/jobs.db"
    with Deferq(url) as deferq, Worker(tmp_path, url, children=2, lease_s=None) as worker:
        handles = []
        kills = 0
        ends = time.monotonic() + seconds
        while kills < most and time.monotonic() < ends:
            while sum(not handle.state.finished for handle in handles[-3 * WAITING :]) < WAITING:
                token = f"r{len(handles)}"
                handles.append(deferq.call(tasks.large, token, LARGE).defer(retry=tasks.PATIENT, tags=(token,)))
            kills += kill_in_the_middle(worker, chance)
        for handle in handles:
            handle.wait(PATIENCE_S)
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 0, worker.output
        worker.wait_for_silence()
        assert {handle.state for handle in handles} == {State.SUCCEEDED}
        attempts = sum(handle.refresh().attempts for handle in handles)
    started = executions(read(tmp_path / FILE))
    assert {one.task for one in started} == {handle.id for handle in handles}
    assert set(Counter((one.task, one.attempt) for one in started).values()) == {1}
    # What it was reading had not started, and has spent no attempt. Some are struck between their start and their call.
    assert kills < 30 or attempts - len(started) < kills / 3
    assert kills > 0
    tried("children killed while they read", kills)


def kill_in_the_middle(worker: Worker, chance: random.Random) -> bool:
    """A child that is stopped reads on no more; soon its parent waits in the middle of a task. Then it is killed."""
    ready = worker.ready()
    if not ready:
        time.sleep(0.005)
        return False
    child = chance.choice(ready)
    time.sleep(chance.uniform(0, 0.02))
    if strike(child, signal.SIGSTOP, worker.pid) is None:
        return False
    time.sleep(chance.uniform(0.01, 0.04))
    worker.forget(child)
    return strike(child, signal.SIGKILL, worker.pid) is not None
