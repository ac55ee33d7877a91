"""The gate in front of every write, and the log behind it: who holds it when, and how large it grows."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from deferq.engines.answers import Clash, Stored
from deferq.engines.sqlite import SqliteEngine, checkpoint
from deferq.engines.sqlite.gate import Gate
from deferq.errors import StoreError
from tests.support import FakeClock, TaskMaker, lease

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
Hook = Callable[[str], None]


def watched(hook: Hook, opened: list[sqlite3.Connection] | None = None) -> Callable[[str], sqlite3.Connection]:
    """A `connect` whose connections call `hook(statement)` before each statement."""

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            hook(sql)
            return super().execute(sql, *parameters)

    def connect(path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Watched)
        if opened is not None:
            opened.append(connection)
        return connection

    return connect


def gate_is_shut(path: Path) -> bool:
    """Whether somebody holds the gate, as another process would find it."""
    fd = os.open(f"{path}-gate", os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deferq.db"


@pytest.fixture
def said(path: Path, clock: FakeClock, new: TaskMaker) -> Iterator[list[tuple[str, bool]]]:
    """What an engine says to SQLite while it puts, leases and checkpoints, and whether the gate was shut."""
    said: list[tuple[str, bool]] = []
    connect = watched(lambda sql: said.append((" ".join(sql.split()), gate_is_shut(path))))
    with closing(SqliteEngine(path, clock=clock, connect=connect)) as engine:
        engine.put(new.many(5))
        lease(engine, 2)
        engine._gate.logged = checkpoint.CHECKPOINT_BYTES
        engine._checkpointer._commits = checkpoint.LOOK_EVERY - 1
        engine.put(new.many(1))
        yield said


# ---- the gate


def test_whoever_writes_holds_the_gate_from_begin_to_commit(said: list[tuple[str, bool]]) -> None:
    shut = {sql.split()[0]: is_shut for sql, is_shut in said if not sql.startswith(("pragma", "select", "with"))}
    assert {"begin", "insert", "update", "commit"} <= set(shut)
    assert all(shut.values())


def test_whoever_reads_leaves_the_gate_open(said: list[tuple[str, bool]]) -> None:
    (looking,) = {is_shut for sql, is_shut in said if sql.startswith("with recursive lane")}
    assert looking is False


def test_a_checkpoint_runs_behind_the_gate(said: list[tuple[str, bool]]) -> None:
    checkpoints = [is_shut for sql, is_shut in said if "wal_checkpoint" in sql]
    assert checkpoints == [True]


def test_the_gate_is_open_again_after_a_write_that_failed(path: Path, clock: FakeClock, new: TaskMaker) -> None:
    def fail(sql: str) -> None:
        if sql == "commit" and broken:
            raise sqlite3.IntegrityError

    broken: list[bool] = []
    with closing(SqliteEngine(path, clock=clock, connect=watched(fail))) as engine:
        engine.open()
        broken.append(True)
        with pytest.raises(StoreError):
            engine.put(new.many(1))
        assert not gate_is_shut(path)
        broken.clear()
        engine.put(new.many(1))
        assert engine.counts().queues[0].ready == 1


def test_a_bell_that_is_hung_up_does_not_open_the_gate_for_others(path: Path, clock: FakeClock, new: TaskMaker) -> None:
    """A thread hangs up a bell while another one writes: both use the same descriptor."""
    hanging: list[threading.Thread] = []
    shut: list[bool] = []

    def hang_up(sql: str) -> None:
        if sql == "commit" and armed:
            hanging.append(threading.Thread(target=lambda: bells.append(engine.bell(1))))
            hanging[0].start()
            hanging[0].join(0.2)
            shut.append(gate_is_shut(path))

    armed: list[bool] = []
    bells: list[Any] = []
    with closing(SqliteEngine(path, clock=clock, connect=watched(hang_up))) as engine:
        engine.open()
        armed.append(True)
        engine.put(new.many(1))
        hanging[0].join(10)
        bells[0].close()
        assert shut == [True]


HOLD_THE_GATE = """
import sys, time
from deferq.engines.sqlite.gate import Gate
gate = Gate(sys.argv[1])
gate.acquire()
print("shut", flush=True)
time.sleep(60)
"""


def test_the_gate_opens_when_its_holder_is_killed(path: Path, clock: FakeClock, new: TaskMaker) -> None:
    with closing(SqliteEngine(path, clock=clock)) as engine:
        engine.open()
        with subprocess.Popen(
            [sys.executable, "-c", HOLD_THE_GATE, f"{path}-gate"], cwd=ROOT, stdout=subprocess.PIPE
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"shut\n"
            assert gate_is_shut(path)
            stored: list[object] = []
            task = new()
            writer = threading.Thread(target=lambda: stored.extend(engine.put([task])))
            writer.start()
            writer.join(0.1)
            assert stored == []
            holder.send_signal(signal.SIGKILL)
            writer.join(10)
            assert stored == [Stored(task.id)]


# ---- the log


@pytest.mark.parametrize(("synchronous", "number"), [("FULL", 2), ("NORMAL", 1), ("OFF", 0), ("EXTRA", 3)])
def test_durability_is_what_was_asked_for(path: Path, clock: FakeClock, synchronous: str, number: int) -> None:
    opened: list[sqlite3.Connection] = []
    connect = watched(lambda sql: None, opened)
    with closing(SqliteEngine(path, clock=clock, synchronous=synchronous.lower(), connect=connect)) as engine:
        engine.open()
        writer = opened[-1]
        assert writer.execute("pragma synchronous").fetchone() == (number,)
        assert writer.execute("pragma journal_mode").fetchone() == ("wal",)
        assert engine.info()["synchronous"] == synchronous


def test_no_connection_checkpoints_by_itself(path: Path, clock: FakeClock, new: TaskMaker) -> None:
    opened: list[sqlite3.Connection] = []
    with closing(SqliteEngine(path, clock=clock, connect=watched(lambda sql: None, opened))) as engine:
        engine.put(new.many(1))
        engine.counts()
        first, *working = opened
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            first.execute("select 1")
        assert [each.execute("pragma wal_autocheckpoint").fetchone() for each in working] == [(0,), (0,)]


def test_a_checkpoint_that_fails_costs_nobody_a_task(
    path: Path, clock: FakeClock, new: TaskMaker, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sql: str) -> None:
        if "wal_checkpoint" in sql:
            raise sqlite3.OperationalError("disk I/O error")

    with closing(SqliteEngine(path, clock=clock, connect=watched(fail))) as engine:
        engine.open()
        engine._gate.logged = checkpoint.CHECKPOINT_BYTES
        engine._checkpointer._commits = checkpoint.LOOK_EVERY - 1
        task = new()
        with caplog.at_level(logging.WARNING, "deferq.sqlite"):
            assert engine.put([task]) == [Stored(task.id)]
        assert "could not be moved" in caplog.text
        assert engine.put(new.many(3))
        assert engine.counts().queues[0].ready == 4


def test_after_a_checkpoint_a_foreign_lock_is_waited_for_as_long_as_before(
    path: Path, clock: FakeClock, new: TaskMaker
) -> None:
    opened: list[sqlite3.Connection] = []
    with closing(SqliteEngine(path, clock=clock, connect=watched(lambda sql: None, opened))) as engine:
        engine.open()
        before = opened[-1].execute("pragma busy_timeout").fetchone()
        engine._gate.logged = checkpoint.CHECKPOINT_BYTES
        engine._checkpointer._commits = checkpoint.LOOK_EVERY - 1
        engine.put(new.many(1))
        assert opened[-1].execute("pragma busy_timeout").fetchone() == before == (30_000,)


@pytest.fixture
def small_log(monkeypatch: pytest.MonkeyPatch) -> int:
    """Bytes after which the log is moved, for these tests."""
    monkeypatch.setattr(checkpoint, "CHECKPOINT_BYTES", 512 * 1024)
    monkeypatch.setattr(checkpoint, "TRUNCATE_BYTES", 1024 * 1024)
    return 512 * 1024


def largest_log(engine: SqliteEngine, puts: Iterator[object]) -> int:
    return max(engine._checkpointer.wal_bytes() for _ in puts)


@pytest.mark.parametrize(("tasks", "payload"), [(1, 50), (1, 900), (1, 20_000), (200, 50), (200, 1000)])
def test_the_log_stays_small_whatever_is_put(
    path: Path, clock: FakeClock, new: TaskMaker, small_log: int, tasks: int, payload: int
) -> None:
    """Each writes about eight times what the log may hold before it is moved."""
    rounds = max(8, 8 * small_log // (tasks * (payload + 400) + 12_000))
    with closing(SqliteEngine(path, clock=clock, synchronous="OFF")) as engine:
        puts = (engine.put(new.many(tasks, payload=b"x" * payload)) for _ in range(rounds))
        assert largest_log(engine, puts) < 4 * small_log


def test_the_log_stays_small_beside_large_payloads(
    path: Path, clock: FakeClock, new: TaskMaker, small_log: int
) -> None:
    with closing(SqliteEngine(path, clock=clock, synchronous="OFF")) as engine:
        puts = (engine.put([new(payload=b"x" * 300_000)]) for _ in range(40))
        assert largest_log(engine, puts) < 5 * small_log


def test_a_log_that_a_reader_held_open_is_cut_once_the_reader_is_gone(
    path: Path, clock: FakeClock, new: TaskMaker, small_log: int
) -> None:
    with (
        closing(SqliteEngine(path, clock=clock, synchronous="OFF")) as engine,
        closing(sqlite3.connect(path, isolation_level=None)) as reader,
    ):
        engine.put(new.many(1))
        reader.execute("begin")
        reader.execute("select count(*) from deferq_task").fetchone()
        held = largest_log(engine, (engine.put([new(payload=b"x" * 100_000)]) for _ in range(30)))
        assert held > 4 * small_log
        reader.execute("commit")
        for _ in range(20):
            engine.put([new(payload=b"x" * 100_000)])
        assert engine._checkpointer.wal_bytes() < 4 * small_log
        assert engine.check(full=True) == []


def test_the_log_starts_anew_with_the_file_whatever_the_gate_remembers(
    path: Path, clock: FakeClock, new: TaskMaker, small_log: int
) -> None:
    """The number in the gate outlives the log, which goes when the last process closes the file."""
    with closing(SqliteEngine(path, clock=clock, synchronous="OFF")) as engine:
        engine.put(new.many(1))
        engine._gate.log_bytes = 1 << 40
    with closing(SqliteEngine(path, clock=clock, synchronous="OFF")) as engine:
        puts = (engine.put([new(payload=b"x" * 100_000)]) for _ in range(60))
        assert largest_log(engine, puts) < 4 * small_log


@pytest.mark.slow
def test_the_log_stays_bounded_over_hundreds_of_megabytes_beside_a_reader(
    path: Path, clock: FakeClock, new: TaskMaker
) -> None:
    with (
        closing(SqliteEngine(path, clock=clock)) as engine,
        closing(sqlite3.connect(path, isolation_level=None)) as reader,
    ):
        engine.open()
        largest = 0
        for number in range(300):
            if number % 20 == 0:
                reader.execute("begin")
                reader.execute("select count(*) from deferq_queue").fetchone()
            if number % 20 == 3:
                reader.execute("commit")
            engine.put(new.many(1_000, payload=b"x" * 800))
            largest = max(largest, engine._checkpointer.wal_bytes())
        assert path.stat().st_size > 200 * MIB
        assert largest < 100 * MIB
        assert engine.check() == []


# ---- room in the log


def test_the_log_is_lengthened_ahead_of_what_is_written(path: Path, clock: FakeClock, new: TaskMaker) -> None:
    """A commit that makes the file longer costs two syncs of the disk; most write over what is there."""
    with closing(SqliteEngine(path, clock=clock)) as engine:
        sizes = [engine._checkpointer.wal_bytes() for _ in range(200) if engine.put([new()])]
    grown = sum(after != before for before, after in pairwise(sizes))
    assert grown <= 2 * checkpoint.LOOK_EVERY + 2
    assert max(sizes) >= len(checkpoint.ROOM)


def test_what_stands_in_the_room_is_no_part_of_the_log(path: Path, clock: FakeClock, new: TaskMaker) -> None:
    """A process is killed while there is room behind its last commit: whoever comes next finds every task."""
    engine = SqliteEngine(path, clock=clock)
    tasks = [new() for _ in range(100)]
    for task in tasks:
        engine.put([task])
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    copy.with_name("copy.db-wal").write_bytes(path.with_name(f"{path.name}-wal").read_bytes())
    engine.close()
    copy.chmod(0o600)
    with closing(SqliteEngine(copy, clock=clock)) as after:
        assert len(after.get([task.id for task in tasks])) == 100
        assert after.check(full=True) == []


@pytest.mark.parametrize("moment", [fcntl.LOCK_EX, fcntl.LOCK_UN])
def test_an_interrupt_at_the_gate_leaves_it_open(path: Path, monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    real = fcntl.flock

    def interrupted(fd: int, operation: int) -> None:
        real(fd, operation)
        if operation == moment:
            monkeypatch.undo()
            raise KeyboardInterrupt

    def pass_through() -> None:
        gate.acquire()
        gate.release()

    gate = Gate(f"{path}-gate")
    monkeypatch.setattr(fcntl, "flock", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pass_through()
    assert not gate_is_shut(path)
    assert gate._threads.acquire(timeout=1), "the next writer of this process would wait for ever"
    gate._threads.release()
    gate.close()


# ---- a lone task


def test_a_lone_plain_task_is_one_statement_behind_the_gate(path: Path, clock: FakeClock, new: TaskMaker) -> None:
    seen: list[tuple[str, bool]] = []
    hook: list[Hook] = [lambda sql: None]
    with closing(SqliteEngine(path, clock=clock, connect=watched(lambda sql: hook[0](sql)))) as engine:
        engine.put([new()])  # makes the queue known
        hook[0] = lambda sql: seen.append((sql.split()[0], gate_is_shut(path)))
        task = new()
        assert engine.put([task]) == [Stored(task.id)]
        assert engine.put([task]) == [Stored(task.id)]
        assert engine.put([task._replace(payload=b"other")]) == [Clash(task.id)]
    assert seen[:1] == [("insert", True)]
    assert all(shut for _, shut in seen)
    assert "begin" not in {statement for statement, _ in seen}


def test_plain_tasks_that_meet_are_one_statement_behind_the_gate(path: Path, clock: FakeClock, new: TaskMaker) -> None:
    seen: list[tuple[str, bool]] = []
    hook: list[Hook] = [lambda sql: None]
    tasks = new.many(8)
    with closing(SqliteEngine(path, clock=clock, connect=watched(lambda sql: hook[0](sql)))) as engine:
        engine.put([new()])
        hook[0] = lambda sql: seen.append((sql.split()[0], gate_is_shut(path)))
        with closing(Gate(f"{path}-gate")) as gate, ThreadPoolExecutor(8) as pool:
            gate.acquire()
            waiting = [pool.submit(engine.put, [task]) for task in tasks]
            give_up = time.monotonic() + 10
            while len(engine._commits._line) < 7 and time.monotonic() < give_up:  # one leads
                time.sleep(0.001)
            gate.release()
            assert [each.result() for each in waiting] == [[Stored(task.id)] for task in tasks]
        assert seen == [("insert", True)]
        assert len(engine.get([task.id for task in tasks])) == 8


@pytest.mark.parametrize("what", ["named", "large", "of a new queue", "one of two"])
def test_whatever_takes_more_than_one_statement_begins_immediately(
    path: Path, clock: FakeClock, new: TaskMaker, what: str
) -> None:
    tasks = {
        "named": [new(name="a")],
        "large": [new(payload=b"x" * 2000)],
        "of a new queue": [new("another")],
        "one of two": new.many(2),
    }[what]
    seen: list[str] = []
    with closing(SqliteEngine(path, clock=clock, connect=watched(seen.append))) as engine:
        engine.put([new()])
        seen.clear()
        engine.put(tasks)
    assert seen[0] == "begin immediate"
    assert "commit" in seen
