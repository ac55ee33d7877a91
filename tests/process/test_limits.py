"""Two workers in processes of their own, and a queue that allows two tasks at a time."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from deferq import Deferq
from tests.cli.processes import PATIENCE_S, Running, environment

TASKS, MOST = 60, 2
APP = f"""
import os, time
from deferq import Queue, call, configure, defer_many

configure("sqlite:///jobs.db", queues={{"mail": Queue(max_concurrent={MOST})}})
LOG = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def work(number):
    whose = f"{{number}} {{os.getpid()}} {{os.getppid()}}"
    os.write(LOG, f"began {{whose}}\\n".encode())
    time.sleep(0.02)
    os.write(LOG, f"ended {{whose}}\\n".encode())

def defer_all():
    for number in range({TASKS}):
        call(work, number).defer(queue="mail")
"""


class Line(NamedTuple):
    """What a task wrote when it began, or ended."""

    what: str
    number: int
    #: Of the process that ran it, and of its parent.
    pids: tuple[int, int]


def log(folder: Path) -> list[Line]:
    path = folder / "log"
    words = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [Line(what, int(number), (int(pid), int(parent))) for what, number, pid, parent in words]


def wait_until_ended(folder: Path, number: int) -> list[Line]:
    gives_up = time.monotonic() + 2 * PATIENCE_S
    while sum(line.what == "ended" for line in log(folder)) < number:
        assert time.monotonic() < gives_up, f"fewer than {number} tasks ended: {log(folder)}"
        time.sleep(0.01)
    return log(folder)


def most_at_a_time(lines: list[Line]) -> int:
    running: set[int] = set()
    most = 0
    for line in lines:
        (running.add if line.what == "began" else running.discard)(line.number)
        most = max(most, len(running))
    return most


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the application is, and its store."""
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


def test_two_workers_together_never_run_more_than_the_queue_allows(folder: Path) -> None:
    """Each could run four at a time. The busier one is stopped on the way, and the other goes on with its places."""
    words = ("worker", "shop", "--threads", "4")
    with Running(folder, *words) as first, Running(folder, *words) as second:
        for worker in (first, second):
            worker.wait_for("threads")
        subprocess.run(
            [sys.executable, "-c", "import shop; shop.defer_all()"],
            cwd=folder,
            env=environment(),
            check=True,
            timeout=60,
        )
        seen = wait_until_ended(folder, 10)
        busy, other = sorted((first, second), key=lambda worker: -sum(worker.process.pid in line.pids for line in seen))
        busy.send(signal.SIGTERM)
        assert busy.exit_code() == 0
        seen = wait_until_ended(folder, TASKS)
        other.send(signal.SIGTERM)
        assert other.exit_code() == 0
    assert sorted(line.number for line in seen if line.what == "began") == list(range(TASKS))
    assert most_at_a_time(seen) == MOST
    with Deferq(f"sqlite:///{folder}/jobs.db") as deferq:
        assert deferq.engine.counts().succeeded == TASKS


def wait_for_limit(folder: Path, most: int) -> None:
    """Wait until the store knows that so many tasks of the queue may run at a time."""
    gives_up = time.monotonic() + PATIENCE_S
    with Deferq(f"sqlite:///{folder}/jobs.db") as deferq:
        while [queue.limits.max_concurrent for queue in deferq.engine.queues()] != [most]:
            assert time.monotonic() < gives_up, f"the store never learned of {most}: {deferq.engine.queues()}"
            time.sleep(0.02)


def test_a_parent_that_does_not_import_the_application_brings_its_limits_to_the_store(folder: Path) -> None:
    with Running(folder, "worker", "shop") as worker:
        worker.wait_for("threads")
        wait_for_limit(folder, MOST)


def test_limits_that_are_edited_hold_after_the_reload(folder: Path) -> None:
    with Running(folder, "dev", "shop.py") as dev:
        dev.wait_for("threads")
        wait_for_limit(folder, MOST)
        (folder / "shop.py").write_text(APP.replace(f"max_concurrent={MOST}", f"max_concurrent={MOST + 1}"))
        wait_for_limit(folder, MOST + 1)
