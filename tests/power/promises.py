"""What an engine has promised, told from its answers alone; and what a file says about the same things."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sqlite3 import Connection
from typing import Any, NamedTuple

from deferq.engines.answers import PutAnswer, Stored
from deferq.engines.base import Clock, Record, Settlement
from deferq.model.settings import QueueSettings
from deferq.model.state import State
from deferq.model.task import Leased, NewTask

#: ("task", id), ("name", queue, name), ("queue", name), ("record", kind, key), ("result", id), ("spill", id)
#: or ("database",).
Facts = dict[tuple[Any, ...], Any]

TABLES = ("task", "payload", "spill", "result", "failure", "name", "total", "record", "queue")


class TaskFact(NamedTuple):
    """How a task stands."""

    state: int
    attempts: int = 0
    #: Of its last lease.
    lease_id: int | None = None
    #: When it is due, or when its lease ends; 0 once it is finished.
    due: int = 0
    #: Somebody asked for its cancellation while it was leased.
    cancel: int = 0


class Content(NamedTuple):
    """What stands in a file."""

    #: The same for the same rows in every table.
    digest: int
    facts: Facts


def content(connection: Connection) -> Content:
    """Read all of it, and the table of an application if there is one."""
    tables = [f"deferq_{table}" for table in TABLES]
    tables += [row[0] for row in connection.execute("select name from sqlite_master where name = 'app'")]
    rows = tuple(tuple(connection.execute(f"select {_columns(connection, table)} from {table}")) for table in tables)
    return Content(hash(rows), found(connection))


def _columns(connection: Connection, table: str) -> str:
    """All but the one of which nothing is promised: after a power cut nobody runs what he has taken up."""
    names = [row[1] for row in connection.execute(f"pragma table_info({table})")]
    return ", ".join(name for name in names if name != "taken_up")


def found(connection: Connection) -> Facts:
    """The facts, as they stand in the file."""
    run = connection.execute
    facts: Facts = {
        ("task", task_id): TaskFact(*fact)
        for task_id, *fact in run(
            "select id, state, attempts, lease_id, iif(state < 2, leasable_at, 0), iif(state = 1, cancel_requested, 0)"
            " from deferq_task"
        )
    }
    facts.update(
        (("name", queue, name), (task_id, until))
        for queue, name, task_id, until in run("select queue, name, task_id, until from deferq_name")
    )
    facts.update(
        (("queue", name), (paused, most))
        for name, paused, most in run("select name, paused, max_concurrent from deferq_queue")
    )
    facts.update(
        (("record", kind, key), (version, document))
        for kind, key, version, document in run("select kind, key, version, document from deferq_record")
    )
    facts.update((("result", task_id), body) for task_id, body in run("select id, body from deferq_result"))
    facts.update((("spill", task_id), body) for task_id, body in run("select id, body from deferq_spill"))
    facts["database",] = run("select value from deferq_meta where key = 'database_id'").fetchone()[0]
    return facts


class Promises:
    """Keeps the facts up to date with what was answered."""

    def __init__(self, clock: Clock, tombstone_us: int) -> None:
        self._clock = clock
        self._tombstone_us = tombstone_us
        self.facts: Facts = {}
        #: The names that tasks bear, whether or not they still have them to themselves.
        self._names: dict[int, tuple[str, str]] = {}
        self._queues: dict[int, str] = {}
        self._parked: set[int] = set()

    def believe(self, connection: Connection) -> None:
        """Take the file's word for everything."""
        self.facts = found(connection)
        run = connection.execute
        self._names = {row[0]: row[1:] for row in run("select id, queue, name from deferq_task where name is not null")}
        self._queues = dict(run("select id, queue from deferq_task"))
        self._parked = {row[0] for row in run("select id from deferq_task where parks > 0")}

    def task(self, task_id: int) -> TaskFact:
        fact: TaskFact = self.facts["task", task_id]
        return fact

    def ids(self, *states: State) -> list[int]:
        """Tasks that are in one of these states."""
        return sorted(key[1] for key, fact in self.facts.items() if key[0] == "task" and fact.state in states)

    # ---- what was answered

    def put(self, tasks: Sequence[NewTask], answers: Iterable[PutAnswer]) -> None:
        for task, answer in zip(tasks, answers, strict=True):
            self.facts.setdefault(("queue", task.queue), (0, None))
            if isinstance(answer, Stored):
                if task.name is not None:
                    self._take_name(task.id, task.queue, task.name)
                self._queues[task.id] = task.queue
                self.facts["task", task.id] = TaskFact(State.PENDING, due=task.eta)
                if task.spill is not None:
                    self.facts["spill", task.id] = task.spill

    def _take_name(self, task_id: int, queue: str, name: str) -> None:
        holder, until = self.facts.get(("name", queue, name), (None, 0))
        if until is None:
            del self._names[holder]
            if self.task(holder).state == State.PENDING:
                self._ends(holder, State.CANCELLED)
        self.facts["name", queue, name] = (task_id, None)
        self._names[task_id] = (queue, name)

    def leased(self, leased: Iterable[Leased]) -> None:
        for one in leased:
            self.facts["task", one.id] = TaskFact(
                State.LEASED, one.attempts, one.lease_id, one.leased_until, int(one.cancel_requested)
            )

    def settled(self, settlements: Iterable[Settlement]) -> None:
        """Of settlements that were not lost."""
        for settlement in settlements:
            task_id, to = settlement.task.id, settlement.transition
            due = to.eta if to.state is State.PENDING else 0
            self.facts["task", task_id] = TaskFact(to.state, to.attempts, settlement.task.lease_id, due)
            (self._parked.add if to.parks else self._parked.discard)(task_id)
            if to.state.finished:
                self._bury(task_id)
            if settlement.result is not None:
                self.facts["result", task_id] = settlement.result
            self.put(settlement.then, [Stored(task.id) for task in settlement.then])

    def renewed(self, leases: Iterable[Leased], until: int) -> None:
        for lease in leases:
            self._changed(lease.id, due=until)

    def cancelled(self, ids: Iterable[int]) -> None:
        for task_id in ids:
            if self.task(task_id).state == State.LEASED:
                self._changed(task_id, cancel=1)
            else:
                self._ends(task_id, State.CANCELLED)

    def rescheduled(self, ids: Iterable[int], eta: int) -> None:
        for task_id in ids:
            self._changed(task_id, due=eta)

    def deleted(self, ids: Iterable[int]) -> None:
        for task_id in ids:
            self._bury(task_id)
            del self.facts["task", task_id]
            self.facts.pop(("result", task_id), None)
            self.facts.pop(("spill", task_id), None)

    def purged(self, queue: str) -> list[int]:
        """All that is pending there; returns it."""
        pending = [task_id for task_id in self.ids(State.PENDING) if self._queues[task_id] == queue]
        self.deleted(pending)
        return pending

    def requeued(self, task_id: int) -> None:
        now = self._clock()
        self.facts["task", task_id] = TaskFact(State.PENDING, 0, self.task(task_id).lease_id, now)
        self._parked.discard(task_id)
        if task_id in self._names:
            holder, until = self.facts.get(("name", *self._names[task_id]), (task_id, None))
            if holder == task_id or (until is not None and until <= now):
                self.facts["name", *self._names[task_id]] = (task_id, None)
            else:
                del self._names[task_id]

    def woken(self) -> list[int]:
        """Those that were parked; returns them."""
        now = self._clock()
        parked = [task_id for task_id in self.ids(State.PENDING) if task_id in self._parked]
        woken = [task_id for task_id in parked if self.task(task_id).due > now]
        self.rescheduled(woken, now)
        return woken

    def queues(self, queues: Iterable[QueueSettings]) -> None:
        for queue in queues:
            self.facts["queue", queue.name] = (int(queue.paused), queue.limits.max_concurrent)

    def record(self, record: Record) -> None:
        self.facts["record", record.kind, record.key] = (record.version, record.document)

    def _ends(self, task_id: int, state: State) -> None:
        self._changed(task_id, state=int(state), due=0)
        self._bury(task_id)

    def _changed(self, task_id: int, **changes: int) -> None:
        self.facts["task", task_id] = self.task(task_id)._replace(**changes)

    def _bury(self, task_id: int) -> None:
        """Its name, if it has one, becomes a tombstone."""
        if task_id in self._names and self.facts.get(("name", *self._names[task_id])) == (task_id, None):
            self.facts["name", *self._names[task_id]] = (task_id, self._clock() + self._tombstone_us)
