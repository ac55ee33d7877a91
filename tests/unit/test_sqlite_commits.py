"""Writers that meet share a commit: who leads, who gets which answer, and what an error or an interruption does."""

from __future__ import annotations

import gc
import signal
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest

from deferq.engines.answers import Clash, PutAnswer, Stored
from deferq.engines.sqlite import SqliteEngine
from deferq.engines.sqlite import commits as commits_module
from deferq.engines.sqlite.commits import SharedCommits
from deferq.engines.sqlite.gate import Gate
from deferq.engines.sqlite.putting import ROWS_PER_INSERT
from deferq.errors import StoreUnavailable
from deferq.model.task import NewTask
from tests.support import FakeClock, TaskMaker

WAIT_S = 10.0
NO_CONNECTION = cast(sqlite3.Connection, None)
Hook = Callable[[], None]


class Transactions:
    """Stands where BEGIN and COMMIT do; the hooks of the n-th transaction run at its begin and at its commit."""

    def __init__(self) -> None:
        self.begun = 0
        self.puts: list[list[int]] = []
        #: The same, of those that were put without a transaction.
        self.plain: list[list[int]] = []
        self.at_begin: dict[int, Hook] = {}
        self.at_commit: dict[int, Hook] = {}
        self._running = threading.Lock()

    def __call__(self, body: Callable[[sqlite3.Connection], None]) -> None:
        assert self._running.acquire(blocking=False), "two transactions at once"
        try:
            self.begun += 1
            number = self.begun
            self.at_begin.get(number, nothing)()
            body(NO_CONNECTION)
            self.at_commit.get(number, nothing)()
        finally:
            self._running.release()

    def put(self, connection: sqlite3.Connection, tasks: Sequence[NewTask]) -> list[PutAnswer]:
        self.puts.append([task.id for task in tasks])
        return [Stored(task.id) for task in tasks]

    def put_plain(self, take: Callable[[], Sequence[NewTask]]) -> list[PutAnswer]:
        tasks: list[NewTask] = []
        self(lambda _: tasks.extend(take()))
        self.plain.append([task.id for task in tasks])
        return [Stored(task.id) for task in tasks]


class Held:
    """A hook that stops its transaction until it is let go, and then perhaps raises."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self._error = error

    def __call__(self) -> None:
        self.reached.set()
        assert self.go_on.wait(WAIT_S)
        if self._error is not None:
            raise self._error


def nothing() -> None:
    pass


def raising(error: BaseException) -> Hook:
    def raise_it() -> None:
        raise error

    return raise_it


@pytest.fixture
def transactions() -> Transactions:
    return Transactions()


@pytest.fixture
def commits(transactions: Transactions) -> SharedCommits:
    return SharedCommits(transactions, transactions.put)


@pytest.fixture
def plain_commits(transactions: Transactions) -> SharedCommits:
    return plainly(transactions)


def plainly(transactions: Transactions) -> SharedCommits:
    """Tasks that come alone are plain."""
    return SharedCommits(
        transactions, transactions.put, is_plain=lambda tasks: len(tasks) == 1, put_plain=transactions.put_plain
    )


def lined_up(commits: SharedCommits, number: int) -> None:
    """Wait until so many stand in line."""
    give_up = time.monotonic() + WAIT_S
    while len(commits._line) != number:
        assert time.monotonic() < give_up
        time.sleep(0.0005)


def in_thread(work: Callable[[], object]) -> Future[Any]:
    """Run `work` in a thread of its own; what it raises, even KeyboardInterrupt, is kept."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def write(answer: object) -> Callable[[sqlite3.Connection], object]:
    return lambda _: answer


def line_up(commits: SharedCommits, writes: Sequence[Callable[[sqlite3.Connection], object]]) -> list[Future[Any]]:
    """Each in a thread of its own, in line in this order."""
    waiting = []
    for each in writes:
        waiting.append(in_thread(lambda each=each: commits.run(each)))
        lined_up(commits, len(waiting))
    return waiting


def put_in_line(commits: SharedCommits, batches: Sequence[Sequence[NewTask]]) -> list[Future[Any]]:
    """Each in a thread of its own, in line in this order; but a plain task leads at once if nobody does."""
    waiting = []
    for batch in batches:
        before, leads = len(commits._line), commits._turn is None
        waiting.append(in_thread(lambda batch=batch: commits.put(batch)))
        lined_up(commits, before + (not leads))
        until_led(commits)
    return waiting


