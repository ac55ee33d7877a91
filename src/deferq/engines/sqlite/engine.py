"""The SQLite engine: what it offers, each method in a few lines, and the rooms it is made of."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock
from typing import TypeVar

from deferq.engines.answers import PutAnswer, TakeUp
from deferq.engines.base import (
    COUNT_CAP,
    PAYLOAD_LIMIT,
    RING_AHEAD_US,
    TOMBSTONE_S,
    Change,
    Clock,
    Counts,
    Details,
    Filter,
    LeasingEngine,
    Page,
    Parking,
    Record,
    RecordChange,
    Reschedule,
    Retention,
    Settlement,
    Swept,
    Total,
    Turn,
    Want,
    check_sizes,
    holder_of,
    system_clock,
)
from deferq.engines.sqlite import (
    changing,
    files,
    inspecting,
    leasing,
    limiting,
    migrations,
    putting,
    reading,
    settling,
    sweeping,
)
from deferq.engines.sqlite.bells import FifoBell, Ringer
from deferq.engines.sqlite.checkpoint import Checkpointer
from deferq.engines.sqlite.commits import SharedCommits
from deferq.engines.sqlite.connections import SYNCHRONOUS, Connect, Connections, check_version, connect
from deferq.engines.sqlite.forks import inside_sqlite
from deferq.engines.sqlite.gate import Gate
from deferq.engines.sqlite.place import Place, require
from deferq.engines.sqlite.trouble import is_lasting, raise_ours, translated
from deferq.engines.sqlite.within import SqliteWithin
from deferq.engines.within import Within
from deferq.errors import ConfigError, ForkedEngineError, StoreUnavailable
from deferq.model.settings import QueueChange, QueueSettings
from deferq.model.state import State
from deferq.model.task import Leased, NewTask, Task

Answer = TypeVar("Answer")
logger = logging.getLogger("deferq.sqlite")

#: Whether the file is still in its place is looked at no more often than every so many seconds.
LOOK_EVERY_S = 0.5
#: Seconds without a task after which dispatchers may be asleep.
QUIET_S = 0.002
NOWHERE = leasing.Lanes([], None)
NOTHING = leasing.Taken([])
#: Inherited connections that were in use at the fork, and must be neither used nor closed in the child.
_abandoned: list[sqlite3.Connection] = []
_engines: weakref.WeakSet[SqliteEngine] = weakref.WeakSet()


class SqliteEngine(LeasingEngine):
    """Tasks in an SQLite file, shared by any number of threads and processes of one machine.

    Args:
        path: the database file; made if it is not there. Its folder must exist.
        synchronous: FULL (what was put survives a power cut), or NORMAL and OFF, which may lose the last commits.
        clock: returns microseconds since the epoch, UTC.
        tombstone_s: seconds that the name of a finished task stays taken.
        payload_limit: largest payload in bytes.
        connect: opens a connection; for tests that need to stand between the engine and SQLite.

    The file is opened at the first use, and once closed it stays closed. A forked child opens it anew by itself.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: str = "FULL",
        clock: Clock = system_clock,
        tombstone_s: float = TOMBSTONE_S,
        payload_limit: int = PAYLOAD_LIMIT,
        connect: Connect = connect,
    ) -> None:
        if synchronous.upper() not in SYNCHRONOUS:
            raise ConfigError(f"synchronous: one of {', '.join(SYNCHRONOUS)}, not {synchronous!r}.")
        check_version()
        self.path = Path(path).absolute()
        self.synchronous = synchronous.upper()
        self.url = f"sqlite:///{self.path}"
        self.payload_limit = payload_limit
        self._clock = clock
        self._tombstone_us = int(tombstone_s * 1_000_000)
        self.within: Within | None = SqliteWithin(self)
        self._connect = connect
        self._closed = False
        #: The file has been open before, and others are not to find an empty one.
        self._was_there = False
        self._opening = Lock()
        #: Bells that dispatchers of this process wait with.
        self._bells_here: weakref.WeakSet[FifoBell] = weakref.WeakSet()
        self._writer: sqlite3.Connection | None
        self._forget()
        _engines.add(self)

    def now(self) -> int:
        """Microseconds since the epoch, UTC, from the injected clock."""
        return self._clock()

    # ---- opening and closing

    def open(self, *, behind_gate: bool = True) -> None:
        """Open the file and bring it to this release's schema. Every other method does so by itself.

        `behind_gate`: false for a thread that holds SQLite's write lock by a connection of its own, since whoever is
        behind the gate may wait for that. It has made sure that there is nothing to be written.
        """
        if not self.is_open:
            with self._opening:
                if self._writer is not None and self._place.left:
                    self._let_go()
                if self._writer is None:
                    self._open(behind_gate)

    @property
    def is_open(self) -> bool:
        """Whether the file is open, and still in its place as far as is known."""
        return self._writer is not None and not self._place.left

    def _let_go(self) -> None:
        """Close files that are not the store's any more."""
        with inside_sqlite.alone() as alone:
            if not alone or self._writer is None:
                raise self._is_opened_anew()
            self._checkpointer.close()
            if self._place.lost_its_log:
                self._save_log(self._writer)
            self._close_connections()
            self._ringer.close()
            self._forget()
            self._was_there = True

    def _save_log(self, writer: sqlite3.Connection) -> None:
        """A deleted log is still open here. What stands in it goes into the database, and nothing stays behind."""
        self._gate.acquire()
        try:
            writer.execute("pragma wal_checkpoint(truncate)").fetchone()
        except sqlite3.Error as error:
            logger.error("the log of %s was deleted, and could not be moved into the database: %s", self.path, error)
        finally:
            self._gate.release()

    def _open(self, behind_gate: bool) -> None:
        if self._closed:
            raise self._was_closed()
        if _abandoned:
            raise ForkedEngineError(
                f"This process was forked while another thread was using the store {self.path}, and that for long."
                " Fork when no deferq call is running, or start the process afresh (spawn)."
            )
        if self._was_there:
            require(self.path)
        files.prepare(self.path)
        with inside_sqlite, translated(str(self.path)):
            self._gate = self._open_gate()
            try:
                self._checkpointer = Checkpointer(self._gate, str(self.path))
                writer = self._prepare_writer() if behind_gate else self._checked_writer()
            except BaseException:
                self._gate.close()
                raise
            self._ringer = Ringer(self.bells)
            self._place = Place(self.path)
            self._look_at = 0.0
            self._writer = writer

    def _open_gate(self) -> Gate:
        try:
            return Gate(f"{self.path}-gate")
        except OSError as error:
            raise StoreUnavailable(
                f"The file {self.path}-gate cannot be opened ({error.strerror}). Is the folder writable, and is there"
                " space?"
            ) from error

    def _prepare_writer(self) -> sqlite3.Connection:
        """The writing connection. The gate keeps others from racing us."""
        self._gate.acquire()
        try:
            return self._checked_writer()
        except BaseException:
            # An open transaction left behind would keep everybody out of the file.
            self._connections.close()
            raise
        finally:
            self._gate.release()

    def _checked_writer(self) -> sqlite3.Connection:
        """A new writing connection, on a file that is whole and up to date."""
        with closing(self._connect(str(self.path))) as reader:
            version = migrations.schema_version(reader)
            files.check_length(self.path, reader)
        migrations.check(str(self.path), version)
        writer = self._connections.writer()
        if version < migrations.newest_version():
            try:
                writer.execute("begin immediate")
                migrations.migrate(writer, str(self.path))
                writer.execute("commit")
            except BaseException:
                self._connections.drop(writer)
                raise
        return writer

    def close(self) -> None:
        """Close the file for good."""
        with self._opening:
            self._closed = True
            if self._writer is None:
                return
            with inside_sqlite.alone() as alone:
                self._checkpointer.close()
                if alone:
                    self._close_connections()
                else:
                    self._connections.abandon()
                self._ringer.close()
                self._forget()

    def _close_connections(self) -> None:
        """The last one moves the log into the database, so this is a write."""
        self._gate.acquire()
        try:
            self._connections.close()
        finally:
            self._gate.release()
        self._gate.close()

    def _forget(self) -> None:
        """The state of an engine that is not open."""
        self._writer = None
        #: The writing connection was given up, and is to be replaced before it is used again.
        self._spoilt = False
        self._connections = Connections(self.path, self.synchronous, self._connect)
        self._commits = SharedCommits(self._transaction, self._put, is_plain=self._is_plain, put_plain=self._put_plain)
        #: Dispatchers that were dead when somebody looked last.
        self._dead: frozenset[int] = frozenset()
        self._known_queues: set[str] = set()
        self._queues_in_doubt: set[str] = set()
        #: Queues that were limited when somebody looked, so that the others cost nothing.
        self._limited: set[str] = set()
        #: Where the last task was leased from.
        self._busy_queue: str | None = None
        #: Monotonic time from which on a lone task is worth ringing for before it is stored.
        self._early_from = 0.0

    def _forget_parent(self) -> None:
        """In a forked child: let go of what belongs to the parent, which keeps its own copies."""
        if not inside_sqlite.none:
            _abandoned.extend(self._connections.abandon())
        self._connections.close()
        if self._writer is not None:
            self._checkpointer.close()
            self._gate.close()
            self._ringer.abandon()
        self._opening = Lock()
        self._forget()

    @property
    def bells(self) -> Path:
        """The folder of the dispatchers' bells."""
        return self.path.with_name(f"{self.path.name}-bells")

    # ---- how every access runs

    def _transaction(self, body: Callable[[sqlite3.Connection], None]) -> None:
        """Run `body` between BEGIN IMMEDIATE and COMMIT, behind the gate."""
        with inside_sqlite:
            self._check_opened()
            self._gate.acquire()
            committing = False
            try:
                writer = self._sound_writer()
                self._queues_in_doubt.clear()
                writer.execute("begin immediate")
                self._checkpointer.make_room()
                body(writer)
                committing = True
                writer.execute("commit")
                self._known_queues |= self._queues_in_doubt
                self._after_commit(writer)
            except BaseException as error:
                undone = self._undo(error)
                if isinstance(error, Exception):
                    raise_ours(error, str(self.path), committing=committing and not undone)
                raise
            finally:
                self._gate.release()

    def _alone(self, statement: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Run one statement behind the gate: it takes the write lock as BEGIN IMMEDIATE does, and commits."""
        with inside_sqlite:
            self._check_opened()
            self._gate.acquire()
            try:
                writer = self._sound_writer()
                answer = statement(writer)
                self._after_commit(writer)
            except Exception as error:
                self._undo(error)
                raise_ours(error, str(self.path), committing=True)
            finally:
                self._gate.release()
        return answer

    def _lightly(self, statement: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """The same for a write that a power cut may undo: its commit does not wait for the disk."""
        with inside_sqlite:
            self._check_opened()
            self._gate.acquire()
            try:
                writer = self._sound_writer()
                with self._connections.light_writer() as connection:
                    answer = statement(connection)
                self._after_commit(writer)
            except Exception as error:
                self._undo(error)
                raise_ours(error, str(self.path), committing=True)
            finally:
                self._gate.release()
        return answer

    def _after_commit(self, writer: sqlite3.Connection) -> None:
        """What was committed is acknowledged, whatever becomes of the connection now."""
        try:
            self._checkpointer.after_commit(writer)
        except sqlite3.Error:
            self._spoil_writer()

    def _undo(self, error: BaseException) -> bool:
        """Roll back; true if there was something to undo. A connection that cannot do it keeps nobody out."""
        undone: bool | None = None
        try:
            undone = _roll_back(self._writer)
        finally:
            if undone is None or is_lasting(error):
                self._spoil_writer()
        return undone is not False

    def _spoil_writer(self) -> None:
        """Close the writing connection. Behind the gate nobody else uses it, and who comes next has a new one."""
        self._spoilt = True
        self._look_at = 0.0
        self._checkpointer.close()
        self._place.log_may_be_new()
        if self._writer is not None:
            self._connections.drop(self._writer)

    def _sound_writer(self) -> sqlite3.Connection:
        """The writing connection; a new one if the last one was given up. Call it behind the gate."""
        if self._spoilt:
            self._writer = self._checked_writer()
            self._spoilt = False
        assert self._writer is not None  # who is inside SQLite keeps it from being closed
        return self._writer

    def _is_plain(self, tasks: Sequence[NewTask]) -> bool:
        """Whether storing them is one insertion of one row, and the log has room for it."""
        return (
            len(tasks) == 1
            and tasks[0].name is None
            and tasks[0].spill is None
            and tasks[0].queue in self._known_queues
            and len(tasks[0].payload) <= putting.INLINE_BYTES
            and not self._checkpointer.outgrown
        )

    def _put_plain(self, take: Callable[[], Sequence[NewTask]]) -> list[PutAnswer]:
        """Plain tasks, without a transaction around their one statement."""
        return self._alone(lambda writer: self._insert_plain(writer, take()))

    def _insert_plain(self, writer: sqlite3.Connection, tasks: Sequence[NewTask]) -> list[PutAnswer]:
        if len(tasks) == 1:
            self._ring_early(tasks[0].eta)
            return [putting.put_plain(writer, tasks[0])]
        return putting.put(writer, tasks, 0)

    def _write(self, write: Callable[[sqlite3.Connection], Answer]) -> Answer:
        self.open()
        return self._commits.run(write)

    def _read(self, read: Callable[[sqlite3.Connection], Answer], *, committing: bool = False) -> Answer:
        """`committing`: it belongs to a commit, and its error does not say that nothing was changed."""
        self.open()
        with inside_sqlite, translated(str(self.path), committing=committing):
            self._check_opened()
            with self._connections.reader() as connection:
                return read(connection)

    def _check_opened(self) -> None:
        """Raise StoreUnavailable unless it is open, and the file in its place."""
        if self._writer is None:
            raise self._was_closed() if self._closed else self._is_opened_anew()
        if (now := time.monotonic()) >= self._look_at:
            self._place.check()
            self._look_at = now + LOOK_EVERY_S

    def _is_opened_anew(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"The store {self.path} is being opened anew by another thread. Try again. Nothing was changed."
        )

    def _was_closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"The store {self.path} was closed in this process. Make a new engine to go on.")

    # ---- Engine

    def put(self, tasks: Sequence[NewTask]) -> list[PutAnswer]:
        if not tasks:
            return []
        check_sizes(tasks, self.payload_limit)
        self.open()
        answers = self._commits.put(tasks)
        self._ring_for(tasks[0].eta if len(tasks) == 1 else min(task.eta for task in tasks))
        return answers

    def _put(self, connection: sqlite3.Connection, tasks: Sequence[NewTask]) -> list[PutAnswer]:
        """Store tasks, and first the queues that this process has not seen yet."""
        new = {task.queue for task in tasks if task.queue not in self._known_queues}
        if new:
            putting.add_queues(connection, new)
            self._queues_in_doubt |= new
        return putting.put(connection, tasks, self.now())

    def get(self, ids: Sequence[int]) -> list[Task]:
        return self._read(lambda connection: reading.get(connection, ids))

    def details(self, task_id: int) -> Details:
        return self._read(lambda connection: reading.details(connection, task_id))

    def spill(self, task_id: int) -> bytes | None:
        return self._read(lambda connection: reading.spill(connection, task_id))

    def find(self, where: Filter, *, after: int | None = None, limit: int = 100) -> Page:
        return self._read(lambda connection: reading.find(connection, where, after, limit))

    def holders(self, queue: str, names: Sequence[str]) -> list[int | None]:
        return self._read(lambda connection: reading.holders(connection, queue, names, self.now()))

    def change(self, ids: Sequence[int], change: Change) -> list[int]:
        changed = self._write(
            lambda connection: changing.change(connection, ids, change, self.now(), self._tombstone_us)
        )
        if isinstance(change, Reschedule) and changed:
            self._ring_for(change.eta)
        return changed

    def purge(self, queue: str, limit: int = 10_000) -> int:
        return self._write(lambda connection: changing.purge(connection, queue, limit, self.now(), self._tombstone_us))

    def queues(self) -> list[QueueSettings]:
        return self._read(reading.queues)

    def change_queues(self, changes: Sequence[tuple[str, QueueChange]]) -> list[QueueSettings]:
        settings = self._write(lambda connection: changing.change_queues(connection, changes))
        if any(not queue.paused for queue in settings):
            self._ring()
        return settings

    # ---- LeasingEngine

    def turn(self, settlements: Sequence[Settlement], want: Want | None) -> Turn:
        now = self.now()
        if want is not None and want.hurry and not settlements and (first := self._lease_first(want, now)):
            return Turn(now, (), first, now)
        lanes = NOWHERE if want is None else self._look(want, now, settlements)
        if not settlements and not lanes.due:
            return Turn(now, (), [], lanes.next_due)
        if self._dead:
            settlements = [self._as_over_if_dead(each) for each in settlements]

        def write(connection: sqlite3.Connection) -> tuple[list[Leased], leasing.Taken]:
            lost = settling.settle(connection, settlements, now, self._tombstone_us) if settlements else []
            if want is None or not lanes.due:
                return lost, NOTHING
            return lost, leasing.lease(connection, want, lanes, now, self._clock)

        lost, (ids, held_back_until) = self._write(write)
        if self._limited:
            self._offer_freed(settlements, now)
        due_again = _earliest(*_upcoming(settlements))
        if due_again is not None:
            self._ring_for(due_again)
        next_due = _earliest(lanes.next_due, held_back_until, due_again)
        if want is None or not ids:
            return Turn(now, tuple(lost), [], next_due)
        leased = self._read(lambda connection: leasing.read_leased(connection, want, ids, lanes, now), committing=True)
        self._busy_queue = leased[-1].queue if leased else None
        satisfied = len(leased) >= want.free + want.ahead
        return Turn(now, tuple(lost), leased, None if satisfied else next_due)

    def _look(self, want: Want, now: int, settlements: Sequence[Settlement]) -> leasing.Lanes:
        lanes = self._read(lambda connection: leasing.look(connection, want, now, settlements))
        self._limited |= lanes.limited
        return lanes

    def _offer_freed(self, settlements: Sequence[Settlement], now: int) -> None:
        """Ring if leases have ended for which others have waited: they saw their queue at its limit."""
        freed = self._limited.intersection(one.task.queue for one in settlements)
        if not freed:
            return
        with suppress(StoreUnavailable):  # the turn is committed, and the others poll
            if self._read(lambda connection: limiting.can_go_on(connection, freed, now)):
                self._ring()

    def _lease_first(self, want: Want, now: int) -> list[Leased]:
        """In a hurry: the next task of the queue that the last one came from, by one statement; often there is one."""
        queue = self._busy_queue
        if (
            queue is None
            or not want.free
            or want.pulls
            or self._checkpointer.outgrown
            or (want.queues is not None and queue not in want.queues)
        ):
            return []
        return self._alone(lambda writer: leasing.lease_first(writer, want, queue, now))

    def renew(self, leases: Sequence[Leased], until: int) -> tuple[list[Leased], list[Leased]]:
        return self._write(lambda connection: leasing.renew(connection, leases, until))

    def take_up(self, leases: Sequence[tuple[int, int]]) -> list[TakeUp]:
        if not leases:
            return []
        self.open()
        return self._lightly(
            lambda connection: [leasing.take_up(connection, *lease, now=self.now()) for lease in leases]
        )

    def stalled(self, limit: int = 100, *, queue: str | None = None) -> list[Leased]:
        self.open()
        if queue is not None:  # whoever asks for one queue looks after no dispatchers
            return self._read(lambda connection: leasing.stalled(connection, self.now(), limit, (), queue))
        self._dead = dead = self._find_dead()
        found = self._read(lambda connection: leasing.stalled(connection, self.now(), limit, dead))
        if dead and len(found) < limit:
            self._ringer.take_down(dead - {holder_of(task.lease_id) for task in found})
        for bell in list(self._bells_here):
            with suppress(OSError):  # the next time
                bell.hang_again()
        return found

    def requeue(self, ids: Sequence[int]) -> list[int]:
        requeued = self._write(lambda connection: changing.requeue(connection, ids, self.now()))
        if requeued:
            self._ring()
        return requeued

    def wake(self, limit: int = 100, *, only: Parking | None = None) -> int:
        if only is not None and not self._has_parked(only):
            return 0  # who asks every few seconds writes nothing
        woken = self._write(lambda connection: changing.wake(connection, only, limit, self.now()))
        if woken and only is None:
            self._ring()
        return woken

    def _has_parked(self, only: Parking) -> bool:
        return self._read(lambda connection: changing.parked(connection, only, 1, self.now())) != "[]"

    def counts(self, *, cap: int = COUNT_CAP) -> Counts:
        return self._read(lambda connection: reading.counts(connection, self.now(), cap))

    def totals(self, since: int, until: int) -> list[Total]:
        return self._read(lambda connection: reading.totals(connection, since, until))

    def sweep(self, retention: Retention, *, limit: int = 1_000) -> Swept:
        too_many = self._read(lambda connection: sweeping.one_too_many(connection, retention))
        return self._write(
            lambda connection: sweeping.sweep(connection, retention, too_many, limit, self.now(), self._tombstone_us)
        )

    def records(self, kind: str, *, after: str | None = None, limit: int = 100) -> list[Record]:
        return self._read(lambda connection: reading.records(connection, kind, after, limit))

    def change_records(self, changes: Sequence[RecordChange]) -> list[bool]:
        return self._write(lambda connection: [changing.change_record(connection, change) for change in changes])

    def bell(self, holder: int) -> FifoBell:
        self.open()
        try:
            bell = FifoBell(self.bells, holder, self._bells_changed)
        except OSError as error:
            raise StoreUnavailable(
                f"The folder {self.bells} cannot be used ({error.strerror}). Is it writable, and is there space?"
            ) from error
        self._bells_here.add(bell)
        return bell

    # ---- for people who look after the file

    def info(self) -> dict[str, int | str]:
        """Sizes in bytes, versions and modes of the file as it is; an older schema is not upgraded by looking at it."""
        with translated(str(self.path)), closing(self._connect(str(self.path))) as connection:
            return inspecting.info(connection, self.path, self.synchronous)

    def check(self, *, full: bool = False) -> list[str]:
        """What SQLite finds wrong with the file; nothing if it is sound. `full` compares every index with its table."""
        return self._read(lambda connection: inspecting.check(connection, full))

    # ---- for writes by connections of the caller's, see within.py

    @property
    def tombstone_us(self) -> int:
        """How long the name of a finished task stays taken."""
        return self._tombstone_us

    def unknown(self, queues: Iterable[str]) -> set[str]:
        """Those of these queues that may not be there yet."""
        return {queue for queue in queues if queue not in self._known_queues}

    def read(self, read: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """What `read` reads, by a connection of ours."""
        return self._read(read)

    def connect(self) -> sqlite3.Connection:
        """A new connection to the file, for the caller to close."""
        return self._connect(str(self.path))

    def ring(self) -> None:
        """Wake every dispatcher."""
        self._ring()

    # ---- waking

    def _ring_early(self, eta: int) -> None:
        """Behind the gate, before the commit: a dispatcher that sleeps wakes up while we write, and waits at the gate.

        One that does not come to the gate sees nothing yet, so it is rung again after the commit. Who defers one task
        after the other has dispatchers that are awake.
        """
        now = time.monotonic()
        if now >= self._early_from:
            self._ring_for(eta)
        self._early_from = now + QUIET_S

    def _ring_for(self, eta: int) -> None:
        if eta <= self.now() + RING_AHEAD_US:
            self._ring()

    def _ring(self) -> None:
        # After every commit: `suppress` costs more than the ring.
        try:  # noqa: SIM105
            self._ringer.ring(self._gate.bells)
        except ValueError:  # another thread has closed the engine since; the task stands, and dispatchers poll
            pass

    def _find_dead(self) -> frozenset[int]:
        try:
            return self._ringer.dead(self._gate.bells)
        except ValueError:  # another thread has closed the engine
            return frozenset()

    def _as_over_if_dead(self, settlement: Settlement) -> Settlement:
        """The dead renew nothing, so there is no need to wait for the end of their leases.

        One that was over when it was found has to be over still: if it was taken up, the dead are not its only holders.
        """
        task = settlement.task
        if settlement.only_if_over and task.leased_until > self.now() and holder_of(task.lease_id) in self._dead:
            return settlement._replace(only_if_over=False)
        return settlement

    def _bells_changed(self) -> None:
        with inside_sqlite:
            if self._writer is not None:
                self._gate.bells_changed()


def _upcoming(settlements: Sequence[Settlement]) -> list[int]:
    """When tasks are due again that go back, and follow-ups for the first time."""
    due = [to.eta for _, to, *_ in settlements if to.state is State.PENDING]
    return due + [task.eta for settlement in settlements for task in settlement.then]


def _earliest(*times: int | None) -> int | None:
    return min((time for time in times if time is not None), default=None)


def _roll_back(connection: sqlite3.Connection | None) -> bool | None:
    """Undo, and let the error that led here be the one that is raised.

    True: it is undone; False: there was nothing to undo, or the connection is closed; None: it could not be undone.
    """
    try:
        if connection is None or not connection.in_transaction:
            return False
    except sqlite3.ProgrammingError:
        return False
    try:
        connection.execute("rollback")
    except sqlite3.Error:
        return None
    return True


def _after_fork_in_child() -> None:
    for engine in list(_engines):
        engine._forget_parent()
    inside_sqlite.reset()


os.register_at_fork(after_in_child=_after_fork_in_child)

__all__ = ["SqliteEngine"]
