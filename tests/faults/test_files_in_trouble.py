"""Files that are deleted, moved, replaced, read-only or damaged while the store is open: nothing is overwritten.

Whoever defers is told what happened and what to do, and goes on by itself once the trouble is over.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from deferq.engines.answers import Stored
from deferq.engines.base import Cancel, Filter, Retention
from deferq.engines.sqlite import SqliteEngine
from deferq.engines.sqlite import engine as engine_module
from deferq.errors import StoreCorrupt, StoreError, StoreUnavailable
from deferq.model.outcome import SUCCEEDED
from deferq.model.queue import Queue
from deferq.model.settings import Declare
from deferq.model.task import NewTask
from tests.faults.disks import mounted
from tests.support import FakeClock, TaskMaker, lease, settle_each, sized, tried, want

MakeEngine = Callable[..., SqliteEngine]
LARGE = b"large " * 400


@pytest.fixture(autouse=True)
def looking_at_every_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "LOOK_EVERY_S", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder / "deferq.db"


@pytest.fixture
def make(path: Path, clock: FakeClock) -> Iterator[MakeEngine]:
    """`make()` is an engine on the file."""
    made: list[SqliteEngine] = []

    def make_one(at: Path = path) -> SqliteEngine:
        made.append(SqliteEngine(at, clock=clock, synchronous="OFF"))
        return made[-1]

    yield make_one
    for one in made:
        one.close()


def there(engine: SqliteEngine, tasks: list[NewTask]) -> bool:
    return {task.id for task in engine.get([task.id for task in tasks])} == {task.id for task in tasks}


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def other_store(folder: Path, clock: FakeClock, tasks: list[NewTask]) -> None:
    """A store somewhere else, whole and closed."""
    folder.mkdir()
    with closing(SqliteEngine(folder / "deferq.db", clock=clock, synchronous="OFF")) as engine:
        engine.put(tasks)


# ---- gone, and back again


@pytest.mark.parametrize("what", ["the file", "the folder"])
def test_what_was_moved_away_is_used_again_once_it_is_back(
    make: MakeEngine, path: Path, new: TaskMaker, what: str
) -> None:
    engine = make()
    tasks = new.many(3)
    engine.put(tasks)
    moved = path if what == "the file" else path.parent
    away = path.parent.parent / "away"
    moved.rename(away)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=r"was deleted or replaced while it was open. Put it back"):
            engine.put(new.many(1))
        with pytest.raises(StoreUnavailable, match="Nothing was changed"):
            engine.counts()
    assert not moved.exists()
    away.rename(moved)
    more = new.many(1)
    assert engine.put(more) == [Stored(more[0].id)]
    assert there(engine, tasks + more)
    assert engine.counts().queues[0].ready == 4


def test_a_store_put_in_the_place_of_the_old_one_is_opened_and_the_old_one_left_alone(
    make: MakeEngine, path: Path, clock: FakeClock, new: TaskMaker
) -> None:
    """A backup was put back, say, with the folder it lies in."""
    engine, second = make(), make()
    old = new.many(3)
    for one in (engine, second):
        one.put(old)
        assert lease(one, 1)
    before = descriptors()
    theirs = new.many(2, "other")
    other_store(path.parent.parent / "new", clock, theirs)
    away = path.parent.parent / "away"
    path.parent.rename(away)
    kept = content(away)
    (path.parent.parent / "new").rename(path.parent)
    for one in (engine, second):
        with pytest.raises(StoreUnavailable, match="The next use opens what stands there now"):
            one.put(new.many(1))
        assert there(one, theirs)
        # The queue is one that the old store knew, and the new one does not.
        more = new.many(1)
        assert one.put(more) == [Stored(more[0].id)]
        assert there(one, more)
        assert len(lease(one, 1, queues=("default",))) == 1
    assert content(away) == kept
    assert descriptors() <= before + 2
    engine.close()
    second.close()
    with closing(SqliteEngine(away / "deferq.db", clock=clock)) as again:
        assert there(again, old)


def test_a_database_put_beside_the_log_of_the_old_one_is_not_opened(
    make: MakeEngine, path: Path, clock: FakeClock, new: TaskMaker
) -> None:
    """SQLite would take the log for the new file's own."""
    engine = make()
    engine.put(new.many(3))
    theirs = new.many(2)
    other_store(path.parent.parent / "new", clock, theirs)
    kept = (path.parent.parent / "new" / "deferq.db").read_bytes()
    (path.parent.parent / "new" / "deferq.db").rename(path)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=r"The log of the old one still lies beside it.*remove .*-wal"):
            engine.put(new.many(1))
    engine.close()
    assert path.read_bytes() == kept
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink()
    assert there(make(), theirs)


