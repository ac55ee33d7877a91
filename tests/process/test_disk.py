"""Real workers while the disk fails: they say so once, wait, and go on by themselves. No task is lost or runs twice."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from deferq import Deferq, State, StoreUnavailable, TaskHandle
from deferq.engines.sqlite import SqliteEngine
from tests.cli.processes import Running
from tests.faults.disks import Disk, mounted
from tests.process.farm import APP, Farm, until

import child_tasks  # isort: skip  # the application, by the name that its workers know it by

pytestmark = [pytest.mark.slow, pytest.mark.programme]
#: As long as a trouble lasts at least, in seconds: a busy loop would take most of it.
TROUBLE_S = 3.0
EMBEDDED = """
import sys, time
from deferq import Deferq
sys.path.insert(0, sys.argv[2])
deferq = Deferq(sys.argv[1], app="child_tasks")
deferq.worker(threads=4).start()
print("ready", flush=True)
time.sleep(600)
"""


class FarmElsewhere(Farm):
    """The store lies in a folder of its own, so that it may go without the traces that tasks leave."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder = folder
        self.store = store
        self.url = f"sqlite:///{store}/jobs.db"
        self.deferq = Deferq(self.url)
        self.deferq.engine.counts()


@pytest.fixture(autouse=True)
def in_a_project_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DEFERQ_")]:
        monkeypatch.delenv(name)
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk", "4m") as disk:
        yield disk


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[FarmElsewhere]:
    store = tmp_path / "store"
    store.mkdir()
    farm = FarmElsewhere(tmp_path, store)
    yield farm
    farm.deferq.close()


Start = Callable[[Farm], Running]


def a_worker(farm: Farm) -> Running:
    running = farm.worker("--children", "1")
    running.wait_for("is ready: pid ")
    return running


def embedded(farm: Farm) -> Running:
    running = Running(farm.folder, farm.url, str(APP.parent), command=("-c", EMBEDDED))
    running.wait_for("ready")
    return running


def an_embedded_worker(farm: Farm) -> Running:
    running = embedded(farm)
    assert farm.put(child_tasks.give, 5).wait(20) == 5
    return running


either = pytest.mark.parametrize("start", [a_worker, an_embedded_worker], ids=["a worker", "an embedded worker"])


