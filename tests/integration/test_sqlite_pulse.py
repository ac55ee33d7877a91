"""The lock on a dispatcher's bell is its pulse: others of the machine see that it is dead, and take its tasks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from deferq.engines.answers import TakeUp
from deferq.engines.base import Filter, Settlement, new_lease_id
from deferq.engines.sqlite import SqliteEngine
from deferq.model.task import Leased, State
from deferq.runtime.settling import WORKER_LOST
from deferq.runtime.settling import settle as settlement_of
from tests.support import FakeClock, TaskMaker, lease, lease_one, want

ROOT = Path(__file__).parents[2]
NUMBER = 0xFFFFFFFF

#: Hangs a bell up, leases what is due, says so, and does as it is told by the lines it reads.
HOLD_TASKS = """
import multiprocessing, os, subprocess, sys, time
from deferq.engines.base import new_lease_id
from deferq.engines.sqlite import SqliteEngine
from tests.support import FakeClock, want

number = int(sys.argv[2])
engine = SqliteEngine(sys.argv[1], clock=FakeClock(), synchronous="OFF")
bell = engine.bell(number)
leased = engine.turn((), want(1000)._replace(lease_id=new_lease_id(number, 1))).leased
print(len(leased), flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


@pytest.fixture
def engine(tmp_path: Path, clock: FakeClock) -> Iterator[SqliteEngine]:
    with closing(SqliteEngine(tmp_path / "deferq.db", synchronous="OFF", clock=clock)) as engine:
        engine.open()
        yield engine


class Holder:
    """Another process that holds leases. It is told in Python what to do."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.holds = int(self._answer())

    def do(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        assert self._answer() == "done\n"

    def stop(self) -> None:
        """Freeze it, and return once it is frozen."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        assert self._process.wait(20) == -signal.SIGKILL

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def holder(engine: SqliteEngine, number: int = NUMBER) -> Iterator[Holder]:
    command = [sys.executable, "-c", HOLD_TASKS, str(engine.path), str(number)]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Holder(process)
        finally:
            process.kill()


def eventually(reached: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.005)


def fifos(engine: SqliteEngine) -> list[str]:
    return [fifo.name for fifo in engine.bells.iterdir()]


def burial(task: Leased) -> Settlement:
    """What a dispatcher that is not its holder makes of a task."""
    return settlement_of(task, WORKER_LOST, 0, task.leased_until, 0.0)._replace(only_if_over=True)


# ---- who is dead


@pytest.mark.parametrize("number", [0, 1, NUMBER])
def test_the_tasks_of_a_killed_dispatcher_are_stalled_at_once(
    engine: SqliteEngine, new: TaskMaker, number: int
) -> None:
    tasks = new.many(3)
    engine.put(tasks)
    with holder(engine, number) as other:
        assert other.holds == 3
        assert engine.stalled() == []
        other.kill()
        assert {task.id for task in engine.stalled()} == {task.id for task in tasks}


def test_what_was_taken_up_is_not_lost_with_its_dispatcher(
    engine: SqliteEngine, new: TaskMaker, clock: FakeClock
) -> None:
    """Another process runs it, and may be well: it has until the end of the lease, and may renew it."""
    engine.put(new.many(2))
    with holder(engine) as other:
        first, second = sorted(engine.get([task.id for task in engine.find(Filter()).tasks]), key=lambda task: task.id)
        assert engine.take_up([(first.id, first.lease_id or 0)]) == [TakeUp.TAKEN]
        other.kill()
        assert [task.id for task in engine.stalled()] == [second.id]
    clock.advance(31)
    over = {task.id: task for task in engine.stalled()}
    assert set(over) == {first.id, second.id}
    engine.renew([over[first.id]], clock.now + 30_000_000)
    assert engine.turn([burial(over[first.id]), burial(over[second.id])], None).lost == (over[first.id],)
    assert engine.get([first.id])[0].state is State.LEASED


def test_a_dispatcher_that_was_never_seen_alive_is_seen_to_be_dead(engine: SqliteEngine, new: TaskMaker) -> None:
    engine.put(new.many(3))
    with holder(engine) as other:
        other.kill()
    assert len(engine.stalled()) == 3


def test_whoever_puts_a_task_meanwhile_does_not_hide_the_dead(engine: SqliteEngine, new: TaskMaker) -> None:
    """Ringing shows too that nobody listens."""
    engine.put(new.many(3))
    with holder(engine) as other:
        engine.put([new()])
        other.kill()
        engine.put([new()])
        with closing(engine.bell(1)):
            engine.put([new()])
        assert len(engine.stalled()) == 3


def test_a_dispatcher_that_is_stopped_is_not_dead(engine: SqliteEngine, new: TaskMaker) -> None:
    engine.put(new.many(3))
    with holder(engine) as other:
        other.stop()
        assert engine.stalled() == []
        other.kill()
        assert len(engine.stalled()) == 3


def test_the_tasks_of_the_living_are_left_alone(engine: SqliteEngine, new: TaskMaker) -> None:
    engine.put(new.many(2))
    with closing(engine.bell(7)), holder(engine) as other:
        engine.put([new()])
        mine = lease_one(engine)
        other.kill()
        assert mine.id not in {task.id for task in engine.stalled()}


def test_a_dispatcher_that_takes_its_bell_down_is_not_dead(engine: SqliteEngine, new: TaskMaker) -> None:
    """It may still run a task that nobody could end; the lease of that one runs out."""
    engine.put(new.many(3))
    with holder(engine) as other:
        assert engine.stalled() == []
        other.do("bell.close()")
        assert engine.stalled() == []
        other.kill()
        assert engine.stalled() == []


def test_a_bell_taken_down_under_the_eyes_of_another_is_no_death(engine: SqliteEngine, new: TaskMaker) -> None:
    """The name goes before the lock does, so that nobody can see the one without the other."""
    engine.put(new.many(3))
    with holder(engine) as other:
        version = engine._gate.bells
        assert engine._ringer.dead(version) == frozenset()
        other.do("bell.close()")
        assert engine._ringer.dead(version) == frozenset()


@pytest.mark.parametrize(
    "how",
    [
        "pid = os.fork(); pid or time.sleep(600)",
        "multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,)).start()",
        "process = subprocess.Popen(['sleep', '600'], close_fds=False)",
    ],
)
def test_a_child_that_outlives_a_dispatcher_does_not_keep_it_alive(
    engine: SqliteEngine, new: TaskMaker, how: str
) -> None:
    engine.put(new.many(3))
    with holder(engine) as other:
        other.do("os.setpgid(0, 0)")
        group = other._process.pid
        try:
            other.do(how)
            assert engine.stalled() == []
            other.kill()
            eventually(lambda: len(engine.stalled()) == 3)  # a child may have to come to its senses first
        finally:
            os.killpg(group, signal.SIGKILL)


def test_a_child_that_lets_go_of_the_bell_leaves_its_parent_alive(engine: SqliteEngine, new: TaskMaker) -> None:
    engine.put(new.many(3))
    with holder(engine) as other:
        other.do("pid = os.fork(); pid or (bell.ring(), bell.close(), os._exit(0)); os.waitpid(pid, 0)")
        assert engine.stalled() == []
        other.do("assert not bell.heard()")
        assert len(fifos(engine)) == 1


# ---- what becomes of its tasks


def test_the_lease_of_the_dead_is_over_and_their_tasks_run_again(
    engine: SqliteEngine, new: TaskMaker, clock: FakeClock
) -> None:
    engine.put([new()])
    with holder(engine) as other:
        other.kill()
    (stalled,) = engine.stalled()
    assert stalled.leased_until > clock.now
    assert engine.turn([burial(stalled)], None).lost == ()
    (task,) = engine.get([stalled.id])
    assert (task.state, task.reason, task.attempts) == (State.PENDING, "worker lost", 1)
    clock.advance(60)
    assert lease_one(engine).id == stalled.id


def test_the_lease_of_the_living_is_not_over_because_somebody_says_so(engine: SqliteEngine, new: TaskMaker) -> None:
    engine.put(new.many(2))
    with closing(engine.bell(1)):
        wanted = want(1)._replace(lease_id=new_lease_id(1, 1))
        (held,) = engine.turn((), wanted).leased
        with holder(engine) as other:
            other.kill()
        assert len(engine.stalled()) == 1
        assert engine.turn([burial(held)], None).lost == (held,)


def test_two_rescuers_of_one_task_spend_one_attempt(engine: SqliteEngine, new: TaskMaker, clock: FakeClock) -> None:
    engine.put([new()])
    with holder(engine) as other:
        other.kill()
    with closing(SqliteEngine(engine.path, synchronous="OFF", clock=clock)) as rival:
        (seen,) = engine.stalled()
        assert rival.stalled() == [seen]
        engine.turn([burial(seen)], None)
        assert engine.stalled() == []
        rival.turn([burial(seen)], None)
        assert engine.get([seen.id])[0].attempts == 1
        clock.advance(60)
        leased = lease_one(engine)
        assert rival.turn([burial(seen)], None).lost == (seen,)
        assert engine.get([seen.id])[0].lease_id == leased.lease_id


def test_many_tasks_of_the_dead_come_in_portions_until_none_is_left(engine: SqliteEngine, new: TaskMaker) -> None:
    engine.put(new.many(250))
    with holder(engine) as other:
        assert other.holds == 250
        other.kill()
    portions = []
    while portion := engine.stalled(100):
        portions.append(len(portion))
        engine.turn([burial(task) for task in portion], None)
    assert portions == [100, 100, 50]


def test_tasks_whose_lease_is_over_come_first_and_none_comes_twice(
    engine: SqliteEngine, new: TaskMaker, clock: FakeClock
) -> None:
    engine.put(new.many(3))
    over = lease(engine, 1, lease_s=1)
    with holder(engine) as other:
        other.kill()
    clock.advance(2)
    assert [task.id for task in engine.stalled(1)] == [over[0].id]
    assert len({task.id for task in engine.stalled()}) == len(engine.stalled()) == 3
    clock.advance(60)
    assert len({task.id for task in engine.stalled()}) == len(engine.stalled()) == 3


# ---- what is left behind


def test_the_bell_of_the_dead_hangs_until_nothing_is_leased_to_them(engine: SqliteEngine, new: TaskMaker) -> None:
    engine.put(new.many(2))
    with holder(engine) as other:
        other.kill()
    first, second = engine.stalled()
    engine.turn([burial(first)], None)
    assert engine.stalled() == [second]
    assert len(fifos(engine)) == 1
    engine.turn([burial(second)], None)
    assert engine.stalled() == []
    assert fifos(engine) == []


def test_the_bell_of_somebody_dead_who_held_nothing_is_taken_down(engine: SqliteEngine) -> None:
    with holder(engine) as other:
        other.kill()
    assert len(fifos(engine)) == 1
    assert engine.stalled() == []
    assert fifos(engine) == []


def test_a_fifo_of_no_known_name_is_taken_down_once_nobody_has_it_open(engine: SqliteEngine) -> None:
    engine.bells.mkdir()
    os.mkfifo(engine.bells / "left-over", 0o600)
    engine.stalled()
    assert fifos(engine) == []


def test_whoever_only_puts_takes_no_bell_down(engine: SqliteEngine, new: TaskMaker) -> None:
    """The leases of the dead are told by it, and only dispatchers look for them."""
    with holder(engine) as other:
        engine.put([new()])
        other.kill()
        engine.put([new()])
    assert len(fifos(engine)) == 1


def test_looking_for_the_dead_disturbs_no_put(engine: SqliteEngine, new: TaskMaker) -> None:
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            engine.stalled()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(30):
            with closing(engine.bell(1)) as bell:
                engine.put([new()])
                assert bell.heard()
    finally:
        stop.set()
        looking.join(20)
    assert fifos(engine) == []
