"""What goes wrong with files and disks: one clear error, nothing half stored, and on it goes afterwards."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from deferq.engines.answers import Stored
from deferq.engines.sqlite import SqliteEngine, connections, readers
from deferq.engines.sqlite import engine as engine_module
from deferq.engines.sqlite.connections import connect
from deferq.engines.sqlite.trouble import translate
from deferq.errors import StoreCorrupt, StoreError, StoreUnavailable
from deferq.model.outcome import SUCCEEDED
from tests.support import FakeClock, TaskMaker, lease, settle_each

MakeEngine = Callable[..., SqliteEngine]
not_root = pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not stop root")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deferq.db"


@pytest.fixture
def make(path: Path, clock: FakeClock) -> Iterator[MakeEngine]:
    """`make(connect=...)` is an engine on the same file."""
    made: list[SqliteEngine] = []

    def make_one(**options: object) -> SqliteEngine:
        made.append(SqliteEngine(path, clock=clock, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make_one
    for one in made:
        one.close()


class Disk:
    """A `connect` whose database may grow only so far, as on a disk that is full."""

    def __init__(self) -> None:
        self._pages = 1_000_000_000
        self._connections: list[sqlite3.Connection] = []

    def __call__(self, path: str) -> sqlite3.Connection:
        connection = connect(path)
        self._connections.append(connection)
        connection.execute(f"pragma max_page_count = {self._pages}")
        return connection

    def fill(self, pages: int = 1) -> None:
        """From now on the file does not grow."""
        self._pages = pages
        for connection in self._connections:
            with suppress(sqlite3.ProgrammingError):  # it is closed
                connection.execute(f"pragma max_page_count = {pages}")

    def free(self) -> None:
        self.fill(1_000_000_000)


# ---- a disk that is full


def test_a_full_disk_is_told_with_advice_and_costs_nothing_that_was_stored(make: MakeEngine, new: TaskMaker) -> None:
    disk = Disk()
    engine = make(connect=disk)
    stored = new.many(10)
    engine.put(stored)
    disk.fill()
    with pytest.raises(StoreUnavailable, match="the disk is full; free some space") as caught:
        engine.put([new(payload=b"x" * 500_000)])
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert "full" in str(caught.value.__cause__)
    assert [task.id for task in engine.get([task.id for task in stored])] == [task.id for task in stored]
    assert engine.check(full=True) == []


def test_on_a_full_disk_work_goes_on_that_needs_no_space(make: MakeEngine, new: TaskMaker) -> None:
    disk = Disk()
    engine = make(connect=disk)
    engine.put(new.many(20))
    disk.fill()
    leased = lease(engine, 20)
    assert len(leased) == 20
    settle_each(engine, leased[:1], SUCCEEDED)
    assert engine.counts().succeeded == 1


def test_once_there_is_space_again_everything_goes_on(make: MakeEngine, new: TaskMaker) -> None:
    disk = Disk()
    engine = make(connect=disk)
    engine.put(new.many(1))
    disk.fill()
    task = new(payload=b"x" * 500_000)
    with pytest.raises(StoreUnavailable):
        engine.put([task])
    disk.free()
    assert engine.put([task]) == [Stored(task.id)]
    assert engine.details(task.id).payload == task.payload


def test_on_a_full_disk_a_large_put_does_not_fail_the_small_ones_beside_it(make: MakeEngine, new: TaskMaker) -> None:
    disk = Disk()
    engine = make(connect=disk)
    engine.put(new.many(50))
    disk.fill()
    batches = [[new(payload=b"x" * 500_000)] if number % 4 == 0 else [new()] for number in range(16)]

    def put(batch: list[object]) -> bool:
        try:
            engine.put(batch)  # type: ignore[arg-type]
        except StoreUnavailable:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(put, batches))
    stored = {task.id for task in engine.get([task.id for batch in batches for task in batch])}
    assert stored == {batch[0].id for batch, answer in zip(batches, answers, strict=True) if answer}
    assert answers[::4] == [False] * 4


def test_a_new_store_on_a_full_disk_can_be_opened_once_there_is_space(make: MakeEngine, new: TaskMaker) -> None:
    disk = Disk()
    disk.fill(3)
    engine = make(connect=disk)
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        engine.open()
    disk.free()
    task = new()
    assert engine.put([task]) == [Stored(task.id)]


# ---- folders and permissions


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, clock: FakeClock, new: TaskMaker) -> None:
    folder = tmp_path / "gone"
    engine = SqliteEngine(folder / "deferq.db", clock=clock)
    with pytest.raises(StoreUnavailable, match=f"{folder} of the store cannot be used.*Make it"):
        engine.put(new.many(1))
    folder.mkdir()
    task = new()
    assert engine.put([task]) == [Stored(task.id)]
    engine.close()


def test_a_folder_removed_before_the_second_use_is_told(tmp_path: Path, clock: FakeClock, new: TaskMaker) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with closing(SqliteEngine(folder / "deferq.db", clock=clock)) as engine:
        engine.put(new.many(1))
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    with closing(SqliteEngine(folder / "deferq.db", clock=clock)) as engine, pytest.raises(StoreUnavailable):
        engine.counts()


@not_root
def test_a_file_that_may_not_be_written_is_told(make: MakeEngine, path: Path, new: TaskMaker) -> None:
    make().put(new.many(1))
    path.chmod(0o400)
    with pytest.raises(StoreUnavailable, match=r"may not be written|cannot be opened"):
        make().put(new.many(1))


@not_root
def test_a_folder_that_may_not_be_written_is_told(make: MakeEngine, path: Path, new: TaskMaker) -> None:
    path.parent.chmod(0o500)
    try:
        with pytest.raises(StoreUnavailable, match="Is its folder writable"):
            make().put(new.many(1))
    finally:
        path.parent.chmod(0o700)


def test_a_store_that_turned_read_only_is_told_and_still_read(make: MakeEngine, path: Path, new: TaskMaker) -> None:
    opened: list[sqlite3.Connection] = []
    writable = True

    def noted(path: str) -> sqlite3.Connection:
        opened.append(connect(path))
        if not writable:
            opened[-1].execute("pragma query_only = on")
        return opened[-1]

    engine = make(connect=noted)
    engine.put(new.many(2))
    writable = False
    opened[-1].execute("pragma query_only = on")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="may not be written; look at owner and permissions") as caught:
            engine.put(new.many(1))
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert engine.counts().queues[0].ready == 2
    writable = True
    task = new()
    assert engine.put([task]) == [Stored(task.id)]


# ---- other programs


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Another program has a transaction open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        yield
        other.execute("rollback")


def test_a_program_that_keeps_the_write_lock_is_told(
    make: MakeEngine, path: Path, new: TaskMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BUSY_TIMEOUT_MS", 50)
    monkeypatch.setattr(readers, "writer", lambda path: os.getppid())  # as if it were one
    engine = make()
    engine.put(new.many(1))
    with write_lock(path), pytest.raises(StoreUnavailable, match="another program held the write lock too long"):
        engine.put(new.many(1))
    task = new()
    assert engine.put([task]) == [Stored(task.id)]


def test_sixteen_callers_wait_for_a_foreign_lock_together_and_not_in_turn(
    make: MakeEngine, path: Path, new: TaskMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BUSY_TIMEOUT_MS", 100)
    waits: list[str] = []

    class Noting(sqlite3.Connection):
        def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:  # type: ignore[override]
            if sql.startswith(("begin immediate", "insert")):
                waits.append(sql)
            return super().execute(sql, *parameters)  # type: ignore[arg-type]

    engine = make(
        connect=lambda path: sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Noting)
    )
    engine.put(new.many(1))
    waits.clear()
    tasks = new.many(16)

    def put(number: int) -> bool:
        try:
            engine.put([tasks[number]])
        except StoreUnavailable:
            return False
        return True

    with write_lock(path), ThreadPoolExecutor(16) as pool:
        assert not any(pool.map(put, range(16)))
    assert len(waits) < 6


@pytest.mark.parametrize("content", [b"this is not a database, but it is long enough to be one" * 100, b"short"])
def test_a_file_that_is_no_database_is_left_as_it_is(
    make: MakeEngine, path: Path, new: TaskMaker, content: bytes
) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises((StoreCorrupt, StoreError), match="It was left as it is"):
        make().put(new.many(1))
    assert path.read_bytes() == content


def test_a_store_cut_short_is_left_as_it_is(make: MakeEngine, path: Path, new: TaskMaker) -> None:
    engine = make()
    engine.put(new.many(500))
    engine.close()
    path.write_bytes(path.read_bytes()[: 4096 * 5])
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match=r"truncated|malformed"):
        make().counts()
    assert path.read_bytes() == before


def test_a_change_that_no_row_allows_is_damage_or_a_mistake_of_ours(make: MakeEngine, new: TaskMaker) -> None:
    engine = make()
    with pytest.raises(StoreError, match=r"refused a change .*priority_is_bounded.*doctor --deep") as caught:
        engine.put([new(priority=500)])
    assert type(caught.value) is StoreError
    engine.put([new()])


def test_a_row_that_claims_to_be_huge_is_no_end_of_memory_for_whoever_asks() -> None:
    assert isinstance(translate(MemoryError(), "jobs.db"), StoreUnavailable)


# ---- closing in the middle of everything


def test_a_store_that_is_closed_while_threads_use_it_says_so_and_nothing_else(
    make: MakeEngine, path: Path, new: TaskMaker
) -> None:
    engine = make(synchronous="OFF")
    makers = [TaskMaker(FakeClock(new().eta + number * 1_000_000)) for number in range(1, 5)]
    acknowledged: list[list[int]] = [[] for _ in makers]
    warm = threading.Barrier(len(makers) + 1)

    def use(number: int) -> Exception:
        engine.put([makers[number]()])
        warm.wait(10)
        while True:
            try:
                answer = engine.put([makers[number]()])[0]
                acknowledged[number].append(answer.id)
                engine.counts()
            except Exception as error:
                return error

    with ThreadPoolExecutor(len(makers)) as pool:
        using = [pool.submit(use, number) for number in range(len(makers))]
        warm.wait(10)
        while not all(acknowledged):
            pass
        engine.close()
        errors = [each.result(10) for each in using]
    assert [type(error) for error in errors] == [StoreUnavailable] * len(makers)
    ids = [task_id for batch in acknowledged for task_id in batch]
    assert len(make().get(ids)) == len(ids)


# ---- a file that is gone


@pytest.mark.parametrize("replaced", [False, True])
def test_a_store_deleted_while_it_is_open_takes_no_more_tasks(
    make: MakeEngine, path: Path, new: TaskMaker, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    monkeypatch.setattr(engine_module, "LOOK_EVERY_S", 0.0)
    engine = make()
    engine.put([new()])
    path.unlink()
    if replaced:
        path.touch(0o600)
    with pytest.raises(StoreUnavailable, match="deleted or replaced while it was open"):
        engine.put([new()])
    with pytest.raises(StoreUnavailable, match="start this process again"):
        engine.counts()


def test_connections_that_cannot_read_the_file_are_closed(path: Path) -> None:
    made: list[sqlite3.Connection] = []

    def connect_to(name: str) -> sqlite3.Connection:
        made.append(connect(name))
        return made[-1]

    path.write_bytes(b"no database at all" * 100)
    rooms = connections.Connections(path, "FULL", connect_to)
    with pytest.raises(sqlite3.DatabaseError), rooms.reader():
        pass
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        made[0].execute("select 1")


def test_a_folder_of_bells_that_cannot_be_made_is_told(make: MakeEngine) -> None:
    engine = make()
    engine.open()
    engine.bells.write_text("in the way")
    with pytest.raises(StoreUnavailable, match="bells cannot be used"):
        engine.bell(1)
