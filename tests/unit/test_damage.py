"""What a task breaks in the process it runs in: threads, the event loop, the socket, limits. The others go on."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from deferq.model.events import Event, EventName
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, Failed
from deferq.runtime.children import child as child_module
from deferq.runtime.children.channel import Channel
from deferq.runtime.children.child import Child
from deferq.runtime.children.damage import Damage
from deferq.runtime.children.nursery import REPLACE_STUCK_S
from deferq.runtime.children.process import STUCK_S, Condition
from deferq.runtime.children.spawning import inherited
from deferq.runtime.children.starts import shared_memory
from deferq.runtime.children.wire import CUT_OFF, DONE, STOP, WORN, Reader, pack
from deferq.runtime.coroutines import LOOP_LOST
from deferq.runtime.executor import Executor
from deferq.runtime.listeners import Listeners
from deferq.runtime.settling import WORKER_DIED, lost_with_process
from tests.unit.fakechild import give, leased
from tests.unit.test_child import Pair
from tests.unit.test_nursery import Scene
from tests.unit.test_pool import Bench, Functions, until


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.pool.close(1.0)


# ---- threads


def test_an_exception_thrown_into_threads_that_rest_costs_no_thread_and_no_task(bench: Bench) -> None:
    bench.start(lambda: None)
    bench.collect(1)
    for slot in bench.pool._slots:
        assert slot.thread is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(slot.thread.ident or 0), ctypes.py_object(SystemExit))
    tasks = bench.start(*[lambda: None] * 20)
    assert {one.task.id for one in bench.collect(20)} == {task.id for task in tasks}
    assert all(slot.thread.is_alive() for slot in bench.pool._slots if slot.thread is not None)


def test_a_thread_that_is_struck_while_it_reports_goes_on(bench: Bench) -> None:
    def wake() -> None:
        bench.pool._wake = bench._wake
        raise MemoryError

    assert bench.pool.finished() == []
    bench.pool._wake = wake
    (task,) = bench.start(lambda: None)
    until(lambda: bool(bench.pool._done))
    assert bench.pool.finished()[0].task == task
    bench.start(*[lambda: None] * 20)
    ids = {one.task.id for one in bench.collect(20)}
    assert len(ids - {task.id}) >= 19
    assert all(slot.thread.is_alive() for slot in bench.pool._slots if slot.thread is not None)


# ---- the event loop


async def nothing() -> None: ...


async def waits() -> None:
    await asyncio.sleep(60)


def test_when_a_task_closes_the_loop_what_ran_there_has_failed_and_what_waits_runs_in_another(bench: Bench) -> None:
    async def closes() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.is_running = lambda: False
        loop.close()
        del loop.is_running

    neighbour, _ = bench.start(waits, closes)
    tasks = bench.start(nothing, nothing, nothing)
    done = {one.task.id: one.outcome for one in bench.collect(5)}
    assert done[neighbour.id] is LOOP_LOST
    assert [done[task.id] for task in tasks] == [SUCCEEDED] * 3


def test_a_loop_whose_descriptors_a_thread_has_closed_is_replaced(bench: Bench) -> None:
    (neighbour,) = bench.start(waits)
    until(lambda: bench.pool._coroutines.running() == 1)
    loop: Any = bench.pool._coroutines._loop
    for thing in (loop._selector, loop._ssock, loop._csock):
        os.close(thing.fileno())
    (task,) = bench.start(nothing)
    done = {one.task.id: one.outcome for one in bench.collect(2)}
    assert done == {neighbour.id: LOOP_LOST, task.id: SUCCEEDED}


def test_a_task_factory_that_raises_harms_nobody(bench: Bench) -> None:
    async def breaks() -> None:
        def factory(*_: object, **__: object) -> Any:
            raise RuntimeError("of a task")

        asyncio.get_running_loop().set_task_factory(factory)

    bench.start(breaks)
    bench.collect(1)
    bench.start(nothing, nothing)
    assert [one.outcome for one in bench.collect(2)] == [SUCCEEDED] * 2


def test_what_cannot_be_started_in_the_loop_fails_and_is_not_forgotten() -> None:
    def broken(_: object) -> None:
        raise MemoryError

    bench = Bench()
    bench.pool._coroutines._on_start = broken
    bench.start(nothing)
    assert isinstance(bench.collect(1)[0].outcome, Failed)
    bench.pool.close(1.0)


def test_a_coroutine_that_another_one_cancels_before_its_first_step_is_given_back(bench: Bench) -> None:
    began = threading.Event()

    async def cancels_all() -> None:
        began.set()
        while len(asyncio.all_tasks()) == 1:
            time.sleep(0.001)
            bench.pool._coroutines._fill()  # as the loop would, had it not been blocked
        for other in asyncio.all_tasks() - {asyncio.current_task()}:
            other.cancel()

    bench.start(cancels_all)
    assert began.wait(10)
    (task,) = bench.start(nothing)
    done = {one.task.id: one.outcome for one in bench.collect(2)}
    assert done[task.id] is INTERRUPTED


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_copy_that_a_coroutine_forks_does_not_go_on_with_its_neighbours() -> None:
    bench = Bench(async_slots=5)
    reader, writer = os.pipe()
    children: list[int] = []

    async def neighbour() -> None:
        for _ in range(50):
            await asyncio.sleep(0)
            os.write(writer, b"!")

    async def forks() -> None:
        await asyncio.sleep(0)
        if child := os.fork():
            children.append(child)

    bench.start(neighbour, forks, neighbour)
    assert [one.outcome for one in bench.collect(3)] == [SUCCEEDED] * 3
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 1
    assert len(os.read(reader, 1000)) == 100
    os.close(reader)
    os.close(writer)
    bench.pool.close(1.0)


# ---- listeners


def test_a_listener_may_fail_although_logging_fails_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("I/O operation on closed file")

    monkeypatch.setattr(logging.getLogger("deferq"), "exception", broken)
    Listeners([broken]).announce(Event(EventName.TASK_STARTED, 1))


# ---- between parent and child


@pytest.mark.parametrize("rubbish", [b"x", b"rubbish", b"\0" * 12, b"\xff" * 100, b"dfrq" + b"\0" * 8])
def test_what_a_task_writes_into_the_socket_is_told_from_a_frame(rubbish: bytes) -> None:
    reader = Reader()
    with pytest.raises((ValueError, EOFError, TypeError)):
        list(reader.feed(rubbish + pack(DONE, [])))


def test_a_channel_keeps_what_came_before_the_rubbish_and_hears_no_more() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.sendall(pack(DONE, [1]) + b"rubbish" + pack(DONE, [2]))
    assert channel.receive() == [(DONE, [1])]
    assert (channel.closed, channel.garbled) == (True, True)
    theirs.close()
    channel.close()


def test_a_child_whose_socket_is_garbled_is_killed_at_once_and_people_read_why() -> None:
    scene = Scene().begin()
    places = give(scene.spawned[0], [leased(1), leased(2)], scene.now)
    for number in (1, 2):
        scene.spawned[0].start(places[number], scene.now)
    scene.spawned[0].end.sendall(b"rubbish of a task")
    scene.spawned[0].parents.channel.readable = True
    scene.look()
    scene.look(0.01)
    assert scene.spawned[0].process.returncode == -9
    assert set(scene.look(1.0).values()) == {lost_with_process(WORKER_DIED, "lost its connection to its parent", 1)}


def test_how_a_process_ended_stands_in_the_error() -> None:
    alone, beside = (
        lost_with_process(WORKER_DIED, "was killed by SIGSEGV", 0),
        lost_with_process(WORKER_DIED, "was killed by SIGSEGV", 2),
    )
    assert alone.error.message == "The process was killed by SIGSEGV while this task ran."
    assert beside.error.message == "The process was killed by SIGSEGV while this task ran, and 2 others with it."
    assert (alone.reason, alone.permanent) == ("worker lost", False)


class Exited(BaseException):
    """In place of the end of the process."""


def test_a_child_that_is_struck_while_it_reads_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []

    def exits(code: int) -> None:
        codes.append(code)
        raise Exited

    monkeypatch.setattr(child_module.os, "_exit", exits)
    ours, theirs = socket.socketpair()
    memory = shared_memory()
    child = Child(
        Executor(Functions()), theirs, memory, threads=1, async_slots=1, listeners=Listeners([]), now=lambda: 5
    )
    ours.sendall(b"no frame of ours")
    with pytest.raises(Exited):
        child._hear(None)
    assert codes == [CUT_OFF]
    os.close(memory)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("again", [False, True], ids=["once", "again while it says so"])
def test_a_child_whose_main_thread_is_struck_ends(monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    codes: list[int] = []
    monkeypatch.setattr(child_module.os, "_exit", codes.append)
    ours, theirs = socket.socketpair()
    memory = shared_memory()
    child = Child(
        Executor(Functions()), theirs, memory, threads=1, async_slots=1, listeners=Listeners([]), now=lambda: 5
    )

    def struck() -> None:
        raise SystemExit(0)

    monkeypatch.setattr(child._pool, "work", struck)
    if again:
        monkeypatch.setattr(child_module.traceback, "print_exc", struck)
    with suppress(SystemExit):  # here the process goes on
        child.run({})
    assert codes == [1]
    os.close(memory)
    ours.close()
    theirs.close()


def test_the_socket_of_a_child_has_a_number_that_tasks_do_not_close_by_the_way() -> None:
    ours, theirs = socket.socketpair()
    memory = shared_memory()
    end, moved, _ = inherited(f"{theirs.detach()},{memory}")
    assert min(end.fileno(), moved) >= 200
    assert not os.get_inheritable(end.fileno())
    assert not os.get_inheritable(moved)
    ours.sendall(b"moin")
    assert end.recv(4) == b"moin"
    os.close(moved)
    end.close()
    ours.close()


def test_a_child_that_is_allowed_no_descriptors_still_hears_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system polls nothing then, and a child that took that for the end of its parent lost its tasks."""
    monkeypatch.setattr(child_module.os, "_exit", lambda code: pytest.fail(f"it ended with {code}"))
    ours, theirs = socket.socketpair()
    memory = shared_memory()
    child = Child(
        Executor(Functions()), theirs, memory, threads=1, async_slots=1, listeners=Listeners([]), now=lambda: 5
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        child._hear(1)
        ours.sendall(pack(STOP, None))
        child._hear(1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert child._pool._closed
    os.close(memory)
    ours.close()
    theirs.close()


# ---- damage


def test_a_process_nobody_has_damaged_is_found_well() -> None:
    damage = Damage()
    assert (damage.at_a_glance(), damage.found()) == ("", "")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 1)
    sys.path.append("more")
    try:
        assert damage.found() == ""
    finally:
        sys.setrecursionlimit(limit)
        sys.path.remove("more")


def test_a_lower_recursion_limit_is_seen_at_a_glance() -> None:
    damage = Damage()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit - 1)
    try:
        assert damage.at_a_glance() == "a task has lowered the recursion limit"
    finally:
        sys.setrecursionlimit(limit)


