"""Leases of attempts that were pushed: who keeps them when, and who settles what nobody waits for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from deferq.current import CurrentTask
from deferq.engines.base import Cancel
from deferq.engines.memory import MemoryEngine
from deferq.errors import StoreUnavailable
from deferq.http.attempt import Attempt
from deferq.http.keeper import IDLE_TICKS, KEEP_FROM_S, LEASE_S, RENEW_EVERY_S, Keeper
from deferq.model.events import Event, EventName
from deferq.model.outcome import SUCCEEDED, ErrorText, Failed
from deferq.model.retry import RetryPolicy
from deferq.model.state import State
from deferq.runtime.listeners import Listeners
from tests.support import US, FakeClock, TaskMaker, lease_one, settle, threads_named

WAIT_S = 20
FAILED = Failed(error=ErrorText(error_type="ValueError", message="no"))


class Monotonic:
    """Time that goes on with the engine's."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._start = clock.now

    def __call__(self) -> float:
        return (self._clock.now - self._start) / US


class Counting(MemoryEngine):
    """Counts renewals, and is away while it is told to."""

    renewals = 0
    away = False

    def renew(self, *arguments: Any) -> Any:
        self.renewals += 1
        return super().renew(*arguments)

    def turn(self, *arguments: Any) -> Any:
        if self.away:
            raise StoreUnavailable("away")
        return super().turn(*arguments)


@pytest.fixture
def engine(clock: FakeClock) -> Counting:
    return Counting(clock=clock)


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def keeper(engine: Counting, clock: FakeClock, heard: list[Event], monkeypatch: pytest.MonkeyPatch) -> Keeper:
    """It does its work when the test says so: `look_after`."""
    monkeypatch.setattr(Keeper, "_start", lambda self: None)
    return Keeper(lambda: engine, lambda: Listeners([heard.append]), monotonic=Monotonic(clock))


@pytest.fixture
def begin(engine: Counting, keeper: Keeper, clock: FakeClock, new: TaskMaker) -> Callable[..., Attempt]:
    """A pushed attempt that runs, of a task that is leased for 30 seconds."""

    def begin(waits_s: float | None = None) -> Attempt:
        engine.put([new(retry=RetryPolicy(min_backoff_s=0))])
        task = lease_one(engine, lease_s=30)
        attempt = Attempt(task, keeper._monotonic(), waits_s)
        attempt.current = CurrentTask(task)
        keeper.begin(attempt)
        return attempt

    return begin


def is_held(engine: Counting, attempt: Attempt) -> bool:
    (task,) = engine.get([attempt.task.id])
    return task.state is State.LEASED and task.lease_id == attempt.task.lease_id and engine.stalled() == []


def test_what_ends_soon_is_never_renewed(
    engine: Counting, keeper: Keeper, clock: FakeClock, begin: Callable[..., Attempt]
) -> None:
    attempt = begin(600)
    clock.advance(KEEP_FROM_S - 1)
    keeper.look_after()
    keeper.end(attempt)
    clock.advance(5)
    keeper.look_after()
    assert engine.renewals == 0


@pytest.mark.parametrize("waits_s", [None, 5, 600])
def test_what_runs_long_is_kept_whether_or_not_its_sender_lives(
    engine: Counting, keeper: Keeper, clock: FakeClock, begin: Callable[..., Attempt], waits_s: float | None
) -> None:
    attempt = begin(waits_s)
    for _ in range(600):
        clock.advance(1)
        keeper.look_after()
        assert is_held(engine, attempt)
    assert 600 / RENEW_EVERY_S - 2 <= engine.renewals <= 600 / RENEW_EVERY_S + 1
    keeper.end(attempt)
    clock.advance(LEASE_S + 1)
    keeper.look_after()
    assert [task.id for task in engine.stalled()] == [attempt.task.id]


def test_it_is_kept_as_soon_as_its_sender_waits_no_more(
    engine: Counting, keeper: Keeper, clock: FakeClock, begin: Callable[..., Attempt]
) -> None:
    begin(5)
    clock.advance(4)
    keeper.look_after()
    assert engine.renewals == 0
    clock.advance(1)
    keeper.look_after()
    assert engine.renewals == 1


def test_an_attempt_learns_that_it_was_cancelled_or_that_its_lease_is_lost(
    engine: Counting, keeper: Keeper, clock: FakeClock, begin: Callable[..., Attempt]
) -> None:
    wanted, unwanted, gone = begin(0), begin(0), begin(0)
    stopped: list[str] = []
    unwanted.stop = lambda: stopped.append("unwanted")
    engine.change([unwanted.task.id], Cancel())
    settle(engine, gone.task, FAILED)
    clock.advance(RENEW_EVERY_S)
    keeper.look_after()
    flags = [one.current.cancelled for one in (wanted, unwanted, gone) if one.current]
    assert (flags, stopped) == ([False, True, True], ["unwanted"])


def test_what_it_settles_is_stored_and_announced(
    engine: Counting, keeper: Keeper, clock: FakeClock, begin: Callable[..., Attempt], heard: list[Event]
) -> None:
    attempt = begin(0)
    clock.advance(3)
    assert keeper.settle(attempt, FAILED)
    (task,) = engine.get([attempt.task.id])
    assert (task.state, task.attempts) == (State.PENDING, 1)
    (event,) = heard
    assert (event.name, event.task_id, event.duration_s) == (EventName.TASK_FAILED, task.id, 3.0)
    assert not keeper.settle(attempt, SUCCEEDED)
    assert heard[1].name is EventName.TASK_LOST