def test_nobody_who_had_a_store_open_begins_with_an_empty_one(make: MakeEngine, path: Path, new: TaskMaker) -> None:
    engine = make()
    engine.put(new.many(3))
    away = path.parent.parent / "away"
    path.parent.rename(away)
    path.parent.mkdir()
    path.touch(0o600)
    with pytest.raises(StoreUnavailable, match="The next use opens what stands there now"):
        engine.put(new.many(1))
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"replaced by an empty file. Put it back, or start this process"):
            engine.put(new.many(1))
    path.unlink()
    with pytest.raises(StoreUnavailable, match=r"was there and is gone .*Put it back"):
        engine.put(new.many(1))
    assert list(path.parent.iterdir()) == []
    path.parent.rmdir()
    away.rename(path.parent)
    engine.put(new.many(1))
    assert engine.counts().queues[0].ready == 4


@pytest.mark.parametrize(
    "foreign",
    [b"a letter to a friend\n" * 1000, b"SQLite format 3\0" + Random(3).randbytes(8176), Random(4).randbytes(9_000)],
    ids=["a text", "a header and junk", "random bytes"],
)
def test_what_is_put_in_the_place_of_the_store_is_not_overwritten(
    make: MakeEngine, path: Path, new: TaskMaker, foreign: bytes
) -> None:
    engine = make()
    engine.put(new.many(3))
    away = path.parent.parent / "away"
    path.parent.rename(away)
    path.parent.mkdir()
    path.write_bytes(foreign)
    path.chmod(0o600)
    for _ in range(3):
        with pytest.raises((StoreCorrupt, StoreUnavailable), match=r"left as it is|The next use"):
            engine.put(new.many(1))
        with pytest.raises(StoreError):
            engine.counts()
    assert path.read_bytes() == foreign
    shutil.rmtree(path.parent)
    away.rename(path.parent)
    engine.put(new.many(1))
    assert engine.counts().queues[0].ready == 4


def test_the_tables_of_another_program_are_not_touched(make: MakeEngine, path: Path, new: TaskMaker) -> None:
    """Its database may be put there by mistake; ours goes beside its tables, as for any application."""
    engine = make()
    engine.put(new.many(3))
    path.parent.rename(path.parent.parent / "away")
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table customer (name text)")
        connection.execute("insert into customer values ('Ada')")
    with pytest.raises(StoreUnavailable):
        engine.put(new.many(1))
    engine.put(new.many(1))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select name from customer").fetchall() == [("Ada",)]


# ---- the files beside it


@pytest.mark.parametrize("with_index", [False, True])
def test_a_log_deleted_under_our_feet_costs_no_task(
    make: MakeEngine, path: Path, new: TaskMaker, with_index: bool
) -> None:
    engine = make()
    tasks = new.many(5)
    engine.put(tasks)
    engine.counts()
    path.with_name("deferq.db-wal").unlink()
    if with_index:
        path.with_name("deferq.db-shm").unlink()
    with pytest.raises(StoreUnavailable, match="-wal was deleted or replaced while the store was open"):
        engine.put(new.many(1))
    assert there(engine, tasks)
    more = new.many(1)
    assert engine.put(more) == [Stored(more[0].id)]
    assert there(make(), tasks + more)
    assert engine.check(full=True) == []


