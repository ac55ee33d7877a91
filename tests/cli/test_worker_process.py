"""`deferq worker` in a process of its own: running tasks, and the ways to stop."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from deferq import Deferq, State
from deferq.engines.base import Want, new_lease_id
from tests.cli.conftest import Run
from tests.cli.processes import Running, wait_for_file

TASKS = """
import asyncio, time
from pathlib import Path

def say(word):
    print("said", word)

def hold():
    Path("begun").touch()
    while not Path("go").exists():
        time.sleep(0.005)
    print("held")

async def nap():
    await asyncio.sleep(0)
    print("napped")
"""


@pytest.fixture
def shop(folder: Path, deferq: Deferq) -> Path:
    """An application with a few tasks in its queue's reach."""
    (folder / "shop_tasks.py").write_text(TASKS)
    deferq.engine.counts()
    return folder


def put(run: Run, target: str, *words: str) -> int:
    said = run("defer", f"shop_tasks:{target}", *words)
    assert said.code == 0, said.err
    return int(said.out)


def test_what_a_task_prints_appears_at_once(shop: Path, url: str, run: Run) -> None:
    with Running(shop, "worker", "shop_tasks", "--url", url, "-v") as worker:
        worker.wait_for("threads")
        put(run, "say", '"moin"')
        worker.wait_for("said moin")
        worker.wait_for("shop_tasks:say succeeded")
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_task_finish(
    shop: Path, url: str, run: Run, deferq: Deferq, number: signal.Signals
) -> None:
    task_id = put(run, "hold")
    with Running(shop, "worker", "--url", url) as worker:
        wait_for_file(shop / "begun")
        worker.send(number)
        worker.wait_for("stopping")
        (shop / "go").touch()
        assert worker.exit_code() == 0
        worker.wait_for("held")
    assert deferq.task(task_id).state is State.SUCCEEDED


def test_what_has_not_started_is_given_back(shop: Path, url: str, run: Run, deferq: Deferq) -> None:
    put(run, "hold")
    with Running(shop, "worker", "--url", url, "--threads", "1") as worker:
        wait_for_file(shop / "begun")
        waiting = put(run, "say", '"later"')
        worker.send(signal.SIGTERM)
        worker.wait_for("stopping")
        (shop / "go").touch()
        assert worker.exit_code() == 0
    task = deferq.task(waiting).task
    assert (task.state, task.attempts) == (State.PENDING, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(
    shop: Path, url: str, run: Run, deferq: Deferq, number: signal.Signals
) -> None:
    task_id = put(run, "hold")
    with Running(shop, "worker", "--url", url) as worker:
        wait_for_file(shop / "begun")
        worker.send(number)
        worker.wait_for("stopping")
        worker.send(number)
        assert worker.exit_code() == 128 + number
    assert deferq.task(task_id).state is State.LEASED


def test_a_task_that_does_not_end_in_time_does_not_hold_the_worker_up(shop: Path, url: str, run: Run) -> None:
    put(run, "hold")
    with Running(shop, "worker", "--url", url, "--drain-s", "0") as worker:
        wait_for_file(shop / "begun")
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 0


def test_once_runs_what_is_due_and_leaves_the_rest(shop: Path, url: str, run: Run, deferq: Deferq) -> None:
    due = [put(run, "say", str(n)) for n in range(20)] + [put(run, "nap")]
    later = put(run, "say", "1", "--countdown", "3600")
    elsewhere = put(run, "say", "1", "--queue", "mail")

    with Running(shop, "worker", "--url", url, "--once", "--queue", "default") as worker:
        assert worker.exit_code() == 0
        worker.wait_for_silence()

    assert all(deferq.task(task_id).state is State.SUCCEEDED for task_id in due)
    assert [deferq.task(task_id).state for task_id in (later, elsewhere)] == [State.PENDING, State.PENDING]


def test_a_worker_shows_in_the_status_while_it_lives(shop: Path, url: str, run: Run) -> None:
    with Running(shop, "worker", "--url", url, "--queue", "mail") as worker:
        worker.wait_for("worker started")
        put(run, "hold", "--queue", "mail")
        wait_for_file(shop / "begun")
        (seen,) = json.loads(run("status", "--json").out)["workers"]
        assert (seen["alive"], seen["pid"], seen["queues"]) == (True, worker.process.pid, ["mail"])
        (shop / "go").touch()
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 0
    assert json.loads(run("status", "--json").out)["workers"] == []


def test_an_application_that_cannot_be_imported_is_exit_code_2(shop: Path, url: str) -> None:
    (shop / "broken.py").write_text("def f(:\n")
    with Running(shop, "worker", "broken.py", "--url", url) as worker:
        assert worker.exit_code() == 2
        worker.wait_for("SyntaxError")
        assert "looked for" not in worker.output
        assert "Traceback" not in worker.output


def test_a_store_that_cannot_be_used_is_exit_code_2(folder: Path) -> None:
    with Running(folder, "worker", "--url", f"sqlite:///{folder}/missing/jobs.db") as worker:
        assert worker.exit_code() == 2
        worker.wait_for("cannot be used")
        assert "Traceback" not in worker.output


def test_a_setting_that_makes_no_sense_is_exit_code_2(run: Run) -> None:
    said = run("worker", "--threads", "100000")

    assert said.code == 2
    assert "threads" in said.err


def test_once_finds_the_task_of_a_worker_that_died(shop: Path, url: str, run: Run, deferq: Deferq) -> None:
    task_id = put(run, "say", "1")
    deferq.engine.turn((), Want(free=1, ahead=0, lease_id=new_lease_id(7, 1), lease_us=0))

    with Running(shop, "worker", "--url", url, "--once") as worker:
        assert worker.exit_code() == 0

    assert deferq.task(task_id).task.attempts == 1
    assert [failure.error_type for failure in deferq.task(task_id).details().failures] == ["WorkerLost"]


def test_once_tidies_up(shop: Path, url: str, run: Run, deferq: Deferq) -> None:
    expired = put(run, "say", "1", "--countdown", "3600", "--expires", "0")

    with Running(shop, "worker", "--url", url, "--once") as worker:
        assert worker.exit_code() == 0

    assert deferq.task(expired).state is State.CANCELLED
