"""The power is cut at any moment: what was answered is there, and the store goes on.

Engines work on a file, and everything that reaches it is recorded below SQLite. From a recording come the files that a
disk may hold after a cut at any moment of it, and another engine opens each of them. What a seed found is found again
by `python -m tests.power --images 1 --first SEED --per-run IMAGES`.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import pytest

from deferq.engines.answers import PutAnswer
from deferq.engines.sqlite import SqliteEngine, files, putting, settling
from deferq.model.task import NewTask
from tests.power import recording
from tests.power.images import Image, write
from tests.power.judging import Finding, Judge, MakeEngine, Verdict
from tests.power.noting import FILE, Run
from tests.power.places import folder
from tests.power.recording import Event, FolderSynced, Recording, Synced, recorded
from tests.power.runs import record
from tests.power.stores import Store, application, older
from tests.power.trying import CHAIN, PER_RUN, Tally, different, try_run, try_seeds
from tests.support import FakeClock, TaskMaker, sized, tried

ROOT = Path(__file__).parents[2]
PROCESSES = 2
#: So few images are judged by the test itself.
FEW = 200
#: What a planted mistake may take to be found: images of one run.
SOON = 150
#: The number of the log in a recording: the database and a journal come before it.
LOG = 3

recording.skip_if_unavailable()


def cut_the_power(images: int, synchronous: Sequence[str], seconds: float) -> Tally:
    """So many images, from seeds that are shared out among processes if there are many."""
    per_run = sized(images // CHAIN // (1 if images < FEW else PROCESSES) + 5, PER_RUN, PER_RUN)
    if images < FEW:
        tally = try_seeds(range(1_000), images, per_run, seconds, synchronous)
    else:
        tally = cut_the_power_at_once(-(-images // PROCESSES), per_run, synchronous, seconds)
    tried(f"power cuts, synchronous={' and '.join(dict.fromkeys(synchronous))}", tally.images)
    return tally


def cut_the_power_at_once(images: int, per_run: int, synchronous: Sequence[str], seconds: float) -> Tally:
    """So many in each process."""
    command = [sys.executable, "-m", "tests.power", "--synchronous", ",".join(synchronous), "--step", str(PROCESSES)]
    command += ["--images", str(images), "--per-run", str(per_run), "--seconds", str(seconds)]
    running = [
        subprocess.Popen([*command, "--first", str(first)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for first in range(PROCESSES)
    ]
    tally = Tally()
    try:
        for process in running:
            said, _ = process.communicate()
            assert process.returncode == 0
            tally.add(Tally.of(said))
    finally:
        for process in running:
            process.kill()
    return tally


@dataclass
class Puts(Run):
    """A run of puts, one task each."""

    ids: list[int] = field(default_factory=list)
    #: When each was answered.
    moments: list[int] = field(default_factory=list)

    def answered(self, moment: int) -> int:
        """How many puts were answered by then."""
        return bisect_right(self.moments, moment)


def record_puts(place: Path, number: int) -> Puts:
    run, clock = Puts(0), FakeClock()
    new = TaskMaker(clock)
    with (
        recorded(place, Recording()) as heard,
        closing(SqliteEngine(place / FILE, clock=clock, synchronous="NORMAL", connect=recording.connect)) as engine,
    ):
        for _ in range(number):
            run.ids.append(engine.put([new()])[0].id)
            run.moments.append(len(heard))
        run.events = heard.events[:]
        assert heard.file(f"{FILE}-wal") == LOG
    return run


def tasks_in(image: Image) -> list[int]:
    """What an engine finds in it."""
    with folder() as place:
        for name, data in image.items():
            write(place / name, data)
        with closing(SqliteEngine(place / FILE)) as engine:
            assert engine.check() == []
            return engine._read(lambda connection: [row[0] for row in connection.execute("select id from deferq_task")])


# ---- what is promised


@pytest.mark.programme
def test_what_was_answered_is_there_after_any_power_cut() -> None:
    tally = cut_the_power(sized(240, 20_000, 1_000_000), ["FULL", "FULL"], sized(60, 200, 6 * 3_600))
    assert tally.examples == []
    assert tally.wrong == 0
    assert tally.images > 0


@pytest.mark.programme
def test_with_normal_a_power_cut_loses_the_last_calls_and_breaks_nothing() -> None:
    tally = cut_the_power(sized(50, 3_000, 100_000), ["NORMAL", "NORMAL"], sized(60, 100, 3_600))
    assert set(tally.findings) == {Finding.SOUND.name, Finding.LOST.name}, tally.examples
    tried("power cuts, synchronous=NORMAL, that lost answered calls", len(tally.lost))
    print(f"NORMAL: answered calls that are missing: {median(tally.lost)} in the median, {max(tally.lost)} at most")


@pytest.mark.programme
def test_what_an_engine_with_full_has_answered_is_there_whatever_one_with_normal_loses_beside_it() -> None:
    tally = cut_the_power(sized(50, 3_000, 100_000), ["FULL", "NORMAL"], sized(60, 100, 3_600))
    assert set(tally.findings) <= {Finding.SOUND.name, Finding.LOST.name}, tally.examples
    assert tally.broken == 0


@pytest.mark.programme
def test_with_normal_no_more_is_lost_than_came_after_the_last_checkpoint() -> None:
    """One put after another, and the log's measures as they are."""
    random, shortfalls = Random(1), []
    with folder() as place:
        run = record_puts(place, sized(600, 8_000, 8_000))
    safe = [moment for moment, event in enumerate(run.events, start=1) if event == Synced(LOG)]
    for image, moment, _ in different(run, sized(10, 150, 2_000), random):
        answered, found = run.answered(moment), tasks_in(image)
        assert found == sorted(found), "it is as it was at one moment, in one piece"
        assert found == run.ids[: len(found)]
        assert len(found) >= run.answered(max((at for at in safe if at <= moment), default=0))
        shortfalls.append(max(0, answered - len(found)))
    lost = [shortfall for shortfall in shortfalls if shortfall]
    print(f"NORMAL, puts: {len(lost)} of {len(shortfalls)} images lack {median(lost)} tasks, at most {max(lost)}")


