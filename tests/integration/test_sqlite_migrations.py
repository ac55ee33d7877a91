"""Making the tables, once, beside whatever else is in the file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from deferq.engines.answers import Stored, TakeUp
from deferq.engines.base import RecordChange
from deferq.engines.sqlite import SqliteEngine, migrations
from deferq.engines.sqlite.statements import schema_scripts
from deferq.errors import SchemaTooNew, StoreError
from deferq.model.retry import RetryPolicy
from tests.support import US, FakeClock, TaskMaker, bury_stalled, lease

ROOT = Path(__file__).parents[2]

OPEN_AND_PUT = """
import sys
from deferq.engines.sqlite import SqliteEngine
from tests.support import TaskMaker
engine = SqliteEngine(sys.argv[1])
new = TaskMaker(engine.now)
sys.stdin.readline()
engine.put([new(task_id=int(sys.argv[2]))])
engine.close()
print("stored", flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deferq.db"


def tables(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("select name, sql from sqlite_master where name not like 'sqlite_%'"))


def meta(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("select key, value from deferq_meta"))


def open_once(path: Path, clock: FakeClock) -> None:
    with closing(SqliteEngine(path, clock=clock)) as engine:
        engine.open()


def test_a_new_file_gets_every_table_and_an_id_of_its_own(path: Path, clock: FakeClock) -> None:
    open_once(path, clock)
    made = meta(path)
    assert made["schema"] == str(migrations.newest_version())
    assert len(made["database_id"]) == 32
    assert {"deferq_task", "deferq_queue", "deferq_name", "deferq_total", "deferq_record"} <= set(tables(path))


def test_every_table_is_strict(path: Path, clock: FakeClock) -> None:
    open_once(path, clock)
    made = {name: sql for name, sql in tables(path).items() if sql.lower().startswith("create table")}
    assert [name for name, sql in made.items() if "strict" not in sql.lower().rsplit(")", 1)[1]] == []


def test_a_file_that_is_opened_again_stays_as_it_is(path: Path, clock: FakeClock) -> None:
    open_once(path, clock)
    before = tables(path), meta(path)
    open_once(path, clock)
    assert (tables(path), meta(path)) == before


def test_eight_processes_that_open_a_new_file_at_once_make_it_together(path: Path) -> None:
    command = [sys.executable, "-c", OPEN_AND_PUT, str(path)]
    processes = [
        subprocess.Popen([*command, str(number)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for number in range(1, 9)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=30)[0] for process in processes]
    assert answers == ["stored\n"] * 8
    with closing(SqliteEngine(path)) as engine:
        assert len(engine.get(range(1, 9))) == 8
        assert engine.check(full=True) == []


def test_a_file_of_a_newer_release_is_refused_and_not_touched(path: Path, clock: FakeClock, new: TaskMaker) -> None:
    with closing(SqliteEngine(path, clock=clock)) as engine:
        engine.put(new.many(3))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update deferq_meta set value = '99' where key = 'schema'")
    before = path.read_bytes()
    with closing(SqliteEngine(path, clock=clock)) as engine:
        with pytest.raises(SchemaTooNew, match="has schema 99"):
            engine.put(new.many(1))
        with pytest.raises(SchemaTooNew, match="Upgrade deferq"):
            engine.counts()
    assert path.read_bytes() == before


def test_tasks_of_the_release_before_are_kept_and_have_crashed_nothing(
    path: Path, clock: FakeClock, new: TaskMaker
) -> None:
    """Schema 2 knew nothing of crashes and reports: those rows read as none, and count from there."""
    tasks = new.many(3, retry=RetryPolicy(min_backoff_s=0, max_backoff_s=0))
    path.touch(0o600)
    with closing(sqlite3.connect(path)) as connection, connection:
        _make_tables(connection, 2)
        connection.execute("insert into deferq_queue (name) values ('default')")
        connection.executemany(
            "insert into deferq_task (id, queue, target, state, leasable_at, eta, first_due, attempts, starts,"
            " lease_id, finished_at, options, payload) values (?, 'default', ?, ?, ?, ?, ?, 1, 1, 5, ?, ?, ?)",
            [
                (task.id, task.target, state, task.eta, task.eta, task.eta, finished_at, task.options, task.payload)
                for task, state, finished_at in zip(tasks, (0, 1, 3), (None, None, clock.now), strict=True)
            ],
        )
        connection.execute(
            "insert into deferq_failure (task_id, attempt, at, kind, error_type, message, traceback)"
            " values (?, 1, 0, 'worker lost', 'WorkerLost', 'gone', '')",
            (tasks[2].id,),
        )
    with closing(SqliteEngine(path, clock=clock)) as engine:
        stored = engine.get([task.id for task in tasks])
        assert [task.crashes for task in stored] == [0, 0, 0]
        assert [failure.report for failure in engine.details(tasks[2].id).failures] == [""]
        assert [leased.crashes for leased in bury_stalled(engine)] == [0]
        assert [(leased.id, leased.crashes) for leased in sorted(lease(engine))] == [(tasks[0].id, 0), (tasks[1].id, 1)]
        assert engine.requeue([tasks[2].id]) == [tasks[2].id]
        assert engine.check(full=True) == []
    assert meta(path)["schema"] == str(migrations.newest_version())


def test_leases_of_a_store_that_knew_no_taking_up_can_be_taken_up(path: Path, clock: FakeClock, new: TaskMaker) -> None:
    """Schema 3: what was leased then goes on, and nothing of it counts as taken up."""
    task = new()
    path.touch(0o600)
    with closing(sqlite3.connect(path)) as connection, connection:
        _make_tables(connection, 3)
        connection.execute("insert into deferq_queue (name) values ('default')")
        connection.execute(
            "insert into deferq_task (id, queue, target, state, leasable_at, eta, first_due, starts, lease_id, payload)"
            " values (?, 'default', ?, 1, ?, ?, ?, 1, 5, ?)",
            (task.id, task.target, clock.now + 30 * US, task.eta, task.eta, task.payload),
        )
    with closing(SqliteEngine(path, clock=clock)) as engine:
        assert engine.take_up([(task.id, 5)] * 2) == [TakeUp.TAKEN, TakeUp.TAKEN_BEFORE]
        assert engine.check(full=True) == []


def _make_tables(connection: sqlite3.Connection, version: int) -> None:
    """As the release with that schema did."""
    for number, script in enumerate(schema_scripts()[:version], start=1):
        connection.executescript(script)
        connection.execute(
            "insert into deferq_meta values ('schema', ?) on conflict (key) do update set value = excluded.value",
            (str(number),),
        )


def test_an_applications_own_tables_are_left_alone(path: Path, clock: FakeClock, new: TaskMaker) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table task (id integer primary key, title text)")
        connection.execute("insert into task (title) values ('theirs')")
    path.chmod(0o600)
    with closing(SqliteEngine(path, clock=clock)) as engine:
        task = new()
        assert engine.put([task]) == [Stored(task.id)]
        assert len(lease(engine)) == 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select title from task").fetchall() == [("theirs",)]
    assert all(name == "task" or name.startswith("deferq_") for name in tables(path))


def test_an_application_writes_its_tables_between_our_writes(path: Path, clock: FakeClock, new: TaskMaker) -> None:
    with (
        closing(SqliteEngine(path, clock=clock)) as engine,
        closing(sqlite3.connect(path, isolation_level=None)) as theirs,
    ):
        engine.open()
        theirs.execute("create table note (body text)")
        for number in range(20):
            engine.put(new.many(1))
            theirs.execute("insert into note values (?)", (f"note {number}",))
        assert theirs.execute("select count(*) from note").fetchone() == (20,)
        assert engine.counts().queues[0].ready == 20


def test_tables_that_cannot_be_made_are_made_not_at_all_and_nobody_is_locked_out(path: Path, clock: FakeClock) -> None:
    """The application has a table of the same name; it can go on, and take it away."""
    theirs = sqlite3.connect(path, isolation_level=None, timeout=0.05)
    theirs.execute("create table deferq_total (whatever)")
    path.chmod(0o600)
    with closing(SqliteEngine(path, clock=clock)) as engine:
        with pytest.raises(StoreError, match="deferq_total"):
            engine.open()
        assert set(tables(path)) == {"deferq_total"}
        theirs.execute("drop table deferq_total")
        theirs.close()
        engine.open()
        assert engine.change_records([RecordChange("run", "r", 0, None, "{}")]) == [True]


@pytest.mark.parametrize(
    "name", ["schema/001_first.sql", *(f"statements/{room}.sql" for room in ("put", "lease", "settle", "read"))]
)
def test_the_sql_comes_with_the_package(name: str) -> None:
    text = files("deferq.engines.sqlite").joinpath(*name.split("/")).read_text(encoding="utf-8")
    assert text.startswith("--")
