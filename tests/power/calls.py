"""An engine at work: everything its methods can do to a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from threading import Thread
from typing import Any

from deferq.engines.answers import Stored
from deferq.engines.base import Cancel, Delete, Record, RecordChange, Reschedule, Retention, Want, new_lease_id
from deferq.engines.sqlite.gate import Gate
from deferq.errors import StoreError
from deferq.model.outcome import INTERRUPTED, Cancelled, ErrorText, Failed, Outcome, Parked, Retried, Snoozed, Succeeded
from deferq.model.retry import RetryPolicy
from deferq.model.settings import Pause, Resume, SetLimits
from deferq.model.state import State
from deferq.model.task import Leased, NewTask
from tests.power.noting import Noted
from tests.power.promises import Facts
from tests.support import US, settlement

KEPT = Retention(succeeded_s=20, succeeded_max=20, cancelled_s=20, dead_s=30, totals_s=300)
ERROR = ErrorText(error_type="ValueError", message="boom", traceback="line\n" * 20)
RETRY = RetryPolicy(max_attempts=3, min_backoff_s=2, jitter=False)
QUEUES = ("mail", "index", "rare")
NAMES = ("a", "b", "c", "d")


class Workload(Noted):
    """Takes any of its ways, each of them a call or two."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.held: list[Leased] = []
        self._serials = count(1)

    @property
    def ways(self) -> list[Callable[[], None]]:
        """What it may do next; what stands here twice it does twice as often."""
        return [
            *[self.put_one] * 6,
            *[self.put_named] * 3,
            *[self.put_many] * 2,
            *(self.put_large, self.mistake, self.meet),
            *[self.turn] * 8,
            *(self.renew, self.take_up, self.take_up, self.bury, self.sweep, self.sweep),
            *(self.cancel, self.reschedule, self.delete, self.purge, self.requeue, self.wake),
            *(self.change_queue, self.change_record),
            *(self.reopen, self.reopen_all, self.checkpoint, self.hold, self.let_go),
        ]

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
        spill = self.random.choice((None, self.random.randbytes(size)))
        self.put("put large", [self.task(payload=self.random.randbytes(size), spill=spill)])

    def put_named(self) -> None:
        name, if_exists = self.random.choice(NAMES), self.random.choice(("raise", "return", "replace"))
        self.put(f"put named, {if_exists}", [self.task(name=name, if_exists=if_exists)])

    def mistake(self) -> None:
        """What cannot be stored stores nothing, nor what was put beside it."""
        with self.step("put a mistake"), suppress(StoreError):
            self.engine.put([self.task(), self.task()._replace(priority=500)])

    def meet(self) -> None:
        """Threads that meet share a commit."""
        engine = self.engine
        batches = [[self.task()] if self.random.random() < 0.7 else [self.task(), self.task()] for _ in range(3)]
        between: list[Facts] = []
        engine.open()
        in_line = 0 if engine._is_plain(batches[0]) else 1  # who leads with a plain task stands in no line
        with self.step("put by three threads") as promises:
            gate = Gate(f"{self.path}-gate")
            gate.acquire()
            threads = [Thread(target=engine.put, args=[batch]) for batch in batches]
            for number, thread in enumerate(threads):
                thread.start()
                while len(engine._commits._line) < number + in_line or engine._commits._turn is None:
                    assert thread.is_alive()
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
        lease_id = new_lease_id(self.run.seed, next(self._serials))
        free = self.random.choice((1, 2, 8))
        lease_us = self.random.choice((3, 30)) * US
        hurry = self.random.random() < 0.5
        return Want(free, self.random.choice((0, 4)), lease_id, lease_us, hurry=hurry)

    def some_held(self) -> list[Leased]:
        """Some of the tasks in hand, which are then no more."""
        some = self.random.sample(self.held, self.random.randint(0, min(5, len(self.held))))
        self.held = [one for one in self.held if one not in some]
        return some

    def outcome(self) -> Outcome:
        result = self.random.randbytes(self.random.choice((10, 500)))
        outcomes: tuple[Outcome, ...] = (
            *[Succeeded(result)] * 2,
            *[Succeeded()] * 4,
            Failed(error=ERROR),
            Failed(error=ERROR, permanent=True, reason="permanent"),
            Retried(after_s=1),
            Snoozed(after_s=2),
            Cancelled(reason="expired"),
            Parked(error=ERROR),
            INTERRUPTED,
        )
        return self.random.choice(outcomes)

    def then(self) -> list[NewTask]:
        return [self.new("mail")] if self.random.random() < 0.2 else []

    def renew(self) -> None:
        with self.step("renew") as promises:
            until = self.clock.now + 40 * US
            lost, _ = self.engine.renew(self.held, until)
            self.held = [one for one in self.held if one not in lost]
            promises.renewed(self.held, until)

    def take_up(self) -> None:
        """Promises nothing that a power cut could break, and must not break what others have been promised."""
        with self.step("take up"):
            self.engine.take_up([(one.id, one.lease_id) for one in self.held[:3]])

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
        ids = self.some(State.DEAD, State.CANCELLED)
        with self.step("requeue") as promises:
            for task_id in self.engine.requeue(ids):
                promises.requeued(task_id)

    def wake(self) -> None:
        with self.step("wake") as promises:
            assert self.engine.wake() == len(promises.woken())

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
            self.engines[number] = self.make(self.engines[number].synchronous)

    def reopen_all(self) -> None:
        """The last one to be closed moves the log and removes it."""
        self.let_go()
        with self.step("reopen all"):
            for engine in self.engines:
                engine.close()
            self.engines = [self.make(engine.synchronous) for engine in self.engines]
            self.engine.open()

    def checkpoint(self) -> None:
        engine = self.engine
        with self.step("checkpoint"):
            engine.open()
            engine._gate.acquire()
            engine._checkpointer.checkpoint(engine._sound_writer())
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