@pytest.mark.parametrize("store", [application, older])
def test_what_stood_in_the_file_before_is_there_as_well(store: Callable[[int], Store]) -> None:
    """An application's own tables, and tasks in an older schema, which the first engine brings up to date."""
    before, found = store(7)
    tally = Tally()
    try_run(recorded_run(before=before, found=found, calls=10), 40, Random(1), tally)
    assert tally.examples == []


# ---- the harness is able to fail


def first_wrong(run: Run, make: MakeEngine | None = None) -> Verdict:
    """The first image of a run that is not as promised; there must be one soon."""
    random = Random(1)
    with folder() as place:
        judge = Judge(place, run, make=make)
        for image, moment, _ in different(run, SOON, random):
            verdict = judge.judge(image, moment, random)
            if verdict.finding is not Finding.SOUND:
                return verdict
    raise AssertionError("nothing was found")


def recorded_run(**options: Any) -> Run:
    with folder() as place:
        return record(place, 1, **options)


@pytest.fixture(scope="module")
def run() -> Run:
    """A run as it ought to be."""
    return recorded_run()


def test_a_run_as_it_ought_to_be_has_nothing_to_find(run: Run) -> None:
    tally = Tally()
    try_run(run, 50, Random(1), tally)
    assert tally.examples == []


def test_synchronous_off_is_found() -> None:
    tally = Tally()
    try_run(recorded_run(synchronous=["OFF"]), 60, Random(1), tally)
    assert tally.findings[Finding.LOST.name]
    assert tally.findings[Finding.CORRUPT.name] + tally.findings[Finding.REFUSED.name] + tally.findings["MIXED"]


def test_one_engine_with_off_endangers_what_another_with_full_has_answered() -> None:
    tally = Tally()
    try_run(recorded_run(synchronous=["FULL", "OFF"]), 100, Random(1), tally)
    assert tally.broken


def test_an_engine_that_forgets_to_ask_for_full_is_found() -> None:
    class Forgetful(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            return super().execute(sql.replace("synchronous = FULL", "synchronous = NORMAL"), *parameters)

    run = recorded_run(connect=lambda path: recording.connect(path, factory=Forgetful))
    assert first_wrong(run).finding is Finding.LOST


def test_an_engine_that_answers_before_it_commits_is_found() -> None:
    class Hasty(sqlite3.Connection):
        """Commits when it has to, but for the tables."""

        begun = 0

        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql == "begin immediate":
                self.begun += 1
                if self.in_transaction:
                    super().execute("commit")
            elif sql == "commit" and self.begun > 1:
                return super().execute("select 1")
            return super().execute(sql, *parameters)

    run = recorded_run(
        connect=lambda path: recording.connect(path, factory=Hasty), synchronous=["FULL"], only=["put_many"], calls=30
    )
    assert first_wrong(run).finding in (Finding.LOST, Finding.MIXED)


def test_an_engine_that_stores_follow_ups_by_a_commit_of_their_own_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def put_apart(connection: sqlite3.Connection, tasks: Sequence[NewTask], now: int) -> list[PutAnswer]:
        connection.execute("commit")
        connection.execute("begin immediate")
        return putting.put(connection, tasks, now)

    with monkeypatch.context() as patch:
        patch.setattr(settling, "put", put_apart)
        run = recorded_run(only=["put_many", "turn"])
    assert first_wrong(run).finding is Finding.MIXED


LIES: dict[str, Callable[[Event], bool]] = {
    "about everything": lambda event: isinstance(event, Synced | FolderSynced),
    "about files": lambda event: isinstance(event, Synced),
    "about the database": lambda event: event == Synced(1),
    "about the folder": lambda event: isinstance(event, FolderSynced),
}


@pytest.mark.parametrize("about", LIES)
def test_a_disk_that_lies_about_what_it_has_synced_is_found(run: Run, about: str) -> None:
    """The events stay where they are, since calls were answered at a place in them."""
    nothing = FolderSynced() if about == "about files" else Synced(0)
    lied = replace(run, events=[nothing if LIES[about](event) else event for event in run.events])
    assert first_wrong(lied).finding is not Finding.SOUND


def test_an_engine_that_throws_the_log_away_as_it_opens_is_found(run: Run) -> None:
    def make(path: Path, clock: FakeClock) -> SqliteEngine:
        path.with_name(f"{FILE}-wal").unlink(missing_ok=True)
        return SqliteEngine(path, clock=clock)

    assert first_wrong(run, make).finding is not Finding.SOUND


def test_an_engine_that_takes_a_database_with_a_log_for_cut_short_is_found(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_has_wal", lambda path: False)
    assert first_wrong(run).finding is Finding.REFUSED