def test_all_who_had_a_deleted_log_open_go_on_together(make: MakeEngine, path: Path, new: TaskMaker) -> None:
    engines = [make(), make(), make()]
    tasks = []
    for engine in engines:
        tasks += new.many(2)
        engine.put(tasks[-2:])
        engine.counts()
    path.with_name("deferq.db-wal").unlink()
    for engine in engines:
        with pytest.raises(StoreUnavailable, match="-wal was deleted or replaced"):
            engine.put(new.many(1))
        tasks += new.many(2)
        engine.put(tasks[-2:])
    for engine in engines:
        assert there(engine, tasks)
        assert engine.check(full=True) == []


def test_a_log_of_garbage_is_no_part_of_the_store(make: MakeEngine, path: Path, new: TaskMaker) -> None:
    engine = make()
    tasks = new.many(5)
    engine.put(tasks)
    engine.close()
    path.with_name("deferq.db-wal").write_bytes(Random(5).randbytes(50_000))
    again = make()
    assert there(again, tasks)
    again.put(new.many(1))
    assert again.check(full=True) == []


def test_a_gate_deleted_while_it_is_in_use_is_made_anew(make: MakeEngine, path: Path, new: TaskMaker) -> None:
    engine, other = make(), make()
    for one in (engine, other):
        one.put(new.many(1))
    gate = path.with_name("deferq.db-gate")
    gate.unlink()
    for _ in range(2):
        for one in (engine, other):
            one.put(new.many(1))
    assert os.fstat(engine._gate._fd).st_ino == os.fstat(other._gate._fd).st_ino == gate.stat().st_ino
    assert engine.counts().queues[0].ready == 6


def test_bells_that_were_deleted_hang_again(make: MakeEngine, new: TaskMaker) -> None:
    engine, other = make(), make()
    bell = engine.bell(7)
    number = bell.fileno()
    shutil.rmtree(engine.bells)
    engine.put(new.many(1))
    assert not bell.wait(0)
    assert engine.stalled() == []
    other.put(new.many(1))
    assert bell.wait(10)
    assert bell.fileno() == number
    assert other.stalled() == []
    assert other._find_dead() == set()
    with closing(engine.bell(8)) as another:
        engine.put(new.many(1))
        assert another.wait(10)
    bell.close()
    assert list(engine.bells.iterdir()) == []


def test_a_bell_can_be_taken_down_whatever_became_of_its_folder(make: MakeEngine, new: TaskMaker) -> None:
    engine = make()
    bell = engine.bell(7)
    shutil.rmtree(engine.bells)
    engine.bells.write_text("in the way")
    assert engine.stalled() == []
    engine.put(new.many(1))
    bell.close()
    assert engine.bells.read_text() == "in the way"


# ---- read-only


def test_a_disk_that_is_read_only_is_told_and_used_once_it_is_writable(
    make: MakeEngine, tmp_path: Path, new: TaskMaker
) -> None:
    with mounted(tmp_path / "disk") as disk:
        path = disk.folder / "deferq.db"
        with closing(make(path)) as engine:
            engine.put(new.many(1))
        disk.read_only()
        kept = content(disk.folder)
        engine = make(path)
        for use in (lambda: engine.put(new.many(1)), engine.counts, lambda: engine.bell(1)):
            with pytest.raises(StoreUnavailable, match=r"cannot be opened|may not be written"):
                use()
        new_one = make(disk.folder / "new.db")
        with pytest.raises(StoreUnavailable, match=r"cannot be made .*Is its folder writable"):
            new_one.put(new.many(1))
        assert content(disk.folder) == kept
        disk.writable()
        for one in (engine, new_one):
            one.put(new.many(1))
        assert engine.counts().queues[0].ready == 2
        engine.close()
        new_one.close()


# ---- damaged