def until_led(commits: SharedCommits) -> None:
    """Wait until somebody leads."""
    give_up = time.monotonic() + WAIT_S
    while commits._turn is None:
        assert time.monotonic() < give_up
        time.sleep(0.0005)


@contextmanager
def running(commits: SharedCommits, held: Held) -> Iterator[Future[Any]]:
    """The first transaction runs, and goes on when the block is left."""
    leader = in_thread(lambda: commits.run(write("led")))
    assert held.reached.wait(WAIT_S)
    yield leader
    held.go_on.set()


def works(commits: SharedCommits) -> bool:
    """Whether the line still moves, for a lone writer and for another after it."""
    return [in_thread(lambda n=number: commits.run(write(n))).result(WAIT_S) for number in (1, 2)] == [1, 2]


# ---- sharing


def test_a_lone_writer_commits_at_once_and_alone(commits: SharedCommits, transactions: Transactions) -> None:
    assert commits.run(write("answer")) == "answer"
    assert commits.run(write("another")) == "another"
    assert transactions.begun == 2


def test_writers_that_meet_share_the_next_transaction(commits: SharedCommits, transactions: Transactions) -> None:
    transactions.at_commit[1] = held = Held()
    with running(commits, held) as leader:
        waiting = line_up(commits, [write(number) for number in range(20)])
    assert leader.result(WAIT_S) == "led"
    assert [each.result(WAIT_S) for each in waiting] == list(range(20))
    assert transactions.begun == 2


def test_who_lines_up_while_the_leader_waits_for_the_write_lock_comes_along(
    commits: SharedCommits, transactions: Transactions
) -> None:
    transactions.at_begin[1] = held = Held()
    leader = in_thread(lambda: commits.run(write("led")))
    assert held.reached.wait(WAIT_S)
    follower = in_thread(lambda: commits.run(write("followed")))
    lined_up(commits, 2)
    held.go_on.set()
    assert (leader.result(WAIT_S), follower.result(WAIT_S)) == ("led", "followed")
    assert transactions.begun == 1


def test_tasks_that_meet_are_put_by_one_statement_and_answered_apart(
    commits: SharedCommits, transactions: Transactions, new: TaskMaker
) -> None:
    batches = [new.many(1), new.many(3), [], new.many(2)]
    transactions.at_commit[1] = held = Held()
    with running(commits, held):
        waiting = []
        for batch in batches:
            waiting.append(in_thread(lambda batch=batch: commits.put(batch)))
            lined_up(commits, len(waiting))
    answers = [each.result(WAIT_S) for each in waiting]
    assert answers == [[Stored(task.id) for task in batch] for batch in batches]
    assert transactions.puts == [[task.id for batch in batches for task in batch]]


def test_writes_run_in_the_order_in_which_they_lined_up(commits: SharedCommits, transactions: Transactions) -> None:
    order: list[int] = []
    transactions.at_commit[1] = held = Held()
    with running(commits, held):
        waiting = line_up(commits, [lambda _, n=number: order.append(n) for number in range(10)])  # type: ignore[misc]
    for each in waiting:
        each.result(WAIT_S)
    assert order == list(range(10))


def test_nobody_waits_for_the_one_before_it_to_come_back(commits: SharedCommits, transactions: Transactions) -> None:
    """A leader hands on as soon as its commit is done: a hundred rounds leave nobody behind."""
    answers = [in_thread(lambda n=number: commits.run(write(n))) for number in range(100)]
    assert [each.result(WAIT_S) for each in answers] == list(range(100))
    assert commits._turn is None


# ---- errors


def fails(_: sqlite3.Connection) -> None:
    raise ValueError("mine")


def test_the_error_of_a_write_reaches_its_caller_and_nobody_else(
    commits: SharedCommits, transactions: Transactions
) -> None:
    transactions.at_commit[1] = held = Held()
    with running(commits, held):
        waiting = line_up(commits, [write("before"), fails, write("after")])
    assert waiting[0].result(WAIT_S) == "before"
    assert waiting[2].result(WAIT_S) == "after"
    with pytest.raises(ValueError, match="mine"):
        waiting[1].result(WAIT_S)
    assert transactions.begun == 2 + 3, "the three that met are tried once more, each alone"