def cpu_s(pid: int) -> float:
    """Processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def sit_it_out(running: Running) -> None:
    """While there is trouble a worker says so once, and leaves the store in peace."""
    running.wait_for("the store is out of reach")
    lines, cpu = len(running.lines), cpu_s(running.process.pid)
    time.sleep(TROUBLE_S)
    assert running.process.poll() is None, running.output
    assert len(running.lines) <= lines + 2, running.output
    assert cpu_s(running.process.pid) - cpu < TROUBLE_S / 3


def wait_until_back(running: Running, farm: Farm, handles: list[TaskHandle]) -> None:
    """It goes on by itself; what ran meanwhile is settled, and nothing has run twice."""
    running.wait_for("the store is back")
    farm.wait_all(handles)
    assert farm.states(handles) == {State.SUCCEEDED: len(handles)}
    assert set(farm.times_run().values()) == {1}
    assert len([line for line in running.lines if "the store is out of reach" in line]) == 1, running.output


def put_until_refused(farm: Farm) -> None:
    """Until the log has no room left."""
    refused = ""
    while not refused:
        try:
            farm.put(child_tasks.take, bytes(1_000), countdown=3600)
        except StoreUnavailable as error:
            refused = str(error)
    assert "the disk is full" in refused


def hold_some(farm: Farm) -> list[TaskHandle]:
    handles = [farm.put(child_tasks.hold) for _ in range(3)]
    for handle in handles:
        farm.wait_for_run(handle)
    return handles


def let_go(farm: Farm) -> None:
    (farm.folder / "go").touch()


@either
def test_a_full_disk(tmp_path: Path, disk: Disk, start: Start) -> None:
    farm = FarmElsewhere(tmp_path, disk.folder)
    with start(farm) as running:
        handles = [farm.put(child_tasks.hold_and_give, 300_000) for _ in range(3)]
        for handle in handles:
            farm.wait_for_run(handle)
        disk.fill()
        with pytest.raises(StoreUnavailable, match="the disk is full"):
            farm.put_many(child_tasks.take, [(bytes(500_000),)] * 3)
        put_until_refused(farm)
        let_go(farm)
        sit_it_out(running)
        disk.free()
        wait_until_back(running, farm, handles)
        assert farm.put(child_tasks.give, 5).wait(20) == 5
    assert farm.deferq.engine.check(full=True) == []  # type: ignore[attr-defined]
    farm.deferq.close()


@either
def test_a_folder_that_is_moved_away_and_back(farm: FarmElsewhere, start: Start) -> None:
    with start(farm) as running:
        handles = hold_some(farm)
        farm.store.rename(farm.folder / "away")
        let_go(farm)
        sit_it_out(running)
        assert not farm.store.exists()
        (farm.folder / "away").rename(farm.store)
        wait_until_back(running, farm, handles)
        assert farm.put(child_tasks.give, 5).wait(20) == 5


@either
def test_a_letter_in_the_place_of_the_store(farm: FarmElsewhere, start: Start) -> None:
    """It is not overwritten, and the store is used again once it is back."""
    letter = b"a letter to a friend\n" * 1000
    with start(farm) as running:
        handles = hold_some(farm)
        farm.store.rename(farm.folder / "away")
        farm.store.mkdir()
        (farm.store / "jobs.db").write_bytes(letter)
        (farm.store / "jobs.db").chmod(0o600)
        let_go(farm)
        sit_it_out(running)
        assert (farm.store / "jobs.db").read_bytes() == letter
        assert {file.name for file in farm.store.iterdir()} <= {"jobs.db", "jobs.db-gate"}
        shutil.rmtree(farm.store)
        (farm.folder / "away").rename(farm.store)
        wait_until_back(running, farm, handles)


@either
def test_a_backup_in_the_place_of_the_store(farm: FarmElsewhere, start: Start) -> None:
    """What the backup does not know of is no loss of its own; what it holds is done."""
    backup = farm.folder / "backup"
    with start(farm) as running:
        backup.mkdir(mode=0o700)
        with closing(SqliteEngine(backup / "jobs.db")) as engine:
            engine.open()
        shutil.copy2(farm.store / "jobs.db-secret", backup)
        farm.store.rename(farm.folder / "away")
        backup.rename(farm.store)
        running.wait_for("the store is out of reach")
        with Deferq(farm.url) as deferq:
            assert deferq.call(child_tasks.give, 5).defer().wait(20) == 5
        running.wait_for("the store is back")


@either
def test_a_log_and_a_gate_that_somebody_deletes(farm: FarmElsewhere, start: Start) -> None:
    with start(farm):
        handles = hold_some(farm)
        farm.deferq.close()
        for end in ("-wal", "-gate"):
            (farm.store / f"jobs.db{end}").unlink()
        time.sleep(1)
        with Deferq(farm.url) as farm.deferq:
            let_go(farm)
            until(lambda: have_succeeded(farm, handles), "they have not ended", 60)
            assert farm.deferq.engine.check(full=True) == []  # type: ignore[attr-defined]
    assert set(farm.times_run().values()) == {1}


def have_succeeded(farm: FarmElsewhere, handles: list[TaskHandle]) -> bool:
    """Who opens the store in the moment in which a worker gives it a new log may be told to try again."""
    with suppress(StoreUnavailable):
        return farm.states(handles) == {State.SUCCEEDED: len(handles)}
    return False


@either
def test_a_folder_of_bells_that_somebody_deletes(farm: FarmElsewhere, start: Start) -> None:
    """The worker hangs up its bell again: it is woken, and its death is seen at once."""
    bells = farm.store / "jobs.db-bells"
    with start(farm) as running:
        shutil.rmtree(bells)
        until(lambda: bells.is_dir() and list(bells.glob("[!.]*")), "no bell hangs there again")
        assert farm.put(child_tasks.give, 5).wait(20) == 5
        (handle, *_) = hold_some(farm)
        running.send_to_all(signal.SIGKILL)
        running.process.wait()
        let_go(farm)
        with start(farm):
            assert handle.wait(20) == "through"  # its lease would have lasted for 30 seconds, or 120
    assert len(farm.runs(handle)) == 2


def test_a_worker_that_finds_no_store_says_why_and_ends(farm: FarmElsewhere) -> None:
    farm.deferq.close()
    shutil.rmtree(farm.store)
    with farm.worker() as running:
        assert running.exit_code() == 2
        running.wait_for_silence()
    assert f"The folder {farm.store} of the store cannot be used" in running.output
    assert not farm.store.exists()


def test_an_embedded_worker_that_finds_no_store_waits_for_it(farm: FarmElsewhere) -> None:
    """It must not end its web process, and there is nobody who would start it again."""
    away = farm.folder / "away"
    handle = farm.put(child_tasks.give, 5)
    farm.deferq.close()
    farm.store.rename(away)
    with embedded(farm) as running:
        running.wait_for("the worker failed; it will try again")
        time.sleep(1)
        away.rename(farm.store)
        with Deferq(farm.url) as deferq:
            until(lambda: deferq.task(handle.id).state is State.SUCCEEDED, "it has not run")
        assert len([line for line in running.lines if "it will try again" in line]) == 1


def test_a_worker_can_be_stopped_while_its_store_is_gone(farm: FarmElsewhere) -> None:
    """What it could not store runs again: nobody can know better."""
    with farm.worker("--children", "1", "--drain-s", "1") as running:
        running.wait_for("is ready: pid ")
        (handle, *_) = hold_some(farm)
        farm.store.rename(farm.folder / "away")
        let_go(farm)
        running.wait_for("the store is out of reach")
        running.send(signal.SIGTERM)
        assert running.exit_code() == 0, running.output
        running.wait_for_silence()
    assert "Traceback" not in running.output
    (farm.folder / "away").rename(farm.store)
    with a_worker(farm):
        assert handle.wait(20) == "through"
