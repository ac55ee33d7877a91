"""Plays an act, with a fault or without, and looks whether the store is then what it has to be.

A step that fails is done once more, as whoever got the error would: the same tasks with the same ids and names, the
same settlements of the same leases. So in the end the store must hold exactly what it holds without a fault (I1, I2),
whatever went wrong where.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from deferq.engines.base import Settlement, Turn, Want, new_lease_id
from deferq.engines.sqlite import SqliteEngine
from deferq.errors import StoreError, TransactionError
from deferq.model.outcome import INTERRUPTED
from deferq.model.task import Leased, NewTask
from deferq.model.transitions import US
from tests.faults.trap import EXIT_CODE, Fault, Trap
from tests.support import FakeClock, TaskMaker, settlement

DISPATCHER = 7
LEASE_S = 30.0
TOMBSTONE_S = 3600.0
#: What the caller may be told.
TOLD = (StoreError, TransactionError, MemoryError, KeyboardInterrupt)
#: They differ when something is leased once more: a new lease has a new id, and takes its tokens from the bucket again.
LEFT_OUT = {"lease_id", "taken_up", "full_at", "full_at_parts"}
Dump = dict[str, list[tuple[Any, ...]]]


class Play:
    """One engine on one file, and what the act has to remember."""

    def __init__(self, engine: SqliteEngine, clock: FakeClock, notes: dict[str, Any]) -> None:
        self.engine = engine
        self.clock = clock
        #: Leases by a word of the act, and the number of the last lease.
        self.notes = notes
        #: This step has been tried before, and it is not known how far it got.
        self.again = False
        self.maker = TaskMaker(clock)

    def task(self, number: int, queue: str = "default", **options: Any) -> NewTask:
        """Always the same task, however often the step is repeated."""
        return self.maker(queue, task_id=10_000 + number, **options)

    def want(self, free: int = 10, **options: Any) -> Want:
        serial = self.notes["serial"] = self.notes.get("serial", 0) + 1
        given = {"free": free, "ahead": 0, "lease_us": round(LEASE_S * US), **options}
        return Want(lease_id=new_lease_id(DISPATCHER, serial), **given)

    def lease(self, word: str, free: int = 10, settlements: Sequence[Settlement] = (), **options: Any) -> Turn:
        """Lease, and keep what was leased under `word`."""
        if self.again:
            self.give_back_what_nobody_knows_of()
        turn = self.engine.turn(settlements, self.want(free, **options))
        self.notes[word] = turn.leased
        return turn

    def leased(self, word: str) -> dict[int, Leased]:
        """By the numbers of their tasks."""
        return {task.id - 10_000: task for task in self.notes[word]}

    def settlement(self, task: Leased, outcome: Any, **options: Any) -> Settlement:
        return settlement(self.engine, task, outcome, **options)

    def give_back_what_nobody_knows_of(self) -> None:
        """A lease whose answer got lost: the dispatcher sees that it is its own, and that nothing has started."""
        known = {task.lease_id for word in self.notes.values() if isinstance(word, list) for task in word}
        self.clock.advance(10 * LEASE_S)
        stalled = self.engine.stalled()
        self.clock.advance(-10 * LEASE_S)
        unknown = [task for task in stalled if task.lease_id not in known]
        if unknown:
            self.engine.turn([self.settlement(task, INTERRUPTED) for task in unknown], None)

    def do(self, step: Step, told: Callable[[BaseException], None]) -> None:
        """The step, and once more if it failed."""
        try:
            step(self)
        except TOLD as error:
            told(error)
        else:
            self.again = False
            return
        self.again = True
        step(self)
        self.again = False


Step = Callable[[Play], object]


class Act(NamedTuple):
    """What is to be done, in steps that can be repeated."""

    name: str
    steps: tuple[Step, ...]
    #: Goes before, without faults.
    prepare: tuple[Step, ...] = ()
    #: Whether opening the file belongs to it.
    opens: bool = False
    #: Values of `deferq.engines.sqlite.checkpoint` during the act.
    checkpoint: dict[str, int] = {}  # noqa: RUF012


class Stage(NamedTuple):
    """Where an act begins and how it ends if all goes well."""

    act: Act
    #: The file as it is before the first step; None: there is none.
    before: bytes | None
    notes: dict[str, Any]
    now: int
    #: Every statement of the act.
    statements: tuple[str, ...]
    after: Dump


def set_up(act: Act, folder: Path) -> Stage:
    """Prepare an act, and play it once without a fault."""
    clock = FakeClock()
    notes: dict[str, Any] = {}
    path = folder / "prepared.db"
    with closing(_engine(path, clock, Trap())) as engine:
        play = Play(engine, clock, notes)
        for step in act.prepare:
            step(play)
    before = path.read_bytes() if act.prepare else None
    _clear(folder, path.name)
    stage = Stage(act, before, notes, clock.now, (), {})
    with _setting(stage, folder) as (play, trap):
        trap.arm()
        for step in act.steps:
            play.do(step, _nothing_may_be_told)
        trap.disarm()
        play.engine.close()
        after = dump(play.engine.path)
    return stage._replace(statements=tuple(trap.seen), after=after)


def play_with(stage: Stage, folder: Path, at: int, fault: Fault) -> list[str]:
    """Play the act with a fault at the statement `at`, and look whether everything is as it has to be.

    Returns the statements of this process.
    """
    with _setting(stage, folder) as (play, trap):
        if fault.ends:
            _play_until_the_end_of_a_process(stage, play, trap, at, fault)
        else:
            trap.arm_at(at, fault)
            for step in stage.act.steps:
                play.do(step, lambda error: None)
            assert trap.struck, "the act went another way and never came to this statement"
            trap.disarm()
            _assert_at_rest(play.engine, trap)
        play.engine.close()
        assert dump(play.engine.path) == stage.after
    return trap.seen


@contextmanager
def _setting(stage: Stage, folder: Path) -> Iterator[tuple[Play, Trap]]:
    """The file as it was, and an engine on it."""
    trap = Trap()
    path = folder / "jobs.db"
    if stage.before is not None:
        path.write_bytes(stage.before)
        path.chmod(0o600)
    clock = FakeClock(stage.now)
    engine = _engine(path, clock, trap)
    try:
        if not stage.act.opens:
            engine.open()
        yield Play(engine, clock, dict(stage.notes)), trap
    finally:
        engine.close()
        _clear(folder, path.name)


def _play_until_the_end_of_a_process(stage: Stage, play: Play, trap: Trap, at: int, fault: Fault) -> None:
    """A child plays and tells how far it came; it ends at the statement, and another engine goes on."""
    play.engine.close()
    heard, say = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(heard)
        _play_in_child(stage, play.engine.path, say, at, fault)
    os.close(say)
    with os.fdopen(heard, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == EXIT_CODE, said.decode(errors="replace")
    lines = _unpickled(said)
    done, play.notes, play.clock.now = lines[-1] if lines else (0, play.notes, play.clock.now)
    assert_sound(play.engine.path)
    play.engine = _engine(play.engine.path, play.clock, Trap())
    play.again = True
    for step in stage.act.steps[done:]:
        step(play)
        play.again = False
    play.engine.close()


def _play_in_child(stage: Stage, path: Path, say: int, at: int, fault: Fault) -> None:
    try:
        trap, clock = Trap(), FakeClock(stage.now)
        play = Play(_engine(path, clock, trap), clock, dict(stage.notes))
        if not stage.act.opens:
            play.engine.open()
        trap.arm_at(at, fault)
        for number, step in enumerate(stage.act.steps, start=1):
            step(play)
            os.write(say, pickle.dumps((number, play.notes, clock.now)))
    except BaseException as error:
        os.write(say, repr(error).encode())
    finally:
        os._exit(1)


def _unpickled(said: bytes) -> list[Any]:
    found, file = [], BytesIO(said)
    while file.tell() < len(said):
        found.append(pickle.load(file))
    return found


def _engine(path: Path, clock: FakeClock, trap: Trap) -> SqliteEngine:
    return SqliteEngine(path, clock=clock, synchronous="OFF", tombstone_s=TOMBSTONE_S, connect=trap)


def _nothing_may_be_told(error: BaseException) -> None:
    raise AssertionError("without a fault nothing fails") from error


def _clear(folder: Path, name: str) -> None:
    for path in folder.glob(f"{name}*"):
        if path.is_dir():
            for inside in path.iterdir():
                inside.unlink()
            path.rmdir()
        else:
            path.unlink()


# ---- what has to be so


def _assert_at_rest(engine: SqliteEngine, trap: Trap) -> None:
    """No transaction is left open, and gate and locks are free; the engine itself goes on."""
    for connection in trap.connections:
        with suppress(sqlite3.ProgrammingError):  # it is closed
            assert not connection.in_transaction
    assert_sound(engine.path)
    engine.counts()
    assert engine.change_records([]) == []
    assert engine.check() == []


def assert_sound(path: Path) -> None:
    """Anybody may write at once, and SQLite finds the file in order."""
    with open(f"{path}-gate", "rb") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        connection.execute("begin immediate")
        connection.execute("rollback")
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]


def dump(path: Path) -> Dump:
    """Every row of every table, apart from what may differ."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        return {table: _rows(connection, table) for table in sorted(tables)}


def _rows(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    if table == "deferq_meta":
        return connection.execute("select key from deferq_meta order by key").fetchall()
    names = [row[1] for row in connection.execute(f"pragma table_info({table})")]
    kept = [name for name in names if name not in LEFT_OUT and (table, name) != ("deferq_failure", "id")]
    return sorted(connection.execute(f"select {', '.join(kept)} from {table}").fetchall(), key=repr)
