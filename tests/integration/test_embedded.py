"""The embedded worker, started and stopped by a program."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import deferq
from deferq import Deferq, State
from deferq.model.events import EventName
from tests.support import threads_named
from tests.support.sample_tasks import add, begun, gate, wait_for_gate

ROOT = Path(__file__).parents[2]
WAIT_S = 10

#: A child of multiprocessing starts a worker, has it begin a task, and comes to its end.
FORKED_BY_MULTIPROCESSING = """
import multiprocessing, sys, threading
from deferq import Deferq
from tests.support.sample_tasks import add, begun, gate, wait_for_gate

def serve(url):
    app = Deferq(url)
    app.start()
    app.defer(wait_for_gate)
    assert begun.wait(20)
    threading.Timer(0.1, gate.set).start()

if __name__ == "__main__":
    child = multiprocessing.get_context(sys.argv[2]).Process(target=serve, args=(sys.argv[1],))
    child.start()
    child.join()
    raise SystemExit(child.exitcode)
"""


def workers() -> list[threading.Thread]:
    return threads_named("deferq-worker")


def test_a_program_starts_its_worker_and_stops_it(app: Deferq) -> None:
    app.start()
    assert app.defer(add, 1, 2).wait(WAIT_S) == 3
    app.stop()
    assert workers() == []


def test_the_functions_of_the_package_are_those_of_the_default(default_app: Deferq) -> None:
    deferq.start()
    assert deferq.defer(add, 1, 2).wait(WAIT_S) == 3
    deferq.stop()
    assert workers() == []


def test_starting_it_again_changes_nothing_while_it_runs(app: Deferq) -> None:
    app.start()
    app.start()
    assert len(workers()) == 1


def test_threads_that_start_it_at_the_same_moment_start_one(app: Deferq) -> None:
    threads = [threading.Thread(target=app.start) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(workers()) == 1


def test_what_was_stopped_can_be_started_again(app: Deferq) -> None:
    app.start()
    app.stop()
    handle = app.defer(add, 1, 2)
    assert handle.state is State.PENDING
    app.start()
    assert handle.wait(WAIT_S) == 3


def test_a_start_while_it_comes_to_its_end_starts_another(app: Deferq) -> None:
    stopping = threading.Event()
    app.listeners.append(lambda event: stopping.set() if event.name is EventName.WORKER_STOPPING else None)
    app.start()
    held_up = app.defer(wait_for_gate)
    assert begun.wait(WAIT_S)
    stop = threading.Thread(target=app.stop, args=[WAIT_S])
    stop.start()
    assert stopping.wait(WAIT_S)
    app.start()
    gate.set()
    stop.join()
    assert held_up.wait(0) == "through"
    assert app.defer(add, 1, 2).wait(WAIT_S) == 3


def test_stopping_what_never_ran_does_nothing(app: Deferq, database: Path) -> None:
    app.stop()
    assert not database.exists()


def test_a_stop_waits_for_the_running_task(app: Deferq) -> None:
    app.start()
    handle = app.defer(wait_for_gate)
    assert begun.wait(WAIT_S)
    threading.Timer(0.05, gate.set).start()
    app.stop(WAIT_S)
    assert handle.wait(0) == "through"


def test_a_stop_gives_up_when_its_time_is_over(app: Deferq) -> None:
    app.start()
    handle = app.defer(wait_for_gate)
    assert begun.wait(WAIT_S)
    app.stop(0)
    assert workers() == []
    assert handle.state is State.LEASED


def test_with_an_external_worker_it_starts_none(
    make_app: Callable[..., Deferq], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFERQ_WORKER", "external")
    app = make_app()
    app.start()
    assert workers() == []
    app.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_of_multiprocessing_stops_its_worker_in_order(tmp_path: Path, app: Deferq, method: str) -> None:
    """A child that it has forked ends without the interpreter's exit handlers, at least before Python 3.13."""
    script = tmp_path / "serving.py"
    script.write_text(FORKED_BY_MULTIPROCESSING)
    ran = subprocess.run(
        [sys.executable, str(script), f"sqlite:///{tmp_path}/jobs.db", method],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    counts = app.engine.counts()
    assert counts.succeeded == 1
    assert app.engine.records("worker", limit=10) == []
