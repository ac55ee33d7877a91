"""Threads and coroutines: what a dispatcher may rely on."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import math
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from deferq.codec.codec import Codec, Invocation
from deferq.current import current_task
from deferq.errors import ForkedEngineError
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, Cancelled, Failed
from deferq.model.task import Leased, Options
from deferq.runtime.executor import Executor
from deferq.runtime.pools import Finished, Lease
from deferq.runtime.threads import ThreadPool

ALWAYS = Lease(0.0, math.inf)
_ids = itertools.count(1)


class Functions(Codec):
    """Decodes a task to the function that `task_of` remembered for it."""

    def __init__(self) -> None:
        self.carried = ()
        self.known: dict[str, Callable[..., Any]] = {}

    def decode(self, task: Leased) -> Invocation:
        fn = self.known[task.target]
        return Invocation(fn, (), {}, {}, inspect.iscoroutinefunction(fn))

    def seal_result(self, task_id: int, target: str, value: Any) -> bytes | None:
        return repr(value).encode()


class Bench:
    """A pool, and ways to feed it and to wait for it."""

    def __init__(self, threads: int = 2, async_slots: int = 2) -> None:
        self._codec = Functions()
        self.woken = threading.Semaphore(0)
        self.wakes = 0
        self.pool = ThreadPool(Executor(self._codec), threads=threads, async_slots=async_slots, wake=self._wake)

    def _wake(self) -> None:
        self.wakes += 1
        self.woken.release()

    def task(self, fn: Callable[..., Any], timeout_s: float | None = None) -> Leased:
        number = next(_ids)
        self._codec.known[f"t{number}"] = fn
        return Leased(
            id=number, queue="default", target=f"t{number}", priority=0, eta=0, attempts=0, starts=1, parks=0,
            expires_at=None, name=None, route=None, url=None, options=Options(timeout_s=timeout_s).encode(),
            payload=b"", first_due=0, lease_id=number, leased_until=0, cancel_requested=False,
        )  # fmt: skip

    def start(self, *fns: Callable[..., Any], lease: Lease = ALWAYS, timeout_s: float | None = None) -> list[Leased]:
        tasks = [self.task(fn, timeout_s) for fn in fns]
        self.pool.start(tasks, lease)
        return tasks

    def collect(self, number: int) -> list[Finished]:
        """Sleep like a dispatcher until so many have finished."""
        done: list[Finished] = []
        while len(done) < number:
            if more := self.pool.finished():
                done += more
            else:
                assert self.woken.acquire(timeout=10), "the pool did not wake its dispatcher"
        return done


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.pool.close(1.0)


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.001)


def test_every_task_comes_back_with_its_outcome(bench: Bench) -> None:
    tasks = bench.start(*[lambda: None] * 500)
    done = bench.collect(500)
    assert {one.task.id for one in done} == {task.id for task in tasks}
    assert {one.outcome for one in done} == {SUCCEEDED}


def test_a_dispatcher_that_has_not_looked_is_woken_once(bench: Bench) -> None:
    assert bench.pool.finished() == []
    gate = threading.Event()
    bench.start(*[gate.wait] * 50)
    gate.set()
    until(lambda: bench.pool.unstarted() == bench.pool.running() == 0)
    assert bench.wakes == 1
    assert len(bench.pool.finished()) == 50


def test_a_slow_task_holds_up_nobody(bench: Bench) -> None:
    gate = threading.Event()
    slow, *_ = bench.start(gate.wait, *[lambda: None] * 20)
    assert slow.id not in {one.task.id for one in bench.collect(20)}
    gate.set()
    assert bench.collect(1)[0].task == slow


def test_slots_are_counted(bench: Bench) -> None:
    gate = threading.Event()
    assert bench.pool.free() == 2
    bench.start(gate.wait)
    assert bench.pool.free() == 1
    bench.start(gate.wait, gate.wait, gate.wait)
    until(lambda: bench.pool.running() == 2)
    assert (bench.pool.free(), bench.pool.unstarted()) == (0, 2)
    gate.set()
    bench.collect(4)
    until(lambda: bench.pool.free() == 2)


def test_what_has_not_started_can_be_withdrawn(bench: Bench) -> None:
    gate = threading.Event()
    bench.start(gate.wait, gate.wait)
    until(lambda: bench.pool.running() == 2)
    older = bench.start(gate.wait, lease=Lease(1.0, math.inf))
    newer = bench.start(gate.wait, lease=Lease(2.0, math.inf))
    assert bench.pool.withdraw(2.0) == older
    assert bench.pool.withdraw() == newer
    assert bench.pool.withdraw() == []
    gate.set()


def test_a_task_whose_lease_is_over_is_not_started(bench: Bench) -> None:
    bench.start(lambda: pytest.fail("started"), lease=Lease(0.0, time.monotonic()))
    assert bench.collect(1)[0].outcome is INTERRUPTED


def test_a_coroutine_whose_lease_is_over_is_not_started(bench: Bench) -> None:
    async def never() -> None:
        pytest.fail("started")

    bench.start(never, lease=Lease(0.0, time.monotonic()))
    assert bench.collect(1)[0].outcome is INTERRUPTED


def test_coroutines_run_beside_each_other_up_to_their_slots(bench: Bench) -> None:
    running, most = 0, 0

    async def task() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1

    bench.start(*[task] * 10)
    assert {one.outcome for one in bench.collect(10)} == {SUCCEEDED}
    assert most == 2


def test_a_plain_function_that_returns_an_awaitable_goes_on_in_the_loop(bench: Bench) -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return f"{current_task().target} in {threading.current_thread().name}"

    def task() -> Awaitable[str]:
        assert threading.current_thread().name.startswith("deferq-")
        return inner()

    (leased,) = bench.start(task)
    assert bench.collect(1)[0].outcome.result == f"'{leased.target} in deferq-loop'".encode()


def test_a_thread_past_its_timeout_is_abandoned_and_replaced(bench: Bench) -> None:
    gate = threading.Event()
    bench.start(gate.wait, gate.wait, timeout_s=0.01)
    until(lambda: bench.pool.running() == 2)
    assert bench.pool.next_overdue() is not None
    late = bench.pool.overdue(time.monotonic() + 1)
    assert [one.outcome.reason for one in late] == ["timed out", "timed out"]
    assert (bench.pool.abandoned(), bench.pool.free()) == (2, 2)
    bench.start(lambda: None)
    bench.collect(1)
    gate.set()
    until(lambda: bench.pool.abandoned() == 0)
    assert bench.pool.finished() == []


def test_a_coroutine_that_ignores_its_timeout_is_given_up(bench: Bench) -> None:
    released = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    bench.start(stubborn, timeout_s=0.01)
    until(lambda: bench.pool.running() == 1 and bench.pool.unstarted() == 0)
    (late,) = bench.pool.overdue(time.monotonic() + 5)
    assert late.outcome.reason == "timed out"
    assert bench.pool.abandoned() == 1
    bench.pool._coroutines._loop.call_soon_threadsafe(released.set)
    until(lambda: bench.pool.abandoned() == 0)


def test_a_running_thread_sees_that_it_is_cancelled(bench: Bench) -> None:
    started = threading.Event()

    def task() -> None:
        started.set()
        until(lambda: current_task().cancelled)

    (leased,) = bench.start(task)
    assert started.wait(10)
    bench.pool.cancel({leased.id})
    assert bench.collect(1)[0].outcome is SUCCEEDED


def test_a_running_coroutine_is_cancelled(bench: Bench) -> None:
    started = threading.Event()

    async def task() -> None:
        started.set()
        await asyncio.sleep(60)

    (leased,) = bench.start(task)
    assert started.wait(10)
    bench.pool.cancel({leased.id})
    assert bench.collect(1)[0].outcome == Cancelled()


def test_a_waiting_task_that_is_cancelled_does_not_start_and_the_others_keep_their_order(bench: Bench) -> None:
    gate = threading.Event()
    bench.start(gate.wait, gate.wait)
    until(lambda: bench.pool.running() == 2)
    first, second, third = bench.start(gate.wait, gate.wait, gate.wait)
    bench.pool.cancel({second.id})
    assert bench.collect(1) == [Finished(second, Cancelled())]
    assert bench.pool.withdraw() == [first, third]
    gate.set()


def test_a_task_that_ends_the_loop_with_a_stray_system_exit_does_not_end_the_pool(bench: Bench) -> None:
    async def stray() -> None:
        raise SystemExit

    async def task() -> None:
        asyncio.get_running_loop().create_task(stray())
        await asyncio.sleep(0.01)

    bench.start(task)
    assert bench.collect(1)[0].outcome is SUCCEEDED


def test_trouble_in_the_machinery_fails_the_attempt_and_loses_nothing(bench: Bench) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    bench.pool._executor = type("Broken", (), {"prepare": broken})()
    bench.start(lambda: None)
    assert isinstance(bench.collect(1)[0].outcome, Failed)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_pool_refuses_to_start_anything_in_a_forked_child(bench: Bench) -> None:
    bench.start(lambda: None)
    bench.collect(1)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            bench.start(lambda: None)
        except ForkedEngineError:
            code = 0
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_that_a_task_forks_and_lets_come_back_runs_nothing_of_what_waits() -> None:
    bench = Bench(threads=1)
    reader, writer = os.pipe()
    children: list[int] = []

    def fork() -> None:
        if child := os.fork():
            children.append(child)
        # The child comes back, as if it were the task.

    bench.start(fork, *[lambda: os.write(writer, b"!")] * 20)
    bench.collect(21)
    try:
        until(lambda: os.waitpid(children[0], os.WNOHANG)[0] == children[0])
    except AssertionError:
        os.kill(children[0], signal.SIGKILL)
        raise
    assert len(os.read(reader, 100)) == 20
    os.close(reader)
    os.close(writer)
    bench.pool.close(1.0)


def test_a_task_that_ends_at_the_moment_of_its_timeout_loses_neither_itself_nor_the_next() -> None:
    class Late:
        """Looks like a CurrentTask; asked to stop, it lets the task end and waits until the thread has gone on."""

        def __init__(self, ends_at: float) -> None:
            self.ends_at = ends_at

        def cancel(self) -> None:
            ends.set()
            time.sleep(0.05)

    ends, second_runs = threading.Event(), threading.Event()
    bench = Bench(threads=1)
    bench.pool._executor.__class__ = type("Odd", (Executor,), {"__slots__": (), "current": lambda *_: Late(0.0)})
    first, second = bench.start(ends.wait, second_runs.wait, timeout_s=0.01)
    until(lambda: bench.pool.running() == 1)
    time.sleep(0.02)
    late = bench.pool.overdue(time.monotonic())
    second_runs.set()
    done = late + bench.collect(2 - len(late))
    assert sorted(one.task.id for one in done) == [first.id, second.id]
    bench.pool.close(1.0)


def test_coroutines_that_start_make_room_and_the_dispatcher_learns_of_it() -> None:
    bench = Bench(threads=1, async_slots=10)
    started = threading.Event()

    async def long() -> None:
        started.set()
        await asyncio.sleep(60)

    bench.start(long)
    assert bench.pool.finished() == []
    assert started.wait(10)
    assert bench.woken.acquire(timeout=10), "it would sleep on beside free slots"
    until(lambda: bench.pool.free() == 1)
    bench.pool.close(1.0)


def test_a_thread_is_free_by_the_time_the_dispatcher_hears_that_its_task_is_done() -> None:
    bench = Bench(threads=1)
    free: list[int] = []
    bench.pool._wake = lambda: (free.append(bench.pool.free()), bench.woken.release())  # type: ignore[assignment]
    assert bench.pool.finished() == []
    bench.start(lambda: None)
    bench.collect(1)
    assert free == [1]
    bench.pool.close(1.0)


def test_a_pool_can_be_closed_while_a_thread_is_about_to_start_its_event_loop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    about_to, go_on = threading.Event(), threading.Event()
    start = threading.Thread.start

    def slowly(thread: threading.Thread) -> None:
        if thread.name == "deferq-loop":
            about_to.set()
            assert go_on.wait(10)
        start(thread)

    async def coroutine() -> None: ...

    monkeypatch.setattr(threading.Thread, "start", slowly)
    bench.start(coroutine)
    assert about_to.wait(10)
    bench.pool.close(1.0)
    go_on.set()
    until(lambda: not bench.pool._coroutines._thread or not bench.pool._coroutines._thread.is_alive())
