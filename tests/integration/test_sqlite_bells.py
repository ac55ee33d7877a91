"""Bells between processes: FIFOs in a folder beside the database."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from deferq.engines.answers import Stored
from deferq.engines.base import PollableBell
from deferq.engines.sqlite import SqliteEngine, bells
from deferq.engines.sqlite.engine import QUIET_S
from tests.support import FakeClock, TaskMaker

ROOT = Path(__file__).parents[2]

PUT_ONE = """
import sys
from deferq.engines.sqlite import SqliteEngine
from tests.support import TaskMaker
engine = SqliteEngine(sys.argv[1])
engine.put([TaskMaker(engine.now)()])
engine.close()
"""
HANG_UP_A_BELL = """
import sys, time
from deferq.engines.sqlite import SqliteEngine
engine = SqliteEngine(sys.argv[1])
bell = engine.bell(1)
print("hangs", flush=True)
time.sleep(60)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SqliteEngine]:
    with closing(SqliteEngine(tmp_path / "deferq.db", synchronous="OFF")) as engine:
        engine.open()
        yield engine


@pytest.fixture
def new(engine: SqliteEngine) -> TaskMaker:
    return TaskMaker(engine.now)


@contextmanager
def other_dispatcher(engine: SqliteEngine) -> Iterator[subprocess.Popen[bytes]]:
    """Another process whose bell hangs in the folder."""
    command = [sys.executable, "-c", HANG_UP_A_BELL, str(engine.path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"hangs\n"
        try:
            yield process
        finally:
            process.kill()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def hanging(engine: SqliteEngine) -> list[Path]:
    return [each for each in engine.bells.iterdir() if not each.name.startswith(".")]


def is_readable(bell: PollableBell) -> bool:
    return bool(select.select([bell], [], [], 0)[0])


def owner_lives(fifo: Path) -> bool:
    """Whether somebody holds the lock on a FIFO, which goes with its owner."""
    fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def test_a_task_put_by_another_process_wakes_the_dispatcher(engine: SqliteEngine) -> None:
    with closing(engine.bell(1)) as bell:
        with subprocess.Popen([sys.executable, "-c", PUT_ONE, str(engine.path)], cwd=ROOT) as other:
            assert bell.wait(10)
        assert other.returncode == 0
    assert engine.counts().queues[0].ready == 1


def test_who_sleeps_is_woken_while_a_lone_task_is_still_written(tmp_path: Path, new: TaskMaker) -> None:
    heard: list[bool] = []

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:  # type: ignore[override]
            if sql.lstrip().lower().startswith("insert") and not self.in_transaction:
                heard.append(bell.heard())
            return super().execute(sql, *arguments)

    engine = SqliteEngine(
        tmp_path / "jobs.db",
        connect=lambda path: sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Watched),
    )
    with closing(engine), closing(engine.bell(1)) as bell:
        engine.put([new()])  # the first one makes the queue known
        bell.heard()
        time.sleep(2 * QUIET_S)
        heard.clear()
        engine.put([new()])
        assert heard == [True]
        assert bell.heard()  # once more after the commit


def test_a_task_for_later_wakes_nobody(engine: SqliteEngine, new: TaskMaker) -> None:
    with closing(engine.bell(1)) as bell:
        for _ in range(2):
            engine.put([new(in_s=60)])
        assert not bell.heard()


def test_a_bell_that_is_hung_up_later_is_rung_too(engine: SqliteEngine, new: TaskMaker) -> None:
    with ExitStack() as stack:
        for _ in range(5):
            bell = stack.enter_context(closing(engine.bell(1)))
            engine.put([new()])
            assert bell.wait(0)


def test_nobody_but_the_owner_may_open_a_bell(engine: SqliteEngine) -> None:
    with closing(engine.bell(1)):
        (fifo,) = hanging(engine)
        assert engine.bells.stat().st_mode & 0o777 == 0o700
        assert fifo.stat().st_mode & 0o777 == 0o600


def test_what_was_left_by_one_killed_while_it_hung_up_its_bell_is_cleared_away(engine: SqliteEngine) -> None:
    with closing(engine.bell(1)):
        (fifo,) = hanging(engine)
        forgotten, new, foreign = (fifo.with_name(name) for name in (".0000be11-0a", ".0000be11-0b", ".notes"))
        for path in (forgotten, new, foreign):
            os.mkfifo(path)
        for path in (forgotten, foreign):
            os.utime(path, (time.time() - 7_200,) * 2)
        with closing(engine.bell(2)):
            assert not forgotten.exists()
            assert new.exists()  # its owner may be about to hang it up
            assert foreign.exists()


def test_the_lock_on_a_bell_is_its_owners_pulse(engine: SqliteEngine) -> None:
    with other_dispatcher(engine) as other:
        (fifo,) = hanging(engine)
        assert owner_lives(fifo)
        kill(other)
        assert not owner_lives(fifo)


@pytest.mark.parametrize("rung_before", [True, False])
def test_the_bell_of_a_killed_dispatcher_stops_nobody(engine: SqliteEngine, new: TaskMaker, rung_before: bool) -> None:
    with other_dispatcher(engine) as other, closing(engine.bell(2)) as bell:
        if rung_before:
            engine.put([new()])
        kill(other)
        bell.heard()
        task = new()
        assert engine.put([task]) == [Stored(task.id)]
        assert bell.heard()


def test_a_bell_is_readable_until_what_was_rung_is_heard(engine: SqliteEngine) -> None:
    with closing(engine.bell(1)) as bell:
        assert isinstance(bell, PollableBell)
        assert not is_readable(bell)
        assert not bell.heard()
        bell.ring()
        bell.ring()
        assert is_readable(bell)
        assert bell.heard()
        assert not is_readable(bell)
        assert not bell.heard()


def test_the_name_of_a_bell_says_whose_it_is(engine: SqliteEngine) -> None:
    with closing(engine.bell(0xBE11)), closing(engine.bell(0xFFFFFFFF)):
        assert {fifo.name[:9] for fifo in hanging(engine)} == {"0000be11-", "ffffffff-"}


def test_a_dispatcher_that_never_listens_blocks_nobody(engine: SqliteEngine, new: TaskMaker) -> None:
    with closing(engine.bell(1)) as bell:
        for _ in range(70_000):  # more than a pipe holds
            bell.ring()
        task = new()
        assert engine.put([task]) == [Stored(task.id)]
        assert bell.wait(0)


def test_a_folder_that_cannot_be_read_costs_nobody_a_task(engine: SqliteEngine, new: TaskMaker) -> None:
    engine.bells.write_text("not a folder")
    task = new()
    assert engine.put([task]) == [Stored(task.id)]
    engine.bells.unlink()
    with closing(engine.bell(1)) as bell:
        engine.put([new()])
        assert bell.wait(0)


def test_a_bell_for_which_no_descriptor_was_free_is_rung_the_next_time(
    engine: SqliteEngine, new: TaskMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open

    def no_descriptor_is_free(path: str | Path, flags: int, *args: int) -> int:
        if str(engine.bells) in str(path):
            raise OSError(errno.EMFILE, "Too many open files")
        return real_open(path, flags, *args)

    with closing(engine.bell(1)) as bell:
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", no_descriptor_is_free)
            engine.put([new()])
        assert not bell.wait(0)
        engine.put([new()])
        assert bell.wait(0)


def test_a_folder_that_was_removed_costs_nobody_a_task(engine: SqliteEngine, new: TaskMaker) -> None:
    bell = engine.bell(1)
    (fifo,) = hanging(engine)
    fifo.unlink()
    engine.bells.rmdir()
    engine.put([new()])
    bell.close()
    engine.put([new()])
    assert engine.counts().queues[0].ready == 2


def test_bells_come_and_go_while_others_ring(engine: SqliteEngine) -> None:
    """Every thread that puts does so without an error, and every bell that hangs is rung."""
    clock = FakeClock()
    makers = [TaskMaker(FakeClock(clock() + number * 1_000_000)) for number in range(4)]
    stop = threading.Event()

    def put(new: TaskMaker) -> int:
        number = 0
        while not stop.is_set():
            engine.put([new()])
            number += 1
        return number

    with ThreadPoolExecutor(4) as pool:
        putting = [pool.submit(put, new) for new in makers]
        try:
            for _ in range(150):
                with closing(engine.bell(1)) as bell:
                    assert bell.wait(10)
        finally:
            stop.set()
        stored = sum(each.result(10) for each in putting)
    assert engine.counts(cap=stored + 1).queues[0].ready == stored
    assert hanging(engine) == []


def stays_empty(folder: Path, close: Callable[[], None]) -> None:
    """Whoever still rings what was closed must not write into the file that is opened next."""
    close()
    victim = folder / "victim"
    with victim.open("wb", buffering=0):
        time.sleep(0.002)
    assert victim.read_bytes() == b""


def test_ringing_a_bell_that_is_closed_meanwhile_writes_into_no_other_file(
    engine: SqliteEngine, tmp_path: Path
) -> None:
    for _ in range(30):
        bell = engine.bell(1)
        stop = threading.Event()
        ringer = threading.Thread(target=lambda bell=bell, stop=stop: [bell.ring() for _ in iter(stop.is_set, True)])
        ringer.start()
        try:
            stays_empty(tmp_path, bell.close)
        finally:
            stop.set()
            ringer.join(10)


def test_the_bells_of_an_engine_are_closed_without_a_write_into_another_file(
    engine: SqliteEngine, tmp_path: Path
) -> None:
    stop = threading.Event()

    def ring() -> None:
        while not stop.is_set():
            engine._ring()

    ringer = threading.Thread(target=ring)
    ringer.start()
    try:
        for _ in range(30):
            bell = engine.bell(1)
            stays_empty(tmp_path, bell.close)
    finally:
        stop.set()
        ringer.join(10)


def test_a_bell_that_lives_to_the_end_of_the_interpreter_goes_in_silence(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that ended while a task went on has left its bell hanging; by then modules are gone."""
    with closing(engine.bell(1)) as bell, monkeypatch.context() as patched:
        patched.setattr(bells, "contextlib", None)
        patched.setattr(bells, "os", None)
        bell.__del__()


def test_closing_a_bell_twice_is_fine(engine: SqliteEngine) -> None:
    bell = engine.bell(1)
    bell.close()
    bell.close()
    bell.ring()
    assert hanging(engine) == []


def test_an_engine_closed_by_another_thread_fails_no_put_that_was_stored(tmp_path: Path) -> None:
    """Its bells and its gate are gone by the time the caller wants to ring."""
    engine = SqliteEngine(tmp_path / "closed.db", synchronous="OFF")
    new = TaskMaker(engine.now)
    engine.open()
    commit = engine._commits.put

    def close_then_answer(tasks: object) -> object:
        answers = commit(tasks)  # type: ignore[arg-type]
        engine.close()
        return answers

    engine._commits.put = close_then_answer  # type: ignore[method-assign,assignment]
    task = new()
    assert engine.put([task]) == [Stored(task.id)]
