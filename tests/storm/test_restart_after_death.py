"""The whole tree of a worker is killed, and no other one is on the machine: how long until its task runs again?"""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import pytest

from deferq import Deferq
from tests.storm.ledger import FILE, executions, read
from tests.storm.processes import Worker
from tests.support import tried

import storm_tasks as tasks  # isort: skip

#: The lease of `deferq worker`, and one look more.
LEASE_AND_POLL_S = 32.0
PATIENCE_S = 60.0


def starts(folder: Path) -> list[int]:
    """When it started, each time, in nanoseconds on the machine's monotonic clock."""
    return [one.start for one in executions(read(folder / FILE))]


def wait_for_start(folder: Path, times: int) -> None:
    ends = time.monotonic() + PATIENCE_S
    while len(starts(folder)) < times:
        assert time.monotonic() < ends, f"it has not started {times} times"
        time.sleep(0.01)


def restarted_after_s(folder: Path, *, without_bells: bool) -> float:
    """Seconds from the death of all processes of the worker to the second start of what it ran.

    Without the bells nobody can see who is dead: only the end of the lease helps.
    """
    url = f"sqlite:///{folder}/jobs.db"
    with Deferq(url) as deferq:
        deferq.call(tasks.sleep, "long", PATIENCE_S).defer(retry=tasks.PATIENT, tags=("long",))
        with Worker(folder, url, children=1, lease_s=None) as worker:
            wait_for_start(folder, 1)
            killed_at = time.monotonic_ns()
            worker.send_to_all(signal.SIGKILL)
            worker.process.wait()
            worker.wait_for_silence()
        if without_bells:
            shutil.rmtree(folder / "jobs.db-bells")
        with Worker(folder, url, children=1, lease_s=None):
            wait_for_start(folder, 2)
    return (starts(folder)[1] - killed_at) / 1e9


@pytest.mark.slow
@pytest.mark.programme
def test_a_new_worker_sees_the_death_of_the_one_before_it(tmp_path: Path) -> None:
    seconds = restarted_after_s(tmp_path, without_bells=False)
    print(f"restarted {seconds:.2f} s after the kill, by a worker that was started at once")
    tried("milliseconds from the death of a worker to the restart of its task, by the pulse", round(seconds * 1e3))
    assert seconds < LEASE_AND_POLL_S / 2  # long before the lease is over


@pytest.mark.slow
@pytest.mark.programme
def test_where_the_pulse_cannot_tell_the_task_runs_again_after_the_lease_and_one_look(tmp_path: Path) -> None:
    seconds = restarted_after_s(tmp_path, without_bells=True)
    print(f"restarted {seconds:.2f} s after the kill, once the lease was over")
    tried("milliseconds from the death of a worker to the restart of its task, by the lease", round(seconds * 1e3))
    assert seconds < LEASE_AND_POLL_S
