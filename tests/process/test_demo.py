"""The demo as its users run it: a process of its own."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

import deferq

RUN = "from deferq.demo import run_demo; raise SystemExit(run_demo())"
STAY = "from deferq.demo import run_demo; raise SystemExit(run_demo(stay=True))"
LAST_LINE = re.compile(r"demo: ok, (\d+) deferred, (\d+) accounted for, \d+\.\d s")
FOLDER = re.compile(r"(\S*deferq-demo-\S+)")

# What is planted before the demo runs; each makes one of its three books lie.
LOSE_A_LEDGER_LINE = """
from deferq.demo import ledger
honest, lost = ledger.note, []
def note(word):
    if word == "done" and not lost:
        lost.append(word)
    else:
        honest(word)
ledger.note = note
"""
NOTE_TWICE = """
from deferq.demo import ledger
honest, twice = ledger.note, []
def note(word):
    honest(word)
    if not twice:
        twice.append(word)
        honest(word)
ledger.note = note
"""
LEAVE_OUT_AN_ANSWER = """
import dataclasses
from deferq.demo import kinds, visitor
kind = kinds.KINDS["plain"]
def two(deferq, order):
    return [*kind.view(deferq, order), *kind.view(deferq, order)][:1]
kinds.KINDS["plain"] = dataclasses.replace(kind, view=two)
"""
DELETE_A_TASK = """
import dataclasses
from deferq.demo import kinds
from deferq.engines.base import Delete
kind = kinds.KINDS["cancelled"]
def deleted(deferq, order):
    handles = kind.view(deferq, order)
    deferq.engine.change([handles[0].id], Delete())
    return handles
kinds.KINDS["cancelled"] = dataclasses.replace(kind, view=deleted)
"""
FAIL_UNEXPECTEDLY = """
from deferq.demo import ledger
honest, failed = ledger.note, []
def note(word):
    if word == "done" and not failed:
        failed.append(word)
        raise OSError("nobody planned this")
    honest(word)
ledger.note = note
"""
RETURN_SOMETHING_ELSE = """
import deferq.demo.tasks
from deferq.demo import ledger
def send_receipt(order):
    ledger.note(ledger.DONE)
    return "another order's receipt"
send_receipt.__module__ = "deferq.demo.tasks"
deferq.demo.tasks.send_receipt = send_receipt
"""
NO_DELAY = """
import dataclasses
from deferq.demo import kinds, tasks
kind = kinds.KINDS["delayed"]
def at_once(deferq, order):
    return [deferq.defer(tasks.send_reminder, order)]
kinds.KINDS["delayed"] = dataclasses.replace(kind, view=at_once)
"""
NEVER_END = """
import deferq.demo
from deferq.demo import kinds
import dataclasses
deferq.demo.GUARD_S = 2.0
kind = kinds.KINDS["delayed"]
def far(deferq, order):
    from deferq.demo import tasks
    return [deferq.call(tasks.send_reminder, order).defer(countdown=600)]
