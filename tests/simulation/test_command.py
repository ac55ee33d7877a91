"""`python -m deferq.testing.simulate`: what it prints, and the command that shows a broken promise again."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import deferq
from deferq.testing.simulate.command import main

FORGETFUL = """
from deferq.engines.base import Retention
from deferq.engines.memory import MemoryEngine

class Forgetful(MemoryEngine):
    def sweep(self, retention, *, limit=1000):
        return super().sweep(Retention(succeeded_s=0.0, cancelled_s=0.0, dead_s=0.0), limit=limit)

def make(clock):
    return Forgetful(clock=clock)
"""


@pytest.fixture
def forgetful(tmp_path: Path) -> Path:
    """The folder of an engine that purges what it should keep."""
    (tmp_path / "forgetful.py").write_text(FORGETFUL)
    return tmp_path


def test_it_says_what_it_tried(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3"]) == 0
    said = capsys.readouterr().out
    assert re.fullmatch(r"memory: 3 seeds, [\d,]+ steps, [\d,]+ faults, \d+ seeds/s: nothing broken\n", said)


def test_it_is_quiet_if_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "7", "--engine", "sqlite", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_a_seed_tells_the_same_story_wherever_deferq_is_installed(tmp_path: Path) -> None:
    """The length of a path is in every traceback, and a socket holds so many bytes."""
    said = {_tried_from(tmp_path / folder) for folder in ("s", "a folder with a name " + "as long as some are " * 6)}
    assert len(said) == 1, said


def _tried_from(folder: Path) -> str:
    shutil.copytree(Path(deferq.__file__).parent, folder / "deferq", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "deferq.testing.simulate", "--seeds", "12", "--children"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
    return re.sub(r", [^,]* seeds/s", "", said)


def test_a_time_bounds_the_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--first-seed", "5", "--seconds", "0"]) == 0
    assert capsys.readouterr().out.startswith("memory: 1 seeds")


def test_a_broken_promise_is_told_with_its_history_and_the_command_that_shows_it_again(forgetful: Path) -> None:
    command = [sys.executable, "-m", "deferq.testing.simulate", "--engine", "forgetful:make", "--seeds", "100"]
    first = subprocess.run(command, cwd=forgetful, capture_output=True, text=True)
    assert first.returncode == 1, first.stderr
    lines = first.stdout.splitlines()
    assert re.fullmatch(r"seed \d+: task \d+ is missing, and it was \w+", lines[0])
    assert any("settled as" in line or "Cancel" in line for line in lines)

    python, *replay = shlex.split(lines[-1])
    assert python == "python"
    again = subprocess.run([sys.executable, *replay], cwd=forgetful, capture_output=True, text=True)
    assert (again.returncode, again.stdout.splitlines()[0]) == (1, lines[0])


def test_an_engine_that_is_not_there_is_said_in_a_line() -> None:
    with pytest.raises(SystemExit, match="memory, sqlite or module:function is expected"):
        main(["--engine", "nothing"])
