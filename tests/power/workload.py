"""An engine at work, recorded: everything its methods can do to a file, and what they answered when."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Thread
from typing import NamedTuple

import pytest

from deferq.engines.answers import Stored
from deferq.engines.base import Cancel, Delete, Record, RecordChange, Reschedule, Retention, Want, new_lease_id
from deferq.engines.sqlite import SqliteEngine, checkpoint, connections
from deferq.engines.sqlite.connections import Connect
from deferq.engines.sqlite.gate import Gate
from deferq.model.outcome import INTERRUPTED, Cancelled, ErrorText, Failed, Outcome, Parked, Retried, Snoozed, Succeeded
from deferq.model.retry import RetryPolicy
from deferq.model.settings import Pause, Resume, SetLimits
from deferq.model.state import State
from deferq.model.task import Leased, NewTask
from tests.power.images import Disk, Image, everything, write
from tests.power.promises import Content, Facts, Promises, content
from tests.power.recording import Event, Recording, connect, recorded
from tests.support import US, FakeClock, TaskMaker, settlement

FILE = "deferq.db"
TOMBSTONE_S = 20
KEPT = Retention(succeeded_s=20, succeeded_max=20, cancelled_s=20, dead_s=30, totals_s=300)
ERROR = ErrorText(error_type="ValueError", message="boom", traceback="line\n" * 20)
RETRY = RetryPolicy(max_attempts=3, min_backoff_s=2, jitter=False)
QUEUES = ("mail", "index", "rare")
NAMES = ("a", "b", "c", "d")
NEVER = 1 << 40


class Step(NamedTuple):
    """One call, from when it began to when it was answered."""

    what: str
    began: int
    answered: int
    #: What holds from then on, by what was answered until then.
    promised: Facts
    #: What another connection read in the file then.
    content: Content
    #: The gate's page.
    gate: bytes
    #: What may hold in between, if it takes more than one commit.
    between: tuple[Facts, ...] = ()
    #: Whether anything is otherwise than before.
    changed: bool = True


@dataclass
class Run:
    """What was recorded."""

    seed: int
    events: list[Event] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    #: What stood in the folder before it, and what an engine made of it; None: nothing.
    before: Image | None = None
    found: Content | None = None


@contextmanager
def small(random: Random) -> Iterator[bool]:
    """The log's measures, so small that all that happens to a log happens within a hundred calls.

    Yields whether a reader may keep a snapshot: whoever cuts the log waits for it.
    """
    cuts = random.random() < 0.4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "CHECKPOINT_BYTES", random.choice((40_000, 80_000, 200_000)))
        patch.setattr(checkpoint, "TRUNCATE_BYTES", random.choice((0, 100_000)) if cuts else NEVER)
        patch.setattr(checkpoint, "LOOK_EVERY", random.choice((2, 4)))
        patch.setattr(checkpoint, "ROOM", bytes(random.choice((16, 40)) * 1024))
        patch.setattr(connections, "LOG_LIMIT_BYTES", random.choice((50_000, NEVER)))
        yield not cuts


def record(
    folder: Path,
    seed: int,
    *,
    calls: int = 120,
    synchronous: str = "FULL",
    connect: Connect = connect,
    engines: int = 2,
    only: Sequence[str] = (),
    before: Image | None = None,
    found: Content | None = None,
) -> Run:
    """Record a run from `seed` in an empty folder, or on what stood there `before`; `only` these ways, if any."""
    random = Random(seed)
    run = Run(seed, before=before, found=found)
    recording = Recording(before or {})
    run.events = recording.events
    with ExitStack() as stack:
        may_hold = stack.enter_context(small(random))
        stack.enter_context(recorded(folder, recording))
        for name, data in (before or {}).items():
            write(folder / name, data)
        work = Workload(folder / FILE, random, recording, run, synchronous, connect, engines)
        stack.callback(work.end)
        work.start()
        ways = [way for way in work.ways if way.__name__ in only or not only]
        ways = [way for way in ways if may_hold or way != work.hold]
        for _ in range(calls):
            random.choice(ways)()
    check_recording(run, folder)
    return run


def check_recording(run: Run, folder: Path) -> None:
    """Whether all that happened was heard: what was recorded comes to what stands there."""
    disk = Disk(run.before)
    disk.go_on(run.events)
    for name, content in disk.image(everything(Random(), disk)).items():
        assert (folder / name).read_bytes() == content, f"something happened to {name} that was not heard"


class Workload:
    """Two engines on one file, a clock, and what was promised."""

    def __init__(
        self,
        path: Path,
        random: Random,
        recording: Recording,
        run: Run,
        synchronous: str,
        connect: Connect,
        engines: int,
    ) -> None:
        self.path = path
        self.random = random
        self.recording = recording
        self.run = run
        self.synchronous = synchronous
        self.connect = connect
        # Later than whatever stood there before.
        self.clock = FakeClock(FakeClock().now + run.seed % 1_000_000 * 3_600 * US)
        self.new = TaskMaker(self.clock)
        self.promises = Promises()
        self.engines = [self.make() for _ in range(engines)]
        self.held: list[Leased] = []
        self.reader: sqlite3.Connection | None = None
        self.serial = 0
        put, turn = [self.put_one] * 6, [self.turn] * 8
        seldom = (self.reopen, self.reopen_all, self.hold, self.let_go, self.meet, self.mistake, self.checkpoint)
        changes = (self.cancel, self.reschedule, self.delete, self.purge, self.requeue, self.wake)
        self.ways: list[Callable[[], None]] = [
            *put,
            *turn,
            *[self.put_named] * 3,
            *[self.put_many] * 2,
            self.put_large,
            *(self.renew, self.sweep, self.sweep, self.bury),
            *changes,
            self.change_queue,
            self.change_record,
            *seldom,
        ]

    def make(self) -> SqliteEngine:
        return SqliteEngine(
            self.path,
            clock=self.clock,
            synchronous=self.synchronous,
            tombstone_s=TOMBSTONE_S,
            connect=self.connect,
        )

    @property
    def engine(self) -> SqliteEngine:
        return self.random.choice(self.engines)

    @contextmanager
    def step(self, what: str) -> Iterator[Promises]:
        """One call; within, what it answered is noted."""
        began, before = len(self.recording), dict(self.promises.facts)
        yield self.promises
        answered, promised = len(self.recording), dict(self.promises.facts)
        gate = Path(f"{self.path}-gate").read_bytes()
        now = self.engines[0]._read(content)
        changed = promised != before or not self.run.steps or now != self.run.steps[-1].content
        self.run.steps.append(Step(what, began, answered, promised, now, gate, changed=changed))
        self.clock.advance(self.random.choice((0, 0, 0, 1, 5)))

    def start(self) -> None:
        with self.step("open") as promises:
            self.engines[0].open()
            self.engines[0]._read(promises.believe)

    def end(self) -> None:
        if self.reader is not None:
            self.reader.close()
        for engine in self.engines:
            engine.close()

    # ---- putting

    def task(self, **wishes: object) -> NewTask:
        random = self.random
        return self.new(
            random.choice(QUEUES),
            priority=random.choice((0, 0, 1)),
            in_s=random.choice((0, 0, 0, 3, 60)),
            expires_in_s=random.choice((None, None, 10)),
            retry=random.choice((RETRY, RetryPolicy(max_attempts=1))),
            **wishes,  # type: ignore[arg-type]
        )

    def put(self, what: str, tasks: list[NewTask]) -> None:
        with self.step(what) as promises:
            promises.put(tasks, self.engine.put(tasks))

    def put_one(self) -> None:
        self.put("put", [self.task()])

    def put_many(self) -> None:
        self.put("put many", [self.task() for _ in range(self.random.randint(2, 12))])

    def put_large(self) -> None:
        size = self.random.choice((1_100, 3_000, 9_000, 30_000))
        self.put("put large", [self.task(payload=self.random.randbytes(size))])

    def put_named(self) -> None:
        name, if_exists = self.random.choice(NAMES), self.random.choice(("raise", "return", "replace"))
        self.put(f"put named, {if_exists}", [self.task(name=name, if_exists=if_exists)])

    def mistake(self) -> None:
        """What cannot be stored stores nothing, nor what was put beside it."""
        with self.step("put a mistake"), suppress(sqlite3.IntegrityError):
            self.engine.put([self.task(), self.task()._replace(priority=500)])

    def meet(self) -> None:
        """Threads that meet share a commit."""
        engine = self.engine
        batches = [[self.task()] if self.random.random() < 0.7 else [self.task(), self.task()] for _ in range(3)]
        between: list[Facts] = []
        engine.open()
        with self.step("put by three threads") as promises:
            gate = Gate(f"{self.path}-gate")
            gate.acquire()
            threads = [Thread(target=engine.put, args=[batch]) for batch in batches]
            for number, thread in enumerate(threads):
                thread.start()
                while len(engine._commits._line) <= number:
                    time.sleep(0.0002)
            gate.release()
            for thread in threads:
                thread.join()
            gate.close()
            for batch in batches:
                between.append(dict(promises.facts))
                promises.put(batch, [Stored(task.id) for task in batch])
        # A batch that needs a transaction is not in one commit with those that need none.
        self.run.steps[-1] = self.run.steps[-1]._replace(between=tuple(between))

    # ---- turns

    def turn(self) -> None:
        settlements = [settlement(self.engine, one, self.outcome(), then=self.then()) for one in self.some_held()]
        want = self.want() if self.random.random() < 0.7 or not settlements else None
        with self.step("turn") as promises:
            turn = self.engine.turn(settlements, want)
            promises.settled(one for one in settlements if one.task not in turn.lost)
            promises.leased(turn.leased)
        self.held += turn.leased

    def want(self) -> Want:
        self.serial += 1
        free = self.random.choice((1, 2, 8))
        lease_us = self.random.choice((3, 30)) * US
        hurry = self.random.random() < 0.5
        return Want(free, self.random.choice((0, 4)), new_lease_id(7, self.serial), lease_us, hurry=hurry)

    def some_held(self) -> list[Leased]:
        """Some of the tasks in hand, which are then no more."""
        some = self.random.sample(self.held, self.random.randint(0, min(5, len(self.held))))
        self.held = [one for one in self.held if one not in some]
        return some

    def outcome(self) -> Outcome:
        random = self.random
        return random.choice(
            (
                *[Succeeded(random.randbytes(random.choice((10, 500))))] * 2,
                *[Succeeded()] * 4,
                Failed(error=ERROR),
                Failed(error=ERROR, permanent=True, reason="permanent"),
                Retried(after_s=1),
                Snoozed(after_s=2),
                Cancelled(reason="expired"),
                Parked(error=ERROR),
                INTERRUPTED,
            )
        )

    def then(self) -> list[NewTask]:
        return [self.new("mail")] if self.random.random() < 0.2 else []

    def renew(self) -> None:
        with self.step("renew") as promises:
            until = self.clock.now + 40 * US
            lost, _ = self.engine.renew(self.held, until)
            self.held = [one for one in self.held if one not in lost]
            promises.renewed(self.held, until)

    def bury(self) -> None:
        """What a dispatcher does about leases that are over."""
        engine = self.engine
        lost = Failed(error=ERROR, reason="worker lost")
        stalled = [settlement(engine, one, lost)._replace(only_if_over=True) for one in engine.stalled()]
        with self.step("bury stalled") as promises:
            turn = engine.turn(stalled, None)
            promises.settled(one for one in stalled if one.task not in turn.lost)
        # Whoever held them could settle them in the same way, and would not be told that somebody else has.
        buried = {one.task.id for one in stalled}
        self.held = [one for one in self.held if one.id not in buried]

    # ---- what people and the janitor do

    def some(self, *states: State) -> list[int]:
        ids = self.promises.ids(*states)
        return self.random.sample(ids, min(len(ids), self.random.randint(1, 4)))

    def cancel(self) -> None:
        ids = self.some(State.PENDING, State.LEASED, State.DEAD)
        with self.step("cancel") as promises:
            promises.cancelled(self.engine.change(ids, Cancel()))

    def reschedule(self) -> None:
        ids, eta = self.some(State.PENDING), self.clock.now + 2 * US
        with self.step("reschedule") as promises:
            promises.rescheduled(self.engine.change(ids, Reschedule(eta)), eta)

    def delete(self) -> None:
        ids = self.some(*State)
        with self.step("delete") as promises:
            promises.deleted(self.engine.change(ids, Delete()))

    def purge(self) -> None:
        with self.step("purge") as promises:
            assert self.engine.purge("rare") == len(promises.purged("rare"))

    def requeue(self) -> None:
        ids = self.some(State.DEAD, State.CANCELLED)[:1]
        with self.step("requeue") as promises:
            for task_id in self.engine.requeue(ids):
                promises.requeued(task_id, self.clock.now)

    def wake(self) -> None:
        with self.step("wake") as promises:
            assert self.engine.wake() == len(promises.woken(self.clock.now))

    def sweep(self) -> None:
        """Which tasks it took is not answered, so the file is believed here."""
        with self.step("sweep") as promises:
            self.engine.sweep(KEPT)
            self.engines[0]._read(promises.believe)

    def change_queue(self) -> None:
        change = self.random.choice((Pause(), Resume(), Resume(), SetLimits({"max_concurrent": 3})))
        with self.step("change a queue") as promises:
            promises.queues(self.engine.change_queues([(self.random.choice(QUEUES), change)]))

    def change_record(self) -> None:
        key = self.random.choice(("x", "y"))
        version, _ = self.promises.facts.get(("record", "run", key), (0, ""))
        document = f'"{self.random.random()}"'
        with self.step("change a record") as promises:
            assert self.engine.change_records([RecordChange("run", key, version, None, document)]) == [True]
            promises.record(Record("run", key, version + 1, None, document))

    # ---- files

    def reopen(self) -> None:
        """One of the engines is closed, and another one opens the file."""
        number = self.random.randrange(len(self.engines))
        with self.step("reopen one"):
            self.engines[number].close()
            self.engines[number] = self.make()

    def reopen_all(self) -> None:
        """The last one to be closed moves the log and removes it."""
        self.let_go()
        with self.step("reopen all"):
            for engine in self.engines:
                engine.close()
            self.engines = [self.make() for _ in self.engines]
            self.engine.open()

    def checkpoint(self) -> None:
        engine = self.engine
        with self.step("checkpoint"):
            engine.open()
            engine._gate.acquire()
            engine._checkpointer.checkpoint(engine._opened())
            engine._gate.release()

    def hold(self) -> None:
        """A reader keeps a snapshot, so that the log cannot start over."""
        if self.reader is None:
            with self.step("keep a snapshot"):
                self.reader = self.connect(str(self.path))
                self.reader.execute("begin")
                self.reader.execute("select count(*) from deferq_task").fetchone()

    def let_go(self) -> None:
        if self.reader is not None:
            with self.step("let a snapshot go"):
                self.reader.close()
                self.reader = None
