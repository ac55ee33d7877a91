"""How a write becomes durable: writers of one process share commits.

An fsync costs as much as inserting a dozen rows. So whoever wants to write while no commit is running leads one at
once; those who arrive meanwhile line up, and the first of them leads the next commit for all of them. Nobody waits for
a timer, a lone caller pays nothing, and no thread of its own is needed.

A write is a function of the connection. It may run twice (if its neighbour in the same transaction failed, each is
tried alone), so it keeps no state but its answer. Tasks that meet are put by one statement, and need no transaction
around it if they are plain: each step of SQLite gives up the interpreter lock, and thirty threads that wait for it are
in no hurry to give it back.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from deferq.engines.answers import PutAnswer
from deferq.engines.sqlite.putting import ROWS_PER_INSERT
from deferq.model.task import NewTask

Answer = TypeVar("Answer")
Write = Callable[[sqlite3.Connection], Answer]
Put = Callable[[sqlite3.Connection, Sequence[NewTask]], list[PutAnswer]]
#: Stores and commits the tasks that its argument returns, once it is called.
PutPlain = Callable[[Callable[[], Sequence[NewTask]]], list[PutAnswer]]
Transaction = Callable[[Callable[[sqlite3.Connection], None]], None]


class _Entry:
    """One write in line, and how its thread learns what became of it."""

    __slots__ = ("answer", "done", "error", "following", "gone", "plain", "tasks", "turn", "write")

    def __init__(self, write: Write[Any] | None, tasks: Sequence[NewTask] = (), plain: bool = False) -> None:
        self.write = write
        self.tasks = tasks
        #: Whether it is one task, and one row stores it.
        self.plain = plain
        self.answer: Any = None
        self.error: Exception | None = None
        #: Whether answer or error stand.
        self.done = False
        #: A follower's thread holds it, and sleeps by acquiring it once more.
        self.turn: Lock
        #: Whom to wake next.
        self.following: _Entry | None = None
        #: Its thread was interrupted and waits no more.
        self.gone = False


def _no_plain_tasks(take: Callable[[], Sequence[NewTask]]) -> list[PutAnswer]:
    raise AssertionError("no task is plain")


class SharedCommits:
    """Runs writes in transactions, several at a time where they meet.

    `transaction(body)` runs `body(connection)` between BEGIN IMMEDIATE and COMMIT, and rolls back if either fails.
    `put(connection, tasks)` stores tasks. Where `is_plain(tasks)` says that they are one row, `put_plain(take)` stores
    and commits what `take()` returns by a single statement; it calls `take` when nobody else can write any more.
    """

    def __init__(
        self,
        transaction: Transaction,
        put: Put,
        *,
        is_plain: Callable[[Sequence[NewTask]], bool] = lambda tasks: False,
        put_plain: PutPlain = _no_plain_tasks,
    ) -> None:
        self._transaction = transaction
        self._put = put
        self._is_plain = is_plain
        self._put_plain = put_plain
        self._mutex = Lock()
        self._line: deque[_Entry] = deque()
        #: Whose turn it is: the entry of who leads, or of who wakes the next; of a leader without an entry the list of
        #: those that come along. None: nobody writes.
        self._turn: _Entry | list[_Entry] | None = None

    def run(self, write: Write[Answer]) -> Answer:
        """Run `write` in a committed transaction and return its answer, or raise its error."""
        answer: Answer = self._commit(_Entry(write))
        return answer

    def put(self, tasks: Sequence[NewTask]) -> list[PutAnswer]:
        """Store `tasks` in a committed transaction, by one statement with those of other threads."""
        if not self._is_plain(tasks):
            return self._commit_tasks(tasks)
        batch: list[_Entry] = []
        try:
            if self._begins_to_lead(batch):
                return self._put_leading(tasks, batch)
        except BaseException:
            self._let_go(batch)
            raise
        return self._commit_tasks(tasks, plain=True)

    def _commit_tasks(self, tasks: Sequence[NewTask], plain: bool = False) -> list[PutAnswer]:
        answers: list[PutAnswer] = self._commit(_Entry(None, tasks, plain))
        return answers

    # ---- a plain task while nobody else writes

    def _begins_to_lead(self, batch: list[_Entry]) -> bool:
        """True if no commit is running and nobody waits for one: then this thread leads, and need not line up.

        `batch` is what it will commit; as long as it leads, it is known by that.
        """
        with self._mutex:
            if self._turn is not None or self._line:
                return False
            self._turn = batch
        return True

    def _put_leading(self, tasks: Sequence[NewTask], batch: list[_Entry]) -> list[PutAnswer]:
        """What `_commit` does, without an entry as long as nobody else has lined up: most tasks come alone."""
        try:
            answers = self._put_plain(lambda: self._take_along(tasks, batch) if self._line else tasks)
            if not batch:
                self._pass_on(None)
                return answers
            _answer(batch, answers)
        except Exception as error:
            if not batch:
                batch.append(_Entry(None, tasks, plain=True))
            self._refuse(batch, error)
        own = batch[0]
        _chain(own, batch)
        self._pass_on(own)
        own_answers: list[PutAnswer] = _answer_of(own)
        return own_answers

    def _take_along(self, tasks: Sequence[NewTask], batch: list[_Entry]) -> Sequence[NewTask]:
        """Others have come to the gate: from now on our task is one of theirs."""
        batch.append(_Entry(None, tasks, plain=True))
        return self._take_plain(batch)

    def _let_go(self, batch: list[_Entry]) -> None:
        """It raised, or we were interrupted, wherever that was: somebody else leads, if that was still up to us."""
        if self._turn is not batch:
            return
        self._put_back(batch[1:])
        if batch:
            _chain(batch[0], [entry for entry in batch if entry.done])
        self._pass_on(batch[0] if batch else None)

    # ---- everything else

    def _commit(self, entry: _Entry) -> Any:
        try:
            if not self._leads(entry):
                entry.turn.acquire()  # until a leader has committed our write, or we are to lead
            if not entry.done:
                self._lead(entry)
            self._pass_on(entry)
        except BaseException:
            self._leave(entry)
            if self._turn is entry:
                self._pass_on(entry)
            raise
        return _answer_of(entry)

    def _leads(self, entry: _Entry) -> bool:
        """Line up; true if no commit is running, so that this thread leads."""
        with self._mutex:
            self._line.append(entry)
            if self._turn is None:
                self._turn = entry
                return True
            entry.turn = Lock()
            entry.turn.acquire()
        return False

    def _lead(self, own: _Entry) -> None:
        """Commit everything that is in line by the time the write lock is ours."""
        batch: list[_Entry] = []
        try:
            self._run_or_refuse(batch)
            _chain(own, batch)
        except BaseException:
            self._put_back(batch)
            self._leave(own)
            _chain(own, [entry for entry in batch if entry.done])
            raise

    def _run_or_refuse(self, batch: list[_Entry]) -> None:
        """Commit the line and leave it in `batch`, each with its answer or its error."""
        try:
            if not self._run_plain(batch):
                self._transaction(lambda connection: self._run_line(connection, batch))
        except Exception as error:
            self._refuse(batch, error)

    def _refuse(self, batch: list[_Entry], error: Exception) -> None:
        """Their commit failed: each has its own chance, or its error."""
        if batch and not _is_busy(error):
            self._retry_alone(batch, error)
        else:
            # Nothing was tried: no neighbour is to blame, and each on its own would wait as long in vain.
            self._take_line(batch)
            for entry in batch:
                entry.error = error

    def _run_plain(self, batch: list[_Entry]) -> bool:
        """Plain tasks need no transaction around their one statement; false if something else stands in line."""
        line = self._line
        with self._mutex:
            if not (line[0].plain if len(line) == 1 else self._is_plain_line()):
                return False
        _answer(batch, self._put_plain(partial(self._take_plain, batch)))
        return bool(batch)

    def _is_plain_line(self) -> bool:
        return len(self._line) <= ROWS_PER_INSERT and all(entry.plain for entry in self._line)

    def _take_plain(self, batch: list[_Entry]) -> Sequence[NewTask]:
        """Who lined up at the gate comes along, up to the first whose task is not plain. Returns their tasks."""
        line = self._line
        with self._mutex:
            while line and line[0].plain and len(batch) < ROWS_PER_INSERT:
                batch.append(line[0])  # first, so that an interruption loses nobody
                line.popleft()
        return batch[0].tasks if len(batch) == 1 else [entry.tasks[0] for entry in batch]

    def _run_line(self, connection: sqlite3.Connection, batch: list[_Entry]) -> None:
        self._take_line(batch)
        self._run(connection, batch)

    def _run(self, connection: sqlite3.Connection, batch: Sequence[_Entry]) -> None:
        puts = [entry for entry in batch if entry.write is None]
        if len(puts) == 1:
            puts[0].answer = self._put(connection, puts[0].tasks)
        elif puts:
            answers = iter(self._put(connection, [task for entry in puts for task in entry.tasks]))
            for entry in puts:
                entry.answer = [next(answers) for _ in entry.tasks]
        for entry in batch:
            if entry.write is not None:
                entry.answer = entry.write(connection)

    def _retry_alone(self, batch: Sequence[_Entry], error: Exception) -> None:
        """One of the writes failed, or their commit did: nobody's failure may become somebody else's."""
        if len(batch) == 1:
            batch[0].error = error
            return
        for entry in batch:
            try:
                self._transaction(partial(self._run, batch=[entry]))
            except Exception as own:
                entry.error = own
            entry.done = True

    def _take_line(self, batch: list[_Entry]) -> None:
        with self._mutex:
            batch.extend(self._line)
            self._line.clear()

    def _put_back(self, batch: Sequence[_Entry]) -> None:
        """The leader was interrupted; somebody else leads these."""
        with self._mutex:
            missing = [entry for entry in batch if not (entry.done or entry.gone or entry in self._line)]
            self._line.extendleft(reversed(missing))

    def _leave(self, entry: _Entry) -> None:
        """An interrupted thread waits for nothing any more."""
        with self._mutex:
            entry.gone = True
            if entry in self._line:
                self._line.remove(entry)

    def _pass_on(self, entry: _Entry | None) -> None:
        """Wake the next of the batch; the last one appoints a leader from those who have lined up meanwhile.

        One wakes one: a leader that woke thirty threads at once would wait for the interpreter lock behind them all. By
        the time the last is awake the first stand in line again, so that the next commit is for all of them.
        """
        with self._mutex:
            following = None if entry is None else entry.following
            while following is not None and following.gone:
                following = following.following
            if following is None and self._line:
                following = self._line[0]
            self._turn = following
            if following is not None:
                following.turn.release()  # in here, so that nobody is appointed and sleeps on


def _answer(batch: Sequence[_Entry], answers: list[PutAnswer]) -> None:
    """Give each plain task of the batch its answer."""
    if len(batch) == 1:
        batch[0].answer = answers
        return
    for entry, answer in zip(batch, answers, strict=True):
        entry.answer = [answer]


def _answer_of(entry: _Entry) -> Any:
    """What became of a write; raises its error."""
    error, entry.error = entry.error, None
    if error is not None:
        try:
            raise error
        finally:
            del error  # else it would keep itself, and the frames that it came through
    return entry.answer


def _is_busy(error: Exception) -> bool:
    """Whether another program held the write lock too long."""
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY


def _chain(own: _Entry, batch: Sequence[_Entry]) -> None:
    """The write of each is done; the leader wakes the first follower, and so on."""
    last = own
    for entry in batch:
        entry.done = True
        if entry is not own:
            last.following = entry
            last = entry
