"""What the caller is told when a statement fails, and who else notices."""

from __future__ import annotations

import gc
import sqlite3
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from deferq.engines.answers import Stored
from deferq.engines.sqlite import SqliteEngine, checkpoint
from deferq.errors import StoreError, StoreUnavailable
from tests.faults.trap import FAULTS, Fault, Trap
from tests.support import START, US, FakeClock, TaskMaker, lease, want

BY_NAME = {fault.name: fault for fault in FAULTS}
Ready = Callable[[], tuple[SqliteEngine, Trap]]


@pytest.fixture
def ready(tmp_path: Path, clock: FakeClock, new: TaskMaker) -> Iterator[Ready]:
    """An engine that knows its queue, and its trap, not yet armed."""
    made: list[SqliteEngine] = []

    def make() -> tuple[SqliteEngine, Trap]:
        trap = Trap()
        made.append(SqliteEngine(tmp_path / "deferq.db", clock=clock, synchronous="OFF", connect=trap))
        made[-1].put([new()])
        return made[-1], trap

    yield make
    for engine in made:
        engine.close()


@pytest.mark.parametrize("fault", [BY_NAME["io after"], BY_NAME["dropped after"]], ids=lambda fault: fault.name)
@pytest.mark.parametrize(("statement", "count"), [("commit", 2), ("insert into deferq_task", 1)])
def test_a_lost_answer_of_a_commit_is_not_told_as_nothing_was_changed(
    ready: Ready, new: TaskMaker, fault: Fault, statement: str, count: int
) -> None:
    engine, trap = ready()
    tasks = new.many(count)
    trap.arm_for(statement, fault)
    with pytest.raises(StoreUnavailable, match="It is not certain whether it was stored"):
        engine.put(tasks)
    assert trap.struck
    assert engine.put(tasks) == [Stored(task.id) for task in tasks]
    assert engine.counts().queues[0].ready == 1 + count


def test_a_turn_whose_answer_got_lost_does_not_say_that_nothing_was_changed(ready: Ready) -> None:
    engine, trap = ready()
    trap.arm_for("select id, queue, target", BY_NAME["io before"])
    with pytest.raises(StoreUnavailable, match="It is not certain"):
        lease(engine, 1)
    assert engine.counts().queues[0].leased == 1


@pytest.mark.parametrize("fault", ["io before", "full before", "busy before"])
def test_an_error_before_the_commit_says_that_nothing_was_changed_and_nothing_is(
    ready: Ready, new: TaskMaker, fault: str
) -> None:
    engine, trap = ready()
    tasks = new.many(2)
    trap.arm_for("insert into deferq_task", BY_NAME[fault])
    with pytest.raises(StoreUnavailable, match=r"Nothing was changed\.$"):
        engine.put(tasks)
    assert engine.get([task.id for task in tasks]) == []


@pytest.mark.parametrize("fault", ["io before", "busy before", "dropped before", "dropped after"])
@pytest.mark.parametrize(
    "statement", ["pragma busy_timeout = 100", "pragma wal_checkpoint", "pragma busy_timeout = 30000"]
)
@pytest.mark.parametrize("count", [1, 2])
def test_what_fails_after_the_commit_fails_nobody(
    ready: Ready, new: TaskMaker, monkeypatch: pytest.MonkeyPatch, fault: str, statement: str, count: int
) -> None:
    """A checkpoint follows some commits. The task is stored, whatever becomes of that."""
    monkeypatch.setattr(checkpoint, "LOOK_EVERY", 1)
    monkeypatch.setattr(checkpoint, "CHECKPOINT_BYTES", 1)
    engine, trap = ready()
    tasks = new.many(count)
    trap.arm_for(statement, BY_NAME[fault])
    assert engine.put(tasks) == [Stored(task.id) for task in tasks]
    assert trap.struck
    trap.disarm()
    assert engine.put(new.many(count))
    writer = engine._writer
    assert writer is not None
    assert writer.execute("pragma busy_timeout").fetchone() == (30_000,)


def test_a_transaction_that_cannot_be_rolled_back_keeps_nobody_out(ready: Ready, new: TaskMaker) -> None:
    engine, trap = ready()
    tasks = new.many(2)
    trap.arm_for("insert into deferq_task", BY_NAME["busy before, and no rollback"])
    with pytest.raises(StoreUnavailable, match="database is locked"):  # and not why the rollback failed
        engine.put(tasks)
    trap.disarm()
    with closing(sqlite3.connect(engine.path, isolation_level=None, timeout=0)) as other:
        other.execute("begin immediate")
        other.execute("rollback")
    assert engine.put(tasks) == [Stored(task.id) for task in tasks]


@pytest.mark.parametrize("use", ["put", "get", "open"])
def test_an_error_keeps_nothing_alive_once_nobody_has_it(ready: Ready, new: TaskMaker, use: str) -> None:
    """It came through frames with cursors, and a cursor may hold a lock or a snapshot."""
    engine, trap = ready()
    if use == "open":
        engine = SqliteEngine(engine.path, clock=lambda: START, connect=trap)
    uses = {"put": lambda: engine.put(new.many(2)), "get": lambda: engine.get([1]), "open": engine.open}
    gc.collect()
    gc.disable()
    try:
        trap.arm_for("select" if use != "put" else "insert into deferq_task", BY_NAME["io before"])
        try:
            uses[use]()
        except StoreUnavailable as error:
            seen = weakref.ref(error)
        assert seen() is None
    finally:
        gc.enable()
        engine.close()


def test_a_row_that_cannot_be_read_keeps_nobody_out(ready: Ready, new: TaskMaker) -> None:
    """A lease in a hurry is one statement, and a write until its last row was read."""
    engine, trap = ready()
    engine.put(new.many(3))
    lease(engine, 1)
    trap.arm_for("update deferq_task set state = 1", BY_NAME["io at the rows"])
    with pytest.raises(StoreUnavailable) as kept:
        engine.turn((), want(1)._replace(hurry=True))
    assert trap.struck
    with closing(sqlite3.connect(engine.path, isolation_level=None, timeout=0)) as other:
        other.execute("begin immediate")
        other.execute("rollback")
    assert kept.value.__traceback__ is not None


def test_threads_that_share_commits_lose_nothing_whatever_goes_wrong(ready: Ready) -> None:
    """Eight threads put side by side, and every 17th statement meets another fault."""
    engine, trap = ready()
    faults = [fault for fault in FAULTS if not fault.ends]
    trap.arm(lambda number, sql: faults[number // 17 % len(faults)] if number % 17 == 16 else None)
    with ThreadPoolExecutor(8) as pool:
        put = list(pool.map(lambda number: put_stubbornly(engine, number), range(8)))
    struck = len(trap.struck)
    trap.disarm()
    ids = [task_id for one in put for task_id in one]
    assert struck > 2 * len(faults)
    assert {task.id for task in engine.get(ids)} == set(ids)
    assert engine.counts().queues[0].scheduled == len(set(ids))
    assert engine.check() == []


def put_stubbornly(engine: SqliteEngine, number: int) -> list[int]:
    """Tasks of every kind, each put until it is acknowledged; returns their ids."""
    make = TaskMaker(FakeClock(START + 60 * US * (number + 1)))
    ids = []
    for turn in range(40):
        tasks = [make(name=f"n{number}-{turn}")] if turn % 5 == 0 else make.many(1 + turn % 2)
        while True:
            try:
                assert engine.put(tasks) == [Stored(task.id) for task in tasks]
                break
            except (StoreError, MemoryError, KeyboardInterrupt):
                continue
        ids += [task.id for task in tasks]
    return ids