def test_the_error_of_a_lone_write_is_not_tried_twice(commits: SharedCommits, transactions: Transactions) -> None:
    with pytest.raises(ValueError, match="mine"):
        commits.run(fails)
    assert transactions.begun == 1
    assert works(commits)


def test_each_of_two_failing_neighbours_gets_its_own_error(commits: SharedCommits, transactions: Transactions) -> None:
    def fails_too(_: sqlite3.Connection) -> None:
        raise KeyError("theirs")

    transactions.at_commit[1] = held = Held()
    with running(commits, held):
        first, second = line_up(commits, [fails, fails_too])
    with pytest.raises(ValueError, match="mine"):
        first.result(WAIT_S)
    with pytest.raises(KeyError):
        second.result(WAIT_S)


def test_a_commit_that_fails_fails_for_every_caller(commits: SharedCommits, transactions: Transactions) -> None:
    transactions.at_commit[1] = held = Held()
    transactions.at_commit.update({number: raising(StoreUnavailable("full")) for number in range(2, 6)})
    with running(commits, held) as leader:
        waiting = line_up(commits, [write(number) for number in range(3)])
    assert leader.result(WAIT_S) == "led"
    for each in waiting:
        with pytest.raises(StoreUnavailable):
            each.result(WAIT_S)
    assert works(commits)


def test_a_commit_that_fails_once_is_made_up_for(commits: SharedCommits, transactions: Transactions) -> None:
    transactions.at_commit[1] = held = Held()
    transactions.at_commit[2] = raising(StoreUnavailable("full"))
    with running(commits, held):
        waiting = line_up(commits, [write(number) for number in range(3)])
    assert [each.result(WAIT_S) for each in waiting] == [0, 1, 2]


def test_a_transaction_that_cannot_begin_is_refused_to_all_at_once(
    commits: SharedCommits, transactions: Transactions
) -> None:
    """Waiting half a minute for a stranger's lock once is enough; thirty callers one after the other is not."""
    transactions.at_commit[1] = held = Held()
    transactions.at_begin[2] = raising(StoreUnavailable("busy"))
    with running(commits, held):
        waiting = line_up(commits, [write(number) for number in range(30)])
    for each in waiting:
        with pytest.raises(StoreUnavailable, match="busy"):
            each.result(WAIT_S)
    assert transactions.begun == 2
    assert works(commits)


# ---- interruptions


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_a_leader_that_is_interrupted_hands_on_what_it_was_committing(
    commits: SharedCommits, transactions: Transactions, interruption: type[BaseException]
) -> None:
    transactions.at_commit[1] = first = Held()
    transactions.at_commit[2] = second = Held(interruption())
    with running(commits, first):
        waiting = line_up(commits, [write(number) for number in range(3)])
    assert second.reached.wait(WAIT_S)
    late = in_thread(lambda: commits.run(write("late")))
    lined_up(commits, 1)
    second.go_on.set()
    with pytest.raises(interruption):
        waiting[0].result(WAIT_S)
    assert [each.result(WAIT_S) for each in waiting[1:]] == [1, 2]
    assert late.result(WAIT_S) == "late"
    assert works(commits)


def test_a_leader_that_is_interrupted_before_it_begins_leaves_the_line_as_it_was(
    commits: SharedCommits, transactions: Transactions
) -> None:
    transactions.at_begin[1] = held = Held(KeyboardInterrupt())
    leader = in_thread(lambda: commits.run(write("led")))
    assert held.reached.wait(WAIT_S)
    follower = in_thread(lambda: commits.run(write("followed")))
    lined_up(commits, 2)
    held.go_on.set()
    with pytest.raises(KeyboardInterrupt):
        leader.result(WAIT_S)
    assert follower.result(WAIT_S) == "followed"
    assert works(commits)