def test_what_cannot_be_stored_yet_is_kept_and_stored_later(
    engine: Counting, keeper: Keeper, clock: FakeClock, begin: Callable[..., Attempt]
) -> None:
    attempts = [begin(0) for _ in range(3)]
    engine.away = True
    for attempt in attempts:
        keeper.settle_later(attempt, SUCCEEDED)
    keeper.look_after()
    engine.away = False
    clock.advance(RENEW_EVERY_S)
    keeper.look_after()
    assert {task.state for task in engine.get([one.task.id for one in attempts])} == {State.SUCCEEDED}
    clock.advance(RENEW_EVERY_S)
    keeper.look_after()
    assert engine.renewals == 0


def test_whatever_goes_wrong_the_others_are_kept(
    engine: Counting, keeper: Keeper, clock: FakeClock, begin: Callable[..., Attempt], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, broken = begin(0), begin(0)
    with monkeypatch.context() as during:
        during.setattr(engine, "turn", lambda *_: 1 / 0)
        keeper.settle_later(broken, SUCCEEDED)
        keeper.look_after()
    clock.advance(RENEW_EVERY_S)
    keeper.look_after()
    assert is_held(engine, other)


def test_after_a_close_nothing_is_kept(
    engine: Counting, keeper: Keeper, clock: FakeClock, begin: Callable[..., Attempt]
) -> None:
    keeper.settle_later(begin(0), SUCCEEDED)
    keeper.close()
    clock.advance(RENEW_EVERY_S)
    keeper.look_after()
    assert engine.renewals == 0
    assert engine.stalled() == []


# ---- its thread


def keepers() -> list[threading.Thread]:
    return threads_named("deferq-keeper")


def eventually(reached: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_S
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.002)


@pytest.fixture
def alive(engine: Counting) -> Keeper:
    """One that works by itself, and quickly."""
    return Keeper(lambda: engine, lambda: Listeners([]), tick_s=0.001)


def running(engine: Counting, new: TaskMaker) -> Attempt:
    engine.put([new()])
    return Attempt(lease_one(engine), time.monotonic(), 0)


def test_the_thread_is_there_while_something_runs_and_ends_a_while_after(
    engine: Counting, alive: Keeper, new: TaskMaker
) -> None:
    assert keepers() == []
    for _ in range(2):
        attempts = [running(engine, new) for _ in range(3)]
        for attempt in attempts:
            alive.begin(attempt)
        assert len(keepers()) == 1
        eventually(lambda: engine.renewals > 0)
        time.sleep(0.001 * IDLE_TICKS * 3)
        assert len(keepers()) == 1
        for attempt in attempts:
            alive.end(attempt)
        eventually(lambda: keepers() == [])


def test_what_is_to_be_settled_later_is_settled_at_once_if_it_can_be(engine: Counting, new: TaskMaker) -> None:
    keeper = Keeper(lambda: engine, lambda: Listeners([]), tick_s=3600)
    attempt = running(engine, new)
    keeper.begin(attempt)
    keeper.settle_later(attempt, SUCCEEDED)
    eventually(lambda: engine.get([attempt.task.id])[0].state is State.SUCCEEDED)
    keeper.close()


def test_a_forked_child_keeps_nothing_of_its_parent(engine: Counting, alive: Keeper, new: TaskMaker) -> None:
    attempt = running(engine, new)
    alive.begin(attempt)
    child = os.fork()
    if child == 0:
        alive.begin(attempt)
        os._exit(0 if len(alive._running) == 1 and alive._thread is not None and alive._thread.is_alive() else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    alive.end(attempt)
    eventually(lambda: keepers() == [])


class Struck(BaseException):
    """As a task can throw it into any thread."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_keeper_whose_thread_was_struck_has_another_one_for_the_next_attempt(
    engine: Counting, clock: FakeClock, new: TaskMaker
) -> None:
    looked = threading.Event()

    class Frail(Keeper):
        def look_after(self) -> None:
            if not looked.is_set():
                looked.set()
                raise Struck
            super().look_after()

    engine.put([new() for _ in range(2)])
    keeper = Frail(lambda: engine, lambda: Listeners([]), tick_s=0.005)
    keeper.begin(Attempt(lease_one(engine), keeper._monotonic() - KEEP_FROM_S, None))
    assert looked.wait(WAIT_S)
    struck = keeper._thread
    assert struck is not None
    struck.join(WAIT_S)
    keeper.begin(Attempt(lease_one(engine), keeper._monotonic() - KEEP_FROM_S, None))
    ends = time.monotonic() + WAIT_S
    while not engine.renewals:
        assert time.monotonic() < ends, "nobody keeps the leases"
        time.sleep(0.005)
    keeper.close()


def test_a_keeper_that_can_have_no_thread_refuses_nothing_and_tries_again(
    engine: Counting, new: TaskMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    engine.put([new() for _ in range(2)])
    keeper = Keeper(lambda: engine, lambda: Listeners([]), tick_s=0.005)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        keeper.begin(Attempt(lease_one(engine), keeper._monotonic(), None))
    keeper.begin(Attempt(lease_one(engine), keeper._monotonic(), None))
    assert keeper._thread is not None
    keeper.close()