kinds.KINDS["delayed"] = dataclasses.replace(kind, view=far)
"""


class Place:
    """Where a demo runs: an empty current folder and a folder for its temporary files."""

    def __init__(self, folder: Path) -> None:
        self.current, self.temporary = folder / "current", folder / "with % and space"
        self.current.mkdir()
        self.temporary.mkdir()

    def start(self, code: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DEFERQ_")}
        # None of these may matter: the demo brings its own settings along.
        environment |= {"TMPDIR": str(self.temporary), "DEFERQ_WORKER": "external", "DEFERQ_KEEP_SUCCEEDED_MAX": "10"}
        environment["PYTHONPATH"] = str(Path(deferq.__file__).parent.parent)
        return subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=self.current,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str) -> tuple[int, str, str]:
        process = self.start(code)
        output, errors = process.communicate(timeout=70)
        return process.returncode, output, errors

    @property
    def is_clean(self) -> bool:
        return not list(self.current.iterdir()) and not list(self.temporary.iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def staying(place: Place) -> Iterator[subprocess.Popen[str]]:
    process = place.start(STAY)
    yield process
    process.kill()
    process.communicate()


def test_the_demo_accounts_for_every_task_and_leaves_nothing_behind(place: Place) -> None:
    code, output, errors = place.run(RUN)
    assert (code, errors) == (0, ""), output
    last = LAST_LINE.fullmatch(output.splitlines()[-1])
    assert last, output
    assert last[1] == last[2]
    assert int(last[1]) > 5000
    assert place.is_clean


def test_without_a_terminal_there_are_plain_lines_and_few_of_them(place: Place) -> None:
    _, output, _ = place.run(RUN)
    assert "\r" not in output
    assert "\x1b" not in output
    assert len(output.splitlines()) < 70
    assert max(map(len, output.splitlines()[3:])) <= 130


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        pytest.param(LOSE_A_LEDGER_LINE, "in the ledger, not ", marks=pytest.mark.slow),
        pytest.param(NOTE_TWICE, "2 x in the ledger, not ", marks=pytest.mark.slow),
        pytest.param(LEAVE_OUT_AN_ANSWER, "is in the store, and no answer named it", marks=pytest.mark.slow),
        (DELETE_A_TASK, "was deferred, and the store does not have it"),
        pytest.param(FAIL_UNEXPECTEDLY, "succeeded after 2 attempts", marks=pytest.mark.slow),
        pytest.param(RETURN_SOMETHING_ELSE, "returned something else than it should", marks=pytest.mark.slow),
        pytest.param(NO_DELAY, "succeeded after 1 attempt and 0.", marks=pytest.mark.slow),
    ],
)
def test_any_difference_is_named_and_the_exit_code_is_1(place: Place, plant: str, words: str) -> None:
    code, output, errors = place.run(plant + RUN)
    assert code == 1, errors
    assert words in output
    assert "demo: ok" not in output
    kept = list(place.temporary.iterdir())
    assert len(kept) == 1
    assert output.rstrip().endswith(str(kept[0]))


@pytest.mark.slow
def test_a_failure_that_nobody_planned_is_not_kept_off_the_screen(place: Place) -> None:
    _, _, errors = place.run(FAIL_UNEXPECTEDLY + RUN)
    assert "OSError: nobody planned this" in errors
    assert "on purpose" not in errors


@pytest.mark.slow
def test_what_does_not_end_is_named_when_the_time_is_over(place: Place) -> None:
    code, output, _ = place.run(NEVER_END + RUN)
    assert code == 1
    assert "not everything ended within 2 s" in output
    assert "delayed: 5 tasks have not ended" in output


def read_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout is not None
    read = ""
    while words not in read:
        line = process.stdout.readline()
        assert line, read
        read += line
    return read


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_cleanly(place: Place, staying: subprocess.Popen[str], number: int, code: int) -> None:
    read_until(staying, "until the demo ends")
    staying.send_signal(number)
    output, errors = staying.communicate(timeout=20)
    assert (staying.returncode, errors) == (code, ""), output
    assert place.is_clean


def test_its_folder_is_closed_to_everybody_else(place: Place, staying: subprocess.Popen[str]) -> None:
    read_until(staying, "until the demo ends")
    folder = next(place.temporary.iterdir())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.slow
def test_staying_it_serves_until_it_is_interrupted(place: Place, staying: subprocess.Popen[str]) -> None:
    output = read_until(staying, "Ctrl-C")
    assert LAST_LINE.search(output)
    port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", output)[1])  # type: ignore[index]
    assert "deferq demo" in ask(port, "GET", "/")
    assert '"existed": false' in ask(port, "POST", "/defer/plain?order=1")
    staying.send_signal(signal.SIGINT)
    assert staying.wait(timeout=20) == 0
    assert place.is_clean


def ask(port: int, method: str, path: str) -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    return connection.getresponse().read().decode()
