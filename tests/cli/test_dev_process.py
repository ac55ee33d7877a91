"""`deferq dev` in processes of its own: the first five minutes, and the edits after them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.processes import Running, environment, wait_for_file

HELLO = """
from deferq import defer

def hello(name: str) -> None:
    print("hello", name)

if __name__ == "__main__":
    defer(hello, "world")
"""


@pytest.fixture
def dev(folder: Path) -> Iterator[Running]:
    """`deferq dev hello.py`, ready."""
    (folder / "hello.py").write_text(HELLO)
    with Running(folder, "dev", "hello.py") as running:
        running.wait_for("threads")
        yield running


def run_hello(folder: Path) -> None:
    subprocess.run([sys.executable, "hello.py"], cwd=folder, env=environment(), check=True)


def test_hello_of_the_design(dev: Running, folder: Path) -> None:
    run_hello(folder)

    dev.wait_for("hello world")
    dev.wait_for("hello:hello succeeded")
    assert str(folder / ".deferq" / "deferq.db") in dev.output
    dev.send(signal.SIGINT)
    assert dev.exit_code() == 0
    dev.wait_for_silence()


def test_a_change_of_the_source_reloads(dev: Running, folder: Path) -> None:
    (folder / "hello.py").write_text(HELLO.replace('"hello"', '"good morning"'))
    dev.wait_for("reloaded")
    run_hello(folder)

    dev.wait_for("good morning world")


def test_a_change_is_seen_without_watchfiles_too(folder: Path) -> None:
    (folder / "hello.py").write_text(HELLO)
    (folder / "watchfiles.py").write_text("raise ImportError\n")
    with Running(folder, "dev", "hello.py") as dev:
        dev.wait_for("threads")
        (folder / "hello.py").write_text(HELLO.replace('"hello"', '"good morning"'))
        dev.wait_for("reloaded")
        run_hello(folder)
        dev.wait_for("good morning world")


def test_a_syntax_error_is_shown_and_mended(dev: Running, folder: Path) -> None:
    (folder / "hello.py").write_text(HELLO + "\ndef (:\n")
    dev.wait_for("SyntaxError")
    dev.wait_for("waiting for a change")

    (folder / "hello.py").write_text(HELLO.replace('"hello"', '"mended"'))
    dev.wait_for("reloaded")
    run_hello(folder)
    dev.wait_for("mended world")


LOADING = """
import time
from pathlib import Path
Path("loading").touch()
while not Path("on").exists():
    time.sleep(0.01)
"""


def test_a_change_while_the_application_is_loaded_for_the_first_time_is_not_missed(folder: Path) -> None:
    (folder / "hello.py").write_text(HELLO + LOADING)
    with Running(folder, "dev", "hello.py") as dev:
        wait_for_file(folder / "loading")
        (folder / "hello.py").write_text(HELLO.replace('"hello"', '"good morning"'))
        dev.wait_for("changed: reloading")
        (folder / "on").touch()
        dev.wait_for("reloaded")
        run_hello(folder)
        dev.wait_for("good morning world")


def test_a_task_that_kills_its_process_does_not_stop_the_work(dev: Running, folder: Path) -> None:
    (folder / "killing.py").write_text("import os\n\ndef kill():\n    os._exit(3)\n")
    dev.wait_for("reloaded")
    with Running(folder, "defer", "killing:kill") as command:
        assert command.exit_code() == 0
    dev.wait_for("a child process is lost")
    dev.wait_for("reloaded", times=2)
    run_hello(folder)
    dev.wait_for("hello world")
    assert "waiting for a change" not in dev.output


def test_a_failure_is_shown_with_its_traceback(dev: Running, folder: Path) -> None:
    (folder / "failing.py").write_text("def fail():\n    raise ValueError('not today')\n")
    dev.wait_for("reloaded")
    with Running(folder, "defer", "failing:fail") as command:
        assert command.exit_code() == 0

    dev.wait_for("failing:fail failed after")
    dev.wait_for("ValueError: not today")


HOLDING = """
import time
from pathlib import Path

def hold():
    Path("begun").touch()
    while not Path("go").exists():
        time.sleep(0.005)
    print("held")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_a_terminal_reaches_both_processes_and_still_lets_the_task_finish(
    folder: Path, number: signal.Signals
) -> None:
    (folder / "holding.py").write_text(HOLDING)
    with Running(folder, "defer", "holding:hold") as command:
        assert command.exit_code() == 0
    with Running(folder, "dev", "holding.py") as dev:
        wait_for_file(folder / "begun")
        dev.send_to_all(number)
        dev.wait_for("stopping")
        (folder / "go").touch()
        dev.wait_for("held")
        assert dev.exit_code() == 0


def test_a_second_ctrl_c_ends_both_at_once(folder: Path) -> None:
    (folder / "holding.py").write_text(HOLDING)
    with Running(folder, "defer", "holding:hold") as command:
        assert command.exit_code() == 0
    with Running(folder, "dev", "holding.py") as dev:
        wait_for_file(folder / "begun")
        dev.send_to_all(signal.SIGINT)
        dev.wait_for("stopping")
        dev.send_to_all(signal.SIGINT)
        assert dev.exit_code() == 130
        dev.wait_for_silence()


def test_sigterm_stops_both_processes(dev: Running) -> None:
    dev.send(signal.SIGTERM)

    assert dev.exit_code() == 0
    dev.wait_for_silence()


def test_no_child_outlives_its_parent(dev: Running) -> None:
    dev.send(signal.SIGKILL)

    dev.wait_for_silence()


def test_without_reload_it_is_one_process(folder: Path) -> None:
    (folder / "hello.py").write_text(HELLO)
    with Running(folder, "dev", "hello.py", "--no-reload") as dev:
        dev.wait_for(f"pid {dev.process.pid}")
        run_hello(folder)
        dev.wait_for("hello world")
        dev.send(signal.SIGTERM)
        assert dev.exit_code() == 0