def test_lost_modules_are_seen_at_a_glance(monkeypatch: pytest.MonkeyPatch) -> None:
    damage = Damage()
    monkeypatch.delitem(sys.modules, "deferq.runtime.children.damage")
    assert damage.at_a_glance() == "a task has emptied sys.modules"


def test_lost_folders_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    damage = Damage()
    monkeypatch.setattr(sys, "path", [])
    assert damage.found() == "a task has taken folders from sys.path"


def test_a_limit_that_a_task_has_set_is_found() -> None:
    damage = Damage()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        assert damage.found() == "a task has set a limit for open files"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_damaged_child_says_so_and_still_reports() -> None:
    pair = Pair()
    limit = sys.getrecursionlimit()
    try:
        pair.send(pair.task(1, lambda: sys.setrecursionlimit(limit - 1)))
        assert pair.collect(1) == {(1, 1): SUCCEEDED}
        pair.until(lambda: pair.parents.worn)
        assert pair.parents.worn == "a task has lowered the recursion limit"
    finally:
        sys.setrecursionlimit(limit)
        pair.parents.stop()
        pair.thread.join(10)


def test_a_damaged_child_is_replaced() -> None:
    scene = Scene().begin()
    scene.spawned[0].say(WORN, "a task has emptied sys.modules")
    scene.look()
    assert scene.conditions() == [Condition.RETIRING, Condition.STARTING]
    assert scene.told[0] == (
        EventName.CHILD_REPLACED, f"pid {scene.spawned[0].parents.pid}: a task has emptied sys.modules",
    )  # fmt: skip


