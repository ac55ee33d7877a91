"""A folder with a store, and the command line called in this process."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deferq import Deferq
from deferq.cli.checkup import mounts
from deferq.cli.main import main
from deferq.engines.base import RecordChange


class Said(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]
Doctor = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: empty, a project of its own, and nothing in the environment."""
    for name in [name for name in os.environ if name.startswith("DEFERQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DEFERQ_URL", "")  # a command may set it; afterwards it is what it was
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr("deferq.default._default", None)  # an application that is imported may configure one
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


# ---- doctor


@pytest.fixture
def doctor(run: Run, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """`doctor()` is what `deferq doctor --json` finds wrong or worth a note, by its code."""
    monkeypatch.setattr("deferq.cli.checkup.machine.sqlite3.sqlite_version", "3.51.3")
    monkeypatch.setattr(mounts, "read_mounts", lambda: "1 1 8:1 / / rw - ext4 /dev/sda1 rw")

    def examine(*words: object, **options: Any) -> dict[str, dict[str, Any]]:
        said = run("doctor", *words, "--json", **options)
        document = json.loads(said.out)
        assert said.code == (0 if document["ok"] else 1)
        assert document["ok"] == (document["wrong"] == 0)
        return {one["code"]: one for one in document["findings"] if one["level"] != "right"}

    return examine


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / "jobs.db"


def with_worker(deferq: Deferq, **said: object) -> None:
    """A worker has given its word a moment ago."""
    document = {"host": "elsewhere", "pid": 1, "threads": 4, "running": 0, "started": deferq.engine.now(), **said}
    due = deferq.engine.now() + 30_000_000
    deferq.engine.change_records([RecordChange("worker", "0000abcd", 0, due, json.dumps(document))])


@contextmanager
def edited(file: Path) -> Iterator[sqlite3.Connection]:
    """The closed file, to be changed behind the back of deferq."""
    with closing(sqlite3.connect(file)) as connection, connection:
        yield connection
