"""A folder with a store, and the command line called in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from deferq import Deferq
from deferq.cli.main import main


class Said(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: empty, a project of its own, and nothing in the environment."""
    for name in [name for name in os.environ if name.startswith("DEFERQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DEFERQ_URL", "")  # a command may set it; afterwards it is what it was
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


@pytest.fixture
def url(folder: Path) -> str:
    return f"sqlite:///{folder}/jobs.db"


@pytest.fixture
def deferq(url: str) -> Iterator[Deferq]:
    with Deferq(url) as instance:
        yield instance


@pytest.fixture
def run(url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("tasks", "ls")` is `deferq --url ... tasks ls`."""

    def run_command(*words: object, url: str | None = url) -> Said:
        capsys.readouterr()
        store = [] if url is None else ["--url", url]
        code = main([*store, *map(str, words)])
        return Said(code, *capsys.readouterr())

    return run_command


def work_off(deferq: Deferq) -> None:
    """Run what is due, as `deferq worker --once` does."""
    deferq.worker(until_idle=True).run()