# ---- a blocked event loop


def in_loop(scene: Scene, *numbers: int) -> dict[int, int]:
    """Coroutines that have reached the event loop of the first child."""
    places = give(scene.spawned[0], [leased(number) for number in numbers], scene.now, scene.now + 60)
    for number in numbers:
        scene.spawned[0].start(places[number], scene.now)
        scene.spawned[0].starts.started[places[number]] = 0.0
    scene.spawned[0].in_loop(*places.values())
    scene.look()
    return places


def test_what_waits_in_a_blocked_loop_is_taken_back_and_the_child_is_replaced_if_that_lasts() -> None:
    scene = Scene().begin()
    places = in_loop(scene, 1)
    scene.spawned[0].start(places[1], scene.now)  # and does not await
    in_loop(scene, 2)
    assert scene.look(STUCK_S + 0.1) == {}
    assert scene.conditions() == [Condition.STUCK]
    assert scene.look(0.1) == {2: INTERRUPTED}
    scene.look(REPLACE_STUCK_S)
    assert scene.conditions() == [Condition.RETIRING, Condition.STARTING]
    assert scene.spawned[0].parents.running() == 1


def test_a_loop_is_not_blocked_while_its_slots_are_taken() -> None:
    scene = Scene().begin()
    places = in_loop(scene, 1, 2)
    for number in (1, 2):
        scene.spawned[0].start(places[number], scene.now)
    in_loop(scene, 3)
    scene.look(5 * STUCK_S)
    assert scene.conditions() == [Condition.RUNNING]


def test_a_loop_is_not_blocked_if_it_has_just_begun_something() -> None:
    scene = Scene().begin()
    places = in_loop(scene, 1, 2)
    scene.now += STUCK_S
    scene.spawned[0].start(places[1], scene.now)
    scene.look(0.1)
    assert scene.conditions() == [Condition.RUNNING]