def test_a_store_cut_short_under_our_feet_is_told_and_used_once_it_is_back(
    make: MakeEngine, path: Path, new: TaskMaker
) -> None:
    engine = make()
    tasks = new.many(400, payload=b"x" * 500)
    engine.put(tasks)
    engine.close()
    engine = make()
    whole = path.read_bytes()
    assert there(engine, tasks[:1])
    os.truncate(path, len(whole) // 2)
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            engine.find(Filter(), limit=1000)
        assert isinstance(caught.value, StoreCorrupt | StoreUnavailable)
    assert path.stat().st_size == len(whole) // 2
    with open(path, "r+b") as file:
        file.write(whole)
    assert there(engine, tasks)
    assert engine.check(full=True) == []


def test_a_store_that_cannot_be_opened_costs_no_descriptors(make: MakeEngine, path: Path, new: TaskMaker) -> None:
    path.write_bytes(b"a letter to a friend\n" * 1000)
    path.chmod(0o600)
    engine = make()
    before = descriptors()
    for _ in range(50):
        with pytest.raises(StoreCorrupt):
            engine.put(new.many(1))
    assert descriptors() <= before + 1


def test_a_schema_that_is_no_text_is_told_as_damage(make: MakeEngine, path: Path, new: TaskMaker) -> None:
    """SQLite quotes it in its message, which Python cannot read."""
    engine = make()
    engine.put(new.many(1))
    engine.close()
    damaged = path.read_bytes().replace(b"tabledeferq_metadeferq_meta", b"table" + b"\xff" * 22)
    path.write_bytes(damaged.replace(b"CREATE TABLE deferq_meta", b"CREATE TABLF deferq_meta"))
    with pytest.raises(StoreCorrupt, match="left as it is"):
        make().put(new.many(1))


@pytest.mark.programme
def test_damaged_pages_are_told_as_such_whatever_is_asked(
    make: MakeEngine, path: Path, clock: FakeClock, new: TaskMaker
) -> None:
    """Bytes are overwritten in one page after the other. Nobody hears of anything but an error of ours."""
    engine = make()
    named = [new(name=f"n{number}", payload=LARGE) for number in range(5)]
    engine.put([*new.many(60, payload=b"x" * 300), *named, new("other", in_s=60)])
    engine.change_queues([("other", Declare(Queue(rate="5/s", max_concurrent=3)))])
    settle_each(engine, lease(engine, 20), SUCCEEDED)
    engine.close()
    whole = path.read_bytes()
    pages = len(whole) // 2048
    seed = int(os.environ.get("DEFERQ_DAMAGE_SEED", sized(test=int.from_bytes(os.urandom(2)), proof=1, long=2)))
    print(f"The same again: DEFERQ_DAMAGE_SEED={seed}")
    chance = Random(seed)
    told = 0
    for number in range(sized(test=12, proof=400, long=5_000)):
        page = number % pages if number >= 12 else chance.randrange(pages)
        damaged = bytearray(whole)
        start = page * 2048 + chance.randrange(1500)
        damaged[start : start + 200] = chance.choice([bytes(200), b"\xff" * 200, chance.randbytes(200), b"\xc3(" * 100])
        path.write_bytes(damaged)
        told += use_everything(make(), new)
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
    assert told > 0 or number < pages  # a few pages may all be ones that nobody reads
    tried("damaged pages of SQLite files", number + 1)


def test_a_row_that_breaks_the_rules_of_its_table_ends_no_worker(make: MakeEngine, path: Path, new: TaskMaker) -> None:
    engine = make()
    engine.put(new.many(1))
    engine.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma ignore_check_constraints = on")
        connection.execute("update deferq_task set finished_at = 5")  # and it is pending
    with pytest.raises(StoreError, match="refused a change"):
        lease(make())


def use_everything(engine: SqliteEngine, new: TaskMaker) -> int:
    """How many uses ended with an error of the store; any other is a defect."""
    errors = 0
    first = new().id
    ids = list(range(first - 50, first))
    uses: list[Callable[[], object]] = [
        lambda: engine.find(Filter(), limit=1000),
        engine.counts,
        engine.queues,
        lambda: engine.put(new.many(3)),
        lambda: engine.put([new(name="n1", if_exists="replace")]),
        lambda: settle_each(engine, lease(engine, 5), SUCCEEDED),
        lambda: engine.turn((), want(5)),
        engine.stalled,
        lambda: engine.take_up([(one, 1) for one in ids]),
        lambda: engine.change(ids, Cancel()),
        lambda: engine.sweep(Retention(succeeded_s=0)),
        lambda: engine.totals(0, 2**62),
        lambda: engine.check(full=True),
    ]
    for use in uses:
        try:
            use()
        except StoreError:
            errors += 1
    engine.close()
    return errors
