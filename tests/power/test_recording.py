"""Nothing that an engine does to its files goes unheard, and the recorded runs do all there is to do."""

from __future__ import annotations

import _ctypes
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from deferq.engines.sqlite import SqliteEngine
from tests.power import vfs
from tests.power.images import Disk
from tests.power.noting import FILE, Run
from tests.power.places import folder
from tests.power.recording import (
    Cut,
    FolderSynced,
    Made,
    Recording,
    Removed,
    Synced,
    Written,
    connect,
    recorded,
    skip_if_unavailable,
)
from tests.power.runs import check_recording, record
from tests.support import FakeClock, TaskMaker

skip_if_unavailable()


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """Some runs."""
    made = []
    for seed in range(8):
        with folder() as place:
            made.append(record(place, seed))
    return made


def test_a_put_is_written_to_the_log_and_synced_before_it_returns(
    tmp_path: Path, clock: FakeClock, new: TaskMaker
) -> None:
    with (
        recorded(tmp_path, Recording()) as recording,
        closing(SqliteEngine(tmp_path / FILE, clock=clock, connect=connect)) as engine,
    ):
        engine.put([new()])
        before = len(recording)
        engine.put([new()])
        put = recording.events[before:]
        log = recording.file(f"{FILE}-wal")
    assert {type(event) for event in put[:-1]} == {Written}
    assert put[-1] == Synced(log or 0)
    assert all(event.file == log for event in put if isinstance(event, Written))


def test_with_normal_nothing_is_synced_before_it_returns(tmp_path: Path, clock: FakeClock, new: TaskMaker) -> None:
    with (
        recorded(tmp_path, Recording()) as recording,
        closing(SqliteEngine(tmp_path / FILE, clock=clock, connect=connect, synchronous="NORMAL")) as engine,
    ):
        engine.put([new()])
        before = len(recording)
        engine.put([new()])
        assert {type(event) for event in recording.events[before:]} == {Written}


def test_what_happens_unheard_is_noticed(tmp_path: Path) -> None:
    run = Run(0)
    recording = Recording()
    run.events = recording.events
    with recorded(tmp_path, recording), closing(connect(str(tmp_path / FILE))) as connection:
        connection.execute("create table t (x)")
    check_recording(run, tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE)) as unheard:
        unheard.execute("create table u (x)")
    with pytest.raises(AssertionError, match="not heard"):
        check_recording(run, tmp_path)


def test_an_error_while_listening_is_not_lost(tmp_path: Path) -> None:
    class Deaf(Recording):
        def written(self, file: int, at: int, data: bytes) -> None:
            raise RuntimeError("deaf")

    with (
        pytest.raises(AssertionError, match="deaf"),
        recorded(tmp_path, Deaf()),
        closing(connect(str(tmp_path / FILE))) as connection,
        pytest.raises(sqlite3.OperationalError),
    ):
        connection.execute("create table t (x)")


def test_the_recorded_sqlite_is_the_one_that_engines_use() -> None:
    assert vfs.library().sqlite3_libversion().decode() == sqlite3.sqlite_version


def test_an_interpreter_that_hides_its_sqlite_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_sqlite3", SimpleNamespace(__file__=_ctypes.__file__))
    with pytest.raises(vfs.Unavailable, match="hides its SQLite"):
        vfs.library()


def test_every_promise_is_what_stands_in_the_file(runs: list[Run]) -> None:
    """So that what an image is held to is neither less nor more than what the answers said."""
    for run in runs:
        for step in run.steps:
            assert step.promised == step.content.facts, f"seed {run.seed}, {step.what}"


def test_every_call_is_made(runs: list[Run]) -> None:
    made = Counter(step.what for run in runs for step in run.steps if step.changed)
    calls = {
        "put",
        "put many",
        "put large",
        "put by three threads",
        "put named, replace",
        "turn",
        "renew",
        "bury stalled",
    }
    calls |= {
        "cancel",
        "reschedule",
        "delete",
        "purge",
        "requeue",
        "wake",
        "sweep",
        "change a queue",
        "change a record",
    }
    assert calls <= set(made)
    others = {"reopen one", "reopen all", "checkpoint", "put a mistake", "keep a snapshot", "let a snapshot go"}
    assert others <= {step.what for run in runs for step in run.steps}


def test_all_that_can_happen_to_a_log_happens(runs: list[Run]) -> None:
    happened: Counter[str] = Counter()
    for run in runs:
        disk, log = Disk(), 0
        for event in run.events:
            match event:
                case Made(name=name) if name.endswith("-wal"):
                    log = event.file
                    happened["made"] += 1
                case Removed(name=name) if name.endswith("-wal"):
                    happened["removed"] += 1
                case Cut(size=0) if event.file == log:
                    happened["cut to nothing"] += 1
                case Cut() if event.file == log:
                    happened["cut to its limit"] += 1
                case Cut():
                    happened["the database cut"] += 1
                case Written(at=0) if event.file == log and disk.contents[log]:
                    happened["started over"] += 1
                case Written(data=data) if event.file == log and len(data) >= 16 * 1024 and not any(data):
                    happened["lengthened ahead"] += 1
                case FolderSynced():
                    happened["its name synced"] += 1
                case _:
                    pass
            disk.go_on([event])
    assert set(happened) == {
        "made",
        "removed",
        "cut to nothing",
        "cut to its limit",
        "the database cut",
        "started over",
        "lengthened ahead",
        "its name synced",
    }


def test_the_log_is_synced_before_anything_of_it_is_moved_into_the_database(runs: list[Run]) -> None:
    moved = 0
    for run in runs:
        disk, files = Disk(), {}
        for event in run.events:
            if isinstance(event, Made):
                files[event.name] = event.file
            if isinstance(event, Written) and event.file == files[FILE] and f"{FILE}-wal" in files:
                moved += 1
                assert disk.changes.get(files[f"{FILE}-wal"], []) == []
            disk.go_on([event])
    assert moved
