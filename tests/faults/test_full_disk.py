"""A disk that is full, or a limit of the process: a clear error, nothing lost, and on it goes once there is space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deferq.engines.answers import Stored
from deferq.engines.sqlite import SqliteEngine
from deferq.errors import StoreUnavailable
from deferq.model.outcome import SUCCEEDED
from deferq.model.task import NewTask
from tests.faults.disks import Disk, mounted, run
from tests.support import FakeClock, TaskMaker, lease, settle_each


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk") as disk:
        yield disk


def test_a_full_disk_is_told_and_everything_goes_on_once_there_is_space(
    disk: Disk, clock: FakeClock, new: TaskMaker
) -> None:
    with closing(SqliteEngine(disk.folder / "jobs.db", clock=clock)) as engine:
        stored = new.many(5)
        engine.put(stored)
        disk.fill()
        refused = []
        for size in (50_000, 100, 100, 50_000):
            refused.append(put_until_refused(engine, lambda size=size: new(payload=b"x" * size), stored))  # type: ignore[misc]
        assert engine.counts().queues[0].ready == len(stored)
        disk.free()
        assert engine.put(refused) == [Stored(task.id) for task in refused]
        stored += refused
        assert {task.id for task in engine.get([task.id for task in stored])} == {task.id for task in stored}
        leased = lease(engine, 50)
        settle_each(engine, leased, SUCCEEDED)
        assert engine.counts().succeeded == len(leased) == len(stored)
        assert engine.check(full=True) == []


def put_until_refused(engine: SqliteEngine, make: Callable[[], NewTask], stored: list[NewTask]) -> NewTask:
    """The log may have some room left. Adds to `stored`; returns the task that was refused."""
    while True:
        task = make()
        try:
            engine.put([task])
        except StoreUnavailable as error:
            told = str(error)
            break
        stored.append(task)
    assert "jobs.db did not answer" in told
    assert "the disk is full; free some space" in told
    return task


OPEN_AND_PUT = """
import os, sys
from deferq.engines.sqlite import SqliteEngine
from deferq.errors import StoreUnavailable
from tests.support import FakeClock, TaskMaker

clock = FakeClock()
engine, new = SqliteEngine(sys.argv[1], clock=clock), TaskMaker(clock)
tasks = new.many(3, payload=bytes(3000))
try:
    engine.put(tasks)
    print("stored")
except StoreUnavailable as error:
    print(error)
os.unlink(sys.argv[2])
print(len(engine.put(tasks)), engine.counts().queues[0].ready, engine.check())
"""


@pytest.mark.parametrize(
    "free",
    [
        2,
        10,
        *(
            pytest.param(pages, marks=(pytest.mark.slow, pytest.mark.programme))
            for pages in (0, 1, 3, 8, 9, 11, 12, 20, 40)
        ),
    ],
)
def test_a_new_store_on_a_full_disk_is_refused_and_works_once_there_is_space(disk: Disk, free: int) -> None:
    """Wherever the space ends: at the database, the gate, the log or its index, of which two are mapped into memory."""
    disk.fill(leave=free * 4096)
    first, second = run(OPEN_AND_PUT, disk.folder / "jobs.db", disk.folder / "ballast").splitlines()
    assert first == "stored" or ("space" in first and str(disk.folder / "jobs.db") in first)
    assert (first == "stored") == (free >= 40)
    assert second == "3 3 []"


NO_GATE = """
import sys
from pathlib import Path
from deferq.engines.sqlite import SqliteEngine
from deferq.errors import StoreUnavailable
from tests.faults.disks import Disk
from tests.support import FakeClock, TaskMaker

disk = Disk(Path(sys.argv[1]))
clock = FakeClock()
other, new = SqliteEngine(disk.folder / "jobs.db", clock=clock), TaskMaker(clock)
other.put(new.many(1))
(disk.folder / "jobs.db-gate").unlink()
engine = SqliteEngine(disk.folder / "jobs.db", clock=clock)
disk.fill()
try:
    engine.stalled()
except StoreUnavailable as error:
    print(error)
disk.free()
print(engine.stalled(), engine.counts().queues[0].ready)
"""


def test_a_gate_for_which_there_is_no_space_is_told(disk: Disk) -> None:
    """It is mapped into memory: without space behind it, the kernel would end the process (SIGBUS)."""
    first, second = run(NO_GATE, disk.folder).splitlines()
    assert "jobs.db-gate cannot be opened (No space left on device)" in first
    assert second == "[] 1"


LIMITED = """
import resource, sys
from deferq.engines.sqlite import SqliteEngine
from deferq.errors import StoreUnavailable
from tests.support import FakeClock, TaskMaker

_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
clock = FakeClock()
engine, new = SqliteEngine(sys.argv[1], clock=clock), TaskMaker(clock)
engine.put(new.many(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
stored, errors = 0, []
while len(errors) < 3:
    task = new(payload=bytes(20_000))
    try:
        engine.put([task])
        stored += 1
    except StoreUnavailable as error:
        errors.append((task, error))
print(errors[0][1])
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
engine.put([task for task, _ in errors])
print(stored > 3, engine.counts().queues[0].ready == stored + 4, engine.check())
"""


def test_a_limit_on_the_size_of_files_is_told_and_costs_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """The kernel says "file too large", and SQLite that writing failed."""
    said, after = run(LIMITED, tmp_path / "jobs.db").splitlines()
    assert "reading or writing the file failed; look at the disk, its free space and its limits" in said
    assert after == "True True []"
    with closing(SqliteEngine(tmp_path / "jobs.db", clock=clock)) as engine:
        assert engine.check(full=True) == []


FIRST_SECRET = """
import os, sys
from deferq import Deferq, StoreUnavailable
from tests.support.sample_tasks import add

deferq = Deferq(f"sqlite:///{sys.argv[1]}")
deferq.engine.counts()
try:
    while True:
        with open(sys.argv[2], "ab", buffering=0) as ballast:
            ballast.write(bytes(4096))
except OSError:
    pass
try:
    deferq.defer(add, 1, 2)
except StoreUnavailable as error:
    print(error)
print(*sorted(name for name in os.listdir(os.path.dirname(sys.argv[1])) if "secret" in name))
os.unlink(sys.argv[2])
print(deferq.defer(add, 1, 2).state.name)
"""


def test_a_secret_for_which_there_is_no_space_is_not_left_half_written(disk: Disk) -> None:
    said, files, state = run(FIRST_SECRET, disk.folder / "jobs.db", disk.folder / "ballast").splitlines()
    assert "jobs.db-secret cannot be made (No space left on device)" in said
    assert (files, state) == ("", "PENDING")