@pytest.mark.parametrize("at", [3, 4, 5])
def test_a_leader_that_is_interrupted_while_it_tries_each_alone_leaves_nobody_asleep(
    commits: SharedCommits, transactions: Transactions, at: int
) -> None:
    """The second transaction fails; the third to fifth are for one writer each, and one of them is interrupted."""
    ran: list[str] = []

    def counted(name: str) -> Callable[[sqlite3.Connection], str]:
        return lambda _: ran.append(name) or name  # type: ignore[func-returns-value]

    transactions.at_commit[1] = held = Held()
    transactions.at_commit[2] = raising(ValueError())
    transactions.at_commit[at] = raising(KeyboardInterrupt())
    with running(commits, held):
        waiting = line_up(commits, [counted("a"), counted("b"), counted("c")])
    with pytest.raises(KeyboardInterrupt):
        waiting[0].result(WAIT_S)
    assert [each.result(WAIT_S) for each in waiting[1:]] == ["b", "c"]
    assert works(commits)


@contextmanager
def main_thread_interrupted_when(ready: Callable[[], object]) -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread once `ready()` has returned."""
    main = threading.main_thread().ident
    assert main is not None
    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupter = threading.Thread(target=lambda: (ready(), signal.pthread_kill(main, signal.SIGINT)), daemon=True)
    interrupter.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        interrupter.join(WAIT_S)
        signal.signal(signal.SIGINT, before)


def test_a_follower_that_is_interrupted_leaves_the_line(commits: SharedCommits, transactions: Transactions) -> None:
    ran: list[object] = []
    transactions.at_commit[1] = held = Held()
    with running(commits, held):
        before = in_thread(lambda: commits.run(write("before")))
        lined_up(commits, 1)
        with main_thread_interrupted_when(lambda: lined_up(commits, 2)):
            commits.run(ran.append)
        after = in_thread(lambda: commits.run(write("after")))
        lined_up(commits, 2)
    assert (before.result(WAIT_S), after.result(WAIT_S)) == ("before", "after")
    assert ran == []
    assert works(commits)


def test_a_follower_that_is_interrupted_while_it_is_committed_keeps_nobody_waiting(
    commits: SharedCommits, transactions: Transactions
) -> None:
    transactions.at_commit[1], transactions.at_commit[2] = first, second = Held(), Held()
    leader = in_thread(lambda: commits.run(write("led")))
    assert first.reached.wait(WAIT_S)
    waiting: list[Future[Any]] = []

    def when_committed() -> None:
        lined_up(commits, 2)
        waiting.append(in_thread(lambda: commits.run(write("after"))))
        lined_up(commits, 3)
        first.go_on.set()
        assert second.reached.wait(WAIT_S)

    before = in_thread(lambda: commits.run(write("before")))
    lined_up(commits, 1)
    with main_thread_interrupted_when(when_committed):
        commits.run(write("interrupted"))
    second.go_on.set()
    assert [each.result(WAIT_S) for each in (leader, before, *waiting)] == ["led", "before", "after"]
    assert works(commits)


def test_a_leader_and_a_follower_that_are_both_interrupted_keep_nobody_waiting(
    commits: SharedCommits, transactions: Transactions
) -> None:
    """The follower is gone when the leader hands its batch back: it must not be appointed."""
    transactions.at_commit[1], transactions.at_commit[2] = first, second = Held(), Held(KeyboardInterrupt())
    leader = in_thread(lambda: commits.run(write("led")))
    assert first.reached.wait(WAIT_S)
    waiting: list[Future[Any]] = []

    def when_committed() -> None:
        lined_up(commits, 2)
        waiting.append(in_thread(lambda: commits.run(write("after"))))
        lined_up(commits, 3)
        first.go_on.set()
        assert second.reached.wait(WAIT_S)

    interrupted = in_thread(lambda: commits.run(write("before")))
    lined_up(commits, 1)
    with main_thread_interrupted_when(when_committed):
        commits.run(write("gone"))
    second.go_on.set()
    with pytest.raises(KeyboardInterrupt):
        interrupted.result(WAIT_S)
    assert leader.result(WAIT_S) == "led"
    assert waiting[0].result(WAIT_S) == "after"
    assert works(commits)


# ---- plain tasks, which need no transaction around their statement


def test_plain_tasks_that_meet_are_put_without_a_transaction(
    plain_commits: SharedCommits, transactions: Transactions, new: TaskMaker
) -> None:
    tasks = new.many(20)
    transactions.at_commit[1] = held = Held()
    with running(plain_commits, held):
        waiting = put_in_line(plain_commits, [[task] for task in tasks])
    assert [each.result(WAIT_S) for each in waiting] == [[Stored(task.id)] for task in tasks]
    assert transactions.plain == [[task.id for task in tasks]]
    assert transactions.begun == 2


def test_a_plain_task_that_lines_up_while_the_leader_waits_comes_along(
    plain_commits: SharedCommits, transactions: Transactions, new: TaskMaker
) -> None:
    tasks = new.many(3)
    transactions.at_begin[1] = held = Held()
    leader = in_thread(lambda: plain_commits.put(tasks[:1]))
    assert held.reached.wait(WAIT_S)
    waiting = put_in_line(plain_commits, [[task] for task in tasks[1:]])
    held.go_on.set()
    assert [each.result(WAIT_S) for each in (leader, *waiting)] == [[Stored(task.id)] for task in tasks]
    assert transactions.plain == [[task.id for task in tasks]]


def test_a_write_that_lines_up_while_the_leader_of_plain_tasks_waits_is_for_the_next_commit(
    plain_commits: SharedCommits, transactions: Transactions, new: TaskMaker
) -> None:
    tasks = new.many(3)
    transactions.at_begin[1] = held = Held()
    first = in_thread(lambda: plain_commits.put(tasks[:1]))
    assert held.reached.wait(WAIT_S)
    second = put_in_line(plain_commits, [tasks[1:2]])[0]
    other = in_thread(lambda: plain_commits.run(write("written")))
    lined_up(plain_commits, 2)
    third = put_in_line(plain_commits, [tasks[2:]])[0]
    held.go_on.set()
    assert [each.result(WAIT_S) for each in (first, second, third)] == [[Stored(task.id)] for task in tasks]
    assert other.result(WAIT_S) == "written"
    assert transactions.plain == [[task.id for task in tasks[:2]]]
    assert transactions.puts == [[tasks[2].id]]
    assert transactions.begun == 2


def test_plain_tasks_beside_another_write_share_its_transaction(
    plain_commits: SharedCommits, transactions: Transactions, new: TaskMaker
) -> None:
    batches = [new.many(1), new.many(2), new.many(1)]
    transactions.at_commit[1] = held = Held()
    with running(plain_commits, held):
        waiting = put_in_line(plain_commits, batches)
    for each in waiting:
        each.result(WAIT_S)
    assert transactions.plain == []
    assert transactions.puts == [[task.id for batch in batches for task in batch]]


def test_what_one_statement_cannot_hold_is_put_in_a_transaction(
    plain_commits: SharedCommits, transactions: Transactions, new: TaskMaker
) -> None:
    tasks = new.many(ROWS_PER_INSERT + 1)
    transactions.at_commit[1] = held = Held()
    with running(plain_commits, held):
        waiting = put_in_line(plain_commits, [[task] for task in tasks])
    for each in waiting:
        each.result(WAIT_S)
    assert transactions.plain == []
    assert transactions.puts == [[task.id for task in tasks]]


def test_a_statement_takes_no_more_plain_tasks_than_it_holds(
    plain_commits: SharedCommits, transactions: Transactions, new: TaskMaker
) -> None:
    tasks = new.many(ROWS_PER_INSERT + 2)
    transactions.at_begin[1] = held = Held()
    leader = in_thread(lambda: plain_commits.put(tasks[:1]))
    assert held.reached.wait(WAIT_S)
    waiting = put_in_line(plain_commits, [[task] for task in tasks[1:]])
    held.go_on.set()
    assert [each.result(WAIT_S) for each in (leader, *waiting)] == [[Stored(task.id)] for task in tasks]
    assert [len(ids) for ids in transactions.plain] == [ROWS_PER_INSERT, 2]


def test_plain_tasks_whose_statement_failed_are_tried_alone(
    plain_commits: SharedCommits, transactions: Transactions, new: TaskMaker
) -> None:
    tasks = new.many(3)
    transactions.at_commit[1] = held = Held()
    transactions.at_commit[2] = raising(ValueError("of the three"))
    transactions.at_commit[4] = raising(ValueError("mine"))
    with running(plain_commits, held):
        first, second, third = put_in_line(plain_commits, [[task] for task in tasks])
    assert first.result(WAIT_S) == [Stored(tasks[0].id)]
    with pytest.raises(ValueError, match="mine"):
        second.result(WAIT_S)
    assert third.result(WAIT_S) == [Stored(tasks[2].id)]
    assert works(plain_commits)


@pytest.mark.parametrize("at", ["at_begin", "at_commit"])
def test_a_leader_of_plain_tasks_that_is_interrupted_hands_on_what_it_was_committing(
    plain_commits: SharedCommits, transactions: Transactions, new: TaskMaker, at: str
) -> None:
    tasks = new.many(4)
    transactions.at_commit[1] = first = Held()
    getattr(transactions, at)[2] = second = Held(KeyboardInterrupt())
    with running(plain_commits, first):
        waiting = put_in_line(plain_commits, [[task] for task in tasks[:3]])
    assert second.reached.wait(WAIT_S)
    waiting += put_in_line(plain_commits, [tasks[3:]])
    second.go_on.set()
    with pytest.raises(KeyboardInterrupt):
        waiting[0].result(WAIT_S)
    assert [each.result(WAIT_S) for each in waiting[1:]] == [[Stored(task.id)] for task in tasks[1:]]
    assert transactions.plain == [[task.id for task in tasks[1:]]]
    assert works(plain_commits)


@pytest.mark.parametrize("at", ["at_begin", "at_commit"])
def test_whoever_leads_with_a_plain_task_and_is_interrupted_hands_on_what_has_lined_up(
    plain_commits: SharedCommits, transactions: Transactions, new: TaskMaker, at: str
) -> None:
    tasks = new.many(3)
    transactions.at_begin[1] = arrived = Held()
    interrupted = Held(KeyboardInterrupt())
    if at == "at_begin":
        transactions.at_begin[1] = arrived = interrupted
    else:
        transactions.at_commit[1] = interrupted
    leader = in_thread(lambda: plain_commits.put(tasks[:1]))
    assert arrived.reached.wait(WAIT_S)
    waiting = put_in_line(plain_commits, [[task] for task in tasks[1:]])
    arrived.go_on.set()
    interrupted.go_on.set()
    with pytest.raises(KeyboardInterrupt):
        leader.result(WAIT_S)
    assert [each.result(WAIT_S) for each in waiting] == [[Stored(task.id)] for task in tasks[1:]]
    assert transactions.plain == [[task.id for task in tasks[1:]]]
    assert works(plain_commits)


@pytest.mark.parametrize("at", ["at_begin", "at_commit"])
def test_an_error_of_whoever_leads_with_a_plain_task_is_its_own(
    plain_commits: SharedCommits, transactions: Transactions, new: TaskMaker, at: str
) -> None:
    tasks = new.many(2)
    getattr(transactions, at)[1] = held = Held(ValueError("mine"))
    leader = in_thread(lambda: plain_commits.put(tasks[:1]))
    assert held.reached.wait(WAIT_S)
    (follower,) = put_in_line(plain_commits, [tasks[1:]])
    held.go_on.set()
    with pytest.raises(ValueError, match="mine"):
        leader.result(WAIT_S)
    assert follower.result(WAIT_S) == [Stored(tasks[1].id)]
    assert works(plain_commits)


class Interruption:
    """Interrupts a thread at the n-th place in commits.py where Python looks for signals: at calls, and after those."""

    def __init__(self, at: int) -> None:
        self._left = at

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event in ("call", "c_return") and frame.f_code.co_filename == str(commits_module.__file__):
            self._left -= 1
            if self._left == 0:
                raise KeyboardInterrupt

    def strikes(self, work: Callable[[], object]) -> object:
        """Do some work, and be struck."""
        sys.setprofile(self)
        try:
            return work()
        finally:
            sys.setprofile(None)


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("what", ["a plain task", "a write"])
def test_whoever_leads_may_be_interrupted_anywhere(new: TaskMaker, others: int, what: str) -> None:
    for at in count(1):
        transactions = Transactions()
        commits = plainly(transactions)
        own, *rest = new.many(1 + others)
        waiting: list[Future[Any]] = []
        transactions.at_begin[1] = partial(_join, commits, rest, waiting)
        work = partial(commits.put, [own]) if what == "a plain task" else partial(commits.run, write([Stored(own.id)]))
        leader = in_thread(partial(Interruption(at).strikes, work))
        struck = leader.exception(WAIT_S)
        assert struck is not None or leader.result() == [Stored(own.id)]
        assert [each.result(WAIT_S) for each in waiting] == [[Stored(task.id)] for task in rest][: len(waiting)]
        assert works(commits), f"after the interruption at place {at}"
        if struck is None:
            break
        assert isinstance(struck, KeyboardInterrupt)
    assert at > 7


def test_whoever_stands_in_line_may_be_interrupted_anywhere(new: TaskMaker) -> None:
    for at in count(1):
        transactions = Transactions()
        commits = plainly(transactions)
        own, other = new.many(2)
        transactions.at_commit[1] = held = Held()
        with running(commits, held) as leader:
            follower = in_thread(partial(Interruption(at).strikes, partial(commits.put, [own])))
            until(lambda follower=follower, commits=commits: follower.done() or bool(commits._line))
            waiting = put_in_line(commits, [[other]])
        assert leader.result(WAIT_S) == "led"
        struck = follower.exception(WAIT_S)
        assert struck is not None or follower.result() == [Stored(own.id)]
        assert waiting[0].result(WAIT_S) == [Stored(other.id)]
        assert works(commits), f"after the interruption at place {at}"
        if struck is None:
            break
        assert isinstance(struck, KeyboardInterrupt)
    assert at > 7


def until(reached: Callable[[], bool]) -> None:
    """Wait for it."""
    give_up = time.monotonic() + WAIT_S
    while not reached():
        assert time.monotonic() < give_up
        time.sleep(0.0005)


def _join(commits: SharedCommits, tasks: Sequence[NewTask], waiting: list[Future[Any]]) -> None:
    waiting.extend(put_in_line(commits, [[task] for task in tasks]))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("plain", [True, False])
def test_an_error_keeps_nothing_alive_once_it_was_caught(
    plain_commits: SharedCommits, transactions: Transactions, new: TaskMaker, error: type[BaseException], plain: bool
) -> None:
    class Mine(error):  # type: ignore[misc, valid-type]
        """One of a class of our own can be referred to weakly."""

    made: list[weakref.ref[Mine]] = []

    def make() -> Mine:
        mine = Mine()
        made.append(weakref.ref(mine))
        return mine

    def fail() -> None:
        raise make()

    transactions.at_begin[1] = fail
    gc.collect()
    gc.disable()
    try:
        with suppress(Mine):
            plain_commits.put(new.many(1 if plain else 2))
        assert made[0]() is None
    finally:
        gc.enable()


def test_plain_tasks_that_came_along_have_their_own_chance_when_the_statement_fails(
    plain_commits: SharedCommits, transactions: Transactions, new: TaskMaker
) -> None:
    tasks = new.many(3)
    transactions.at_begin[1] = held = Held()
    transactions.at_commit[1] = raising(ValueError("of the three"))
    transactions.at_commit[2] = raising(ValueError("mine"))
    leader = in_thread(lambda: plain_commits.put(tasks[:1]))
    assert held.reached.wait(WAIT_S)
    waiting = put_in_line(plain_commits, [[task] for task in tasks[1:]])
    held.go_on.set()
    with pytest.raises(ValueError, match="mine"):
        leader.result(WAIT_S)
    assert [each.result(WAIT_S) for each in waiting] == [[Stored(task.id)] for task in tasks[1:]]
    assert works(plain_commits)


def test_whoever_is_in_line_behind_a_plain_task_that_waited_in_vain_for_the_write_lock_does_not_wait_as_long_again(
    plain_commits: SharedCommits, transactions: Transactions, new: TaskMaker
) -> None:
    busy = StoreUnavailable("somebody else writes")
    busy.__cause__ = sqlite3.OperationalError("database is locked")
    busy.__cause__.sqlite_errorcode = sqlite3.SQLITE_BUSY
    transactions.at_begin[1] = held = Held(busy)
    tasks = new.many(3)
    waiting = [in_thread(lambda: plain_commits.put(tasks[:1]))]
    assert held.reached.wait(WAIT_S)
    waiting += put_in_line(plain_commits, [[task] for task in tasks[1:]])
    held.go_on.set()
    for each in waiting:
        with pytest.raises(StoreUnavailable):
            each.result(WAIT_S)
    assert transactions.begun == 1
    assert works(plain_commits)


def test_a_follower_that_is_interrupted_while_its_plain_task_is_committed_keeps_nobody_waiting(
    plain_commits: SharedCommits, transactions: Transactions, new: TaskMaker
) -> None:
    tasks = new.many(3)
    transactions.at_commit[1], transactions.at_commit[2] = first, second = Held(), Held()
    leader = in_thread(lambda: plain_commits.run(write("led")))
    assert first.reached.wait(WAIT_S)
    waiting = put_in_line(plain_commits, [tasks[:1]])

    def when_committed() -> None:
        lined_up(plain_commits, 2)
        waiting.extend(put_in_line(plain_commits, [tasks[2:]]))
        first.go_on.set()
        assert second.reached.wait(WAIT_S)

    with main_thread_interrupted_when(when_committed):
        plain_commits.put(tasks[1:2])
    second.go_on.set()
    assert leader.result(WAIT_S) == "led"
    assert [each.result(WAIT_S) for each in waiting] == [[Stored(tasks[0].id)], [Stored(tasks[2].id)]]
    assert works(plain_commits)


# ---- the same with a file


def test_thirty_two_threads_that_put_two_hundred_tasks_each_store_them_all(tmp_path: Path, clock: FakeClock) -> None:
    new = TaskMaker(clock)
    batches = [new.many(200) for _ in range(32)]
    with closing(SqliteEngine(tmp_path / "deferq.db", clock=clock, synchronous="NORMAL")) as engine:
        engine.put(new.many(1))
        start = threading.Barrier(32)

        def put(batch: list[NewTask]) -> list[PutAnswer]:
            start.wait(WAIT_S)
            return [answer for task in batch for answer in engine.put([task])]

        answers = [in_thread(lambda batch=batch: put(batch)) for batch in batches]
        assert [each.result(60) for each in answers] == [[Stored(task.id) for task in batch] for batch in batches]
        assert engine.counts().queues[0].ready == 1 + 32 * 200
        assert engine.check() == []


def put_behind_the_gate(engine: SqliteEngine, tasks: Sequence[NewTask]) -> list[Future[Any]]:
    """Put each by a thread of its own, so that they meet at the gate."""
    gate = Gate(f"{engine.path}-gate")
    with closing(gate):
        gate.acquire()
        waiting = put_in_line(engine._commits, [[task] for task in tasks])
        gate.release()
        return waiting


def test_an_error_of_one_plain_task_reaches_its_caller_and_nobody_else(
    tmp_path: Path, clock: FakeClock, new: TaskMaker
) -> None:
    with closing(SqliteEngine(tmp_path / "deferq.db", clock=clock)) as engine:
        engine.put(new.many(1))
        tasks = [new(), new(target="no text in UTF-8: \ud800"), new()]
        first, second, third = put_behind_the_gate(engine, tasks)
        assert first.result(WAIT_S) == [Stored(tasks[0].id)]
        with pytest.raises(UnicodeEncodeError):
            second.result(WAIT_S)
        assert third.result(WAIT_S) == [Stored(tasks[2].id)]
        assert engine.counts().queues[0].ready == 3


def test_plain_tasks_that_meet_are_answered_apart_when_an_id_is_taken(
    tmp_path: Path, clock: FakeClock, new: TaskMaker
) -> None:
    with closing(SqliteEngine(tmp_path / "deferq.db", clock=clock)) as engine:
        known = new()
        engine.put([known])
        task = new()
        waiting = put_behind_the_gate(engine, [known, known._replace(payload=b"of another"), task])
        assert [each.result(WAIT_S) for each in waiting] == [[Stored(known.id)], [Clash(known.id)], [Stored(task.id)]]
        assert engine.counts().queues[0].ready == 2


def test_a_put_that_was_interrupted_at_its_commit_can_be_repeated(
    tmp_path: Path, clock: FakeClock, new: TaskMaker
) -> None:
    with closing(SqliteEngine(tmp_path / "deferq.db", clock=clock)) as engine:
        task = new()
        engine.put(new.many(1))
        real = engine._checkpointer.after_commit
        engine._checkpointer.after_commit = lambda _: raising(KeyboardInterrupt())()  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            engine.put([task])
        engine._checkpointer.after_commit = real  # type: ignore[method-assign]
        assert engine.put([task]) == [Stored(task.id)]
        assert engine.counts().queues[0].ready == 2


def test_putting_nothing_opens_no_file(tmp_path: Path, clock: FakeClock) -> None:
    with closing(SqliteEngine(tmp_path / "deferq.db", clock=clock)) as engine:
        assert engine.put([]) == []
    assert list(tmp_path.iterdir()) == []
