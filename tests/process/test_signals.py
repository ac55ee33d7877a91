"""Signals, sent to the process that somebody started: what they do to tasks, and how the process ends.

Only that process is signalled, and only what is stored, printed or exited with is looked at, so it does not matter how
many processes the worker consists of.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deferq import Deferq, State, TaskHandle
from tests.cli.processes import PATIENCE_S, Running, wait_for_file
from tests.cli.terminals import CTRL_C, Terminal

SHOP = """
import re
import time
from pathlib import Path

def hold():
    Path("begun").touch()
    while not Path("go").exists():
        time.sleep(0.005)

def touch(name):
    Path(name).touch()

def grind():
    Path("begun").touch()
    re.match("(a+)+$", "a" * 100 + "b")  # for ages, and without letting the interpreter go
"""
#: How each command is started, so that both run tasks of the folder.
COMMANDS = {
    "worker": ("worker", "shop_jobs"),
    "dev": ("dev", "shop_jobs"),
    "dev without reload": ("dev", "shop_jobs", "--no-reload"),
}
STOPPING = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
every_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a few tasks, which is the current one."""
    for name in [name for name in os.environ if name.startswith("DEFERQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "shop_jobs.py").write_text(SHOP)
    return tmp_path


@pytest.fixture
def deferq(shop: Path) -> Iterator[Deferq]:
    with Deferq() as instance:
        yield instance


def put(deferq: Deferq, target: str, *args: object) -> TaskHandle:
    sys.modules.pop("shop_jobs", None)  # that of another test's folder
    return deferq.defer(getattr(importlib.import_module("shop_jobs"), target), *args)


@every_command
@pytest.mark.parametrize("number", STOPPING)
def test_a_stop_lets_the_running_task_finish(
    shop: Path, deferq: Deferq, command: tuple[str, ...], number: signal.Signals
) -> None:
    task = put(deferq, "hold")
    with Running(shop, *command) as running:
        wait_for_file(shop / "begun")
        running.send(number)
        running.wait_for("stopping")
        (shop / "go").touch()
        assert running.exit_code() == 0
        running.wait_for_silence()
    assert task.refresh().state is State.SUCCEEDED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_worker_at_once(shop: Path, deferq: Deferq, number: signal.Signals) -> None:
    task = put(deferq, "hold")
    with Running(shop, "worker", "shop_jobs") as worker:
        wait_for_file(shop / "begun")
        worker.send(signal.SIGHUP)  # is no first one
        worker.wait_for("stopping")
        ends = time.monotonic() + PATIENCE_S
        while worker.process.poll() is None and time.monotonic() < ends:
            worker.send(number)  # two that come at once count as one
            time.sleep(0.05)
        assert worker.exit_code() == 128 + number
        (shop / "go").touch()
    assert task.refresh().state is not State.SUCCEEDED


@every_command
def test_a_hangup_that_comes_twice_still_lets_the_running_task_finish(
    shop: Path, deferq: Deferq, command: tuple[str, ...]
) -> None:
    task = put(deferq, "hold")
    with Running(shop, *command) as running:
        wait_for_file(shop / "begun")
        running.send(signal.SIGHUP)
        running.wait_for("stopping")
        running.send(signal.SIGHUP)
        (shop / "go").touch()
        assert running.exit_code() == 0
    assert task.refresh().state is State.SUCCEEDED


@every_command
def test_a_terminal_that_closes_lets_the_running_task_finish(
    shop: Path, deferq: Deferq, command: tuple[str, ...]
) -> None:
    task = put(deferq, "hold")
    with Terminal(shop, *command) as terminal:
        wait_for_file(shop / "begun")
        terminal.hang_up()
        (shop / "go").touch()
        assert terminal.exit_code() == 0
    assert task.refresh().state is State.SUCCEEDED


@every_command
def test_ctrl_c_in_a_terminal_lets_the_running_task_finish(
    shop: Path, deferq: Deferq, command: tuple[str, ...]
) -> None:
    task = put(deferq, "hold")
    with Terminal(shop, *command) as terminal:
        wait_for_file(shop / "begun")
        terminal.type(CTRL_C)
        terminal.wait_for("stopping")
        (shop / "go").touch()
        assert terminal.exit_code() == 0
    assert task.refresh().state is State.SUCCEEDED


def test_under_nohup_a_hangup_changes_nothing(shop: Path, deferq: Deferq) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does; whom we start inherits it
    try:
        worker = Running(shop, "worker", "shop_jobs")
    finally:
        signal.signal(signal.SIGHUP, before)
    with worker:
        worker.wait_for("worker started")
        worker.send(signal.SIGHUP)
        put(deferq, "touch", "afterwards").wait(timeout=PATIENCE_S)
        assert "stopping" not in worker.output


@every_command
def test_sigusr1_shows_what_each_thread_is_doing_and_changes_nothing(
    shop: Path, deferq: Deferq, command: tuple[str, ...]
) -> None:
    task = put(deferq, "hold")
    with Running(shop, *command) as running:
        wait_for_file(shop / "begun")
        running.send(signal.SIGUSR1)
        running.wait_for("most recent call first")
        (shop / "go").touch()
        task.wait(timeout=PATIENCE_S)
        put(deferq, "touch", "afterwards").wait(timeout=PATIENCE_S)


def test_sigusr1_shows_the_line_at_which_a_task_stands(shop: Path, deferq: Deferq) -> None:
    put(deferq, "hold")
    with Running(shop, "dev", "shop_jobs") as running:
        wait_for_file(shop / "begun")
        running.send(signal.SIGUSR1)
        running.wait_for(" in hold")


@pytest.mark.parametrize("verb", ["worker", "dev"])
def test_sigusr1_shows_the_parent_and_its_child(shop: Path, deferq: Deferq, verb: str) -> None:
    put(deferq, "hold")
    with Running(shop, verb, "shop_jobs") as running:
        wait_for_file(shop / "begun")
        running.send(signal.SIGUSR1)
        running.wait_for("runtime/driver.py")
        running.wait_for("children/child.py")


def test_sigusr1_is_answered_while_a_task_holds_the_interpreter(shop: Path, deferq: Deferq) -> None:
    put(deferq, "grind")
    with Running(shop, "dev", "shop_jobs", "--no-reload") as running:
        wait_for_file(shop / "begun")
        running.send(signal.SIGUSR1)
        running.wait_for(" in grind")


def test_sigquit_shows_what_each_thread_is_doing_and_ends_a_worker(shop: Path, deferq: Deferq) -> None:
    task = put(deferq, "hold")
    with Running(shop, "worker", "shop_jobs") as worker:
        wait_for_file(shop / "begun")
        worker.send(signal.SIGQUIT)
        assert worker.exit_code() == -signal.SIGQUIT
        worker.wait_for("most recent call first")
    assert task.refresh().state is not State.SUCCEEDED


def test_a_worker_that_is_stopped_for_a_while_goes_on_where_it_was(shop: Path, deferq: Deferq) -> None:
    with Running(shop, "worker", "shop_jobs") as worker:
        worker.wait_for("worker started")
        stop_between_writes(worker, shop / ".deferq" / "deferq.db-gate")
        task = put(deferq, "touch", "afterwards")
        assert task.refresh().state is State.PENDING
        worker.send(signal.SIGCONT)
        task.wait(timeout=PATIENCE_S)
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 0


def test_a_worker_that_is_killed_leaves_its_task_to_another(shop: Path, deferq: Deferq) -> None:
    task = put(deferq, "hold")
    with Running(shop, "worker", "shop_jobs") as worker:
        wait_for_file(shop / "begun")
        worker.send(signal.SIGKILL)
        assert worker.exit_code() == -signal.SIGKILL
    assert task.refresh().state in (State.LEASED, State.PENDING)


def stop_between_writes(worker: Running, gate: Path) -> None:
    """Stop it at a moment when it does not hold the gate: while it did, nobody else could write."""
    ends = time.monotonic() + PATIENCE_S
    with gate.open() as file:
        while True:
            worker.send(signal.SIGSTOP)
            wait_until_stopped(worker.process.pid)
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            assert time.monotonic() < ends
            worker.send(signal.SIGCONT)
            time.sleep(0.01)


def wait_until_stopped(pid: int) -> None:
    ends = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < ends
        time.sleep(0.005)


#: A module's objects go when the interpreter has taken its signal handlers down.
LATE = """
import os, signal
from deferq.cli.stopping import Stopping

class Worker:
    def request_stop(self):
        pass

class Late:
    def __del__(self, kill=os.kill, pid=os.getpid(), number={number}):
        kill(pid, number)

late = Late()
Stopping().watch_over(Worker())
"""


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_in_the_very_last_moment_does_not_make_an_orderly_end_look_like_a_death(
    number: signal.Signals,
) -> None:
    ended = subprocess.run([sys.executable, "-c", LATE.format(number=int(number))], check=False)
    assert ended.returncode == 0
