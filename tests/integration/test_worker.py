"""A real worker on a real engine: from `put` to the end of a task."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from deferq.codec.codec import Codec
from deferq.codec.signing import Keyring
from deferq.codec.targets import locate
from deferq.current import current_task
from deferq.engines.base import Bell, Cancel, LeasingEngine, Want, new_lease_id
from deferq.engines.memory import MemoryEngine
from deferq.engines.sqlite import SqliteEngine
from deferq.errors import ConfigError, PermanentTaskFailure, RetryTask, Snooze, StoreUnavailable
from deferq.model.events import Event, EventName
from deferq.model.outcome import ErrorText, Failed
from deferq.model.retry import RetryPolicy
from deferq.model.state import State
from deferq.model.task import EPOCH_2020_US, ID_RANDOM_BITS, NewTask, Options, Task
from deferq.registry import Registry
from deferq.runtime.config import WorkerConfig
from deferq.runtime.embedded import EmbeddedWorker
from deferq.runtime.logs import LogListener
from deferq.runtime.worker import Worker
from tests.support import lease, settle_each

NEVER = 60.0
seen: list[Any] = []
gate = threading.Event()
begun = threading.Event()


def note(value: object) -> None:
    seen.append(value)


def fail_twice() -> None:
    seen.append(current_task().attempt)
    if current_task().attempt < 3:
        raise ValueError("not yet")


def no_such_user(password: str) -> None:
    raise PermanentTaskFailure("no such user")


def ask_again() -> None:
    seen.append(len(seen))
    if len(seen) == 1:
        raise RetryTask(after=0)
    if len(seen) == 2:
        raise Snooze(0)


def wait_for_gate() -> None:
    begun.set()
    assert gate.wait(NEVER)


async def sleep_for_long() -> None:
    begun.set()
    await asyncio.sleep(NEVER)


async def add(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


class Place:
    """An engine with a codec, and short ways to put tasks and to wait for them."""

    def __init__(self, engine: LeasingEngine) -> None:
        self.engine = engine
        self._registry = Registry()
        self.codec = Codec(Keyring([b"a secret for tests"]), self._registry)
        self.events: list[Event] = []
        self._last = 0

    def worker(self, **config: Any) -> Worker:
        return Worker(self.engine, self.codec, WorkerConfig(**{"threads": 2, **config}), [self.events.append])

    def put(self, fn: Callable[..., Any], *args: object, **options: Any) -> int:
        return self.put_many(fn, [args], **options)[0]

    def put_many(self, fn: Callable[..., Any], calls: list[tuple[Any, ...]], **options: Any) -> list[int]:
        retry = options.setdefault("retry", RetryPolicy(min_backoff_s=0.0, max_backoff_s=0.01))
        located = locate(fn, self._registry)
        now = self.engine.now()
        tasks = [
            NewTask(
                id=(task_id := self._next_id(now)),
                queue="default",
                target=located[0],
                priority=0,
                eta=now,
                expires_at=None,
                at_most_once=retry.at_most_once,
                name=None,
                if_exists="raise",
                route=None,
                url=None,
                options=Options(**options).encode(),
                payload=self.codec.encode(task_id, located, args, {}),
            )
            for args in calls
        ]
        self.engine.put(tasks)
        return [task.id for task in tasks]

    def wait(self, task_id: int, reached: Callable[[Task], bool] = lambda task: task.state.finished) -> Task:
        ends = time.monotonic() + 15
        while not reached(task := self.engine.get([task_id])[0]):
            assert time.monotonic() < ends, f"it is {task.state.name}, {task.reason}"
            time.sleep(0.002)
        return task

    def names(self) -> list[EventName]:
        return [event.name for event in self.events]

    def _next_id(self, now: int) -> int:
        self._last = max(self._last + 1, (now - EPOCH_2020_US) << ID_RANDOM_BITS)
        return self._last


@pytest.fixture(params=["memory", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    seen.clear()
    gate.clear()
    begun.clear()
    engine = MemoryEngine() if request.param == "memory" else SqliteEngine(tmp_path / "q.db")
    yield Place(engine)
    gate.set()
    engine.close()


@pytest.fixture
def worker(place: Place) -> Iterator[Worker]:
    worker = place.worker()
    worker.start()
    yield worker
    gate.set()
    worker.stop(5)


@pytest.mark.usefixtures("worker")
def test_a_thousand_tasks_are_run_once_each(place: Place) -> None:
    ids = place.put_many(note, [(number,) for number in range(1_000)])
    for task_id in ids:
        assert place.wait(task_id).state is State.SUCCEEDED
    assert sorted(seen) == list(range(1_000))


@pytest.mark.usefixtures("worker")
def test_a_failing_task_is_tried_again_until_it_succeeds(place: Place) -> None:
    task = place.wait(place.put(fail_twice))
    assert (task.state, task.attempts, seen) == (State.SUCCEEDED, 3, [1, 2, 3])


def test_a_worker_inside_another_program_does_not_run_what_killed_its_worker_three_times(place: Place) -> None:
    """It is parked, and says what to do; the others run. A person who wants to risk it cancels and requeues it."""
    suspect = place.put(note, "suspect")
    for _ in range(3):
        lost = Failed(error=ErrorText(error_type="WorkerLost", message="it died"), reason="worker lost")
        until_leased = place.wait(suspect, lambda task: task.leasable_at <= place.engine.now())
        assert until_leased.state is State.PENDING
        settle_each(place.engine, lease(place.engine), lost)
    other = place.put(note, "other")
    worker = place.worker()
    worker.start()
    place.wait(other)
    task = place.wait(suspect, lambda task: task.parks > 0)
    assert (task.state, task.attempts, task.crashes) == (State.PENDING, 3, 3)
    assert (task.reason or "").startswith("parked: only a worker with child processes runs it")
    assert "deferq worker" in place.engine.details(suspect).failures[-1].message
    place.engine.change([suspect], Cancel())
    place.engine.requeue([suspect])
    assert place.wait(suspect).state is State.SUCCEEDED
    worker.stop()
    assert seen == ["other", "suspect"]


@pytest.mark.usefixtures("worker")
def test_a_task_that_asks_to_run_again_does(place: Place) -> None:
    task = place.wait(place.put(ask_again))
    assert (task.state, task.attempts, seen) == (State.SUCCEEDED, 2, [0, 1, 2])


@pytest.mark.usefixtures("worker")
def test_a_coroutine_runs_and_leaves_its_result(place: Place) -> None:
    task_id = place.put(add, 2, 3)
    task = place.wait(task_id)
    assert place.codec.open_result(task.id, task.target, place.engine.details(task.id).result) == 5


def test_a_failure_is_logged_once_with_its_traceback_and_without_arguments(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(place.engine, place.codec, WorkerConfig(), [LogListener()])
    with caplog.at_level(logging.INFO, "deferq"):
        worker.start()
        task = place.wait(place.put(no_such_user, "hunter2"))
        worker.stop()
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert task.state is State.DEAD
    assert "no such user" in record.getMessage()
    assert "Traceback" in record.getMessage()
    assert "hunter2" not in caplog.text


@pytest.mark.usefixtures("worker")
def test_a_thread_past_its_timeout_counts_as_timed_out(place: Place) -> None:
    task = place.wait(place.put(wait_for_gate, timeout_s=0.05, retry=RetryPolicy(max_attempts=1)))
    assert (task.state, task.reason) == (State.DEAD, "attempts spent, last: timed out")


@pytest.mark.usefixtures("worker")
def test_a_coroutine_past_its_timeout_is_cancelled(place: Place) -> None:
    task = place.wait(place.put(sleep_for_long, timeout_s=0.05, retry=RetryPolicy(max_attempts=1)))
    assert (task.state, task.reason) == (State.DEAD, "attempts spent, last: timed out")


def test_a_running_coroutine_is_cancelled_at_the_next_renewal(place: Place) -> None:
    worker = place.worker(lease_s=0.6, poll_s=0.1)
    worker.start()
    task_id = place.put(sleep_for_long)
    assert begun.wait(10)
    place.engine.change([task_id], Cancel())
    assert place.wait(task_id).state is State.CANCELLED
    worker.stop()


def test_a_lease_is_renewed_as_long_as_its_task_runs(place: Place) -> None:
    worker = place.worker(lease_s=0.3, poll_s=0.05)
    worker.start()
    task_id = place.put(wait_for_gate)
    time.sleep(1.0)
    gate.set()
    task = place.wait(task_id)
    worker.stop()
    assert (task.state, task.attempts) == (State.SUCCEEDED, 1)
    assert EventName.TASK_LOST not in place.names()


def test_a_stop_gives_back_what_has_not_started_and_lets_the_rest_finish(place: Place) -> None:
    worker = place.worker(threads=1, prefetch_s=50.0)
    fast = place.put_many(note, [(number,) for number in range(200)])
    worker.start()
    place.wait(fast[-1])
    running = place.put(wait_for_gate)
    assert begun.wait(10)
    waiting = place.put_many(wait_for_gate, [()] * 20)
    place.wait(waiting[-1], lambda task: task.state is State.LEASED)
    worker.request_stop()
    given_back = [place.wait(task_id, lambda task: task.state is State.PENDING) for task_id in waiting]
    assert {(task.attempts, task.starts) for task in given_back} == {(0, 0)}
    gate.set()
    worker.stop()
    assert place.wait(running).state is State.SUCCEEDED
    assert place.names()[-2:] == [EventName.TASK_SUCCEEDED, EventName.WORKER_STOPPED]


def test_when_draining_is_over_coroutines_are_cancelled_and_threads_keep_their_lease(place: Place) -> None:
    worker = place.worker()
    worker.start()
    thread = place.put(wait_for_gate)
    coroutine = place.put(sleep_for_long, retry=RetryPolicy(min_backoff_s=100, jitter=False))
    for task_id in (thread, coroutine):
        place.wait(task_id, lambda task: task.state is State.LEASED)
    assert begun.wait(10)
    time.sleep(0.2)
    worker.stop(0)
    stopped = place.wait(coroutine, lambda task: task.state is State.PENDING)
    assert (stopped.reason, stopped.attempts) == ("worker stopped", 1)
    assert place.wait(thread, lambda task: True).state is State.LEASED


def test_what_runs_on_in_a_thread_when_its_worker_has_ended_is_nobody_elses(place: Place) -> None:
    """The process lives, and so does the task: to start it elsewhere would run it twice at a time."""
    worker = place.worker()
    worker.start()
    task_id = place.put(wait_for_gate)
    assert begun.wait(10)
    worker.stop(0)
    gc.collect()
    assert place.engine.stalled() == []
    with closing(place.engine.bell(1)):  # somebody looks for bells anew
        assert place.engine.stalled() == []
    assert place.engine.get([task_id])[0].state is State.LEASED


def test_what_a_dead_worker_held_is_settled_by_another(place: Place) -> None:
    task_id = place.put(note, 1)
    place.engine.turn([], Want(free=1, ahead=0, lease_id=new_lease_id(1, 1), lease_us=50_000))
    worker = place.worker(lease_s=3, poll_s=0.1)
    worker.start()
    task = place.wait(task_id)
    worker.stop()
    assert (task.state, task.attempts) == (State.SUCCEEDED, 2)


def test_outcomes_are_kept_while_the_store_is_out_of_reach(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = place.worker()
    worker.start()
    task_id = place.put(wait_for_gate)
    assert begun.wait(10)
    turn = place.engine.turn

    def down(*_: object) -> None:
        raise StoreUnavailable("no disk")

    monkeypatch.setattr(place.engine, "turn", down)
    gate.set()
    time.sleep(0.3)
    monkeypatch.setattr(place.engine, "turn", turn)
    assert place.wait(task_id).attempts == 1
    worker.stop()
    assert place.names().count(EventName.STORE_UNAVAILABLE) == 1
    assert place.names().count(EventName.STORE_RECOVERED) == 1


def test_a_worker_has_a_record_while_it_lives(place: Place) -> None:
    worker = place.worker()
    worker.start()
    ends = time.monotonic() + 10
    while not (records := place.engine.records("worker")):
        assert time.monotonic() < ends
        time.sleep(0.005)
    assert f'"pid": {os.getpid()}' in records[0].document
    worker.stop()
    assert place.engine.records("worker") == []


def test_a_worker_that_runs_cannot_be_started_again(place: Place, worker: Worker) -> None:
    assert worker.running
    with pytest.raises(ConfigError):
        worker.start()
    worker.stop()
    assert not worker.running
    worker.start()
    assert place.wait(place.put(note, 1)).state is State.SUCCEEDED


def test_run_ends_in_the_calling_thread_once_it_is_asked_to_stop(place: Place) -> None:
    worker = place.worker()
    threading.Timer(0.1, worker.request_stop).start()
    worker.run()
    assert place.names() == [EventName.WORKER_STARTED, EventName.WORKER_STOPPING, EventName.WORKER_STOPPED]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_worker_that_ends_by_itself_may_be_asked_to_stop_meanwhile(place: Place) -> None:
    class EndsJustNow(Worker):
        """Its thread lets go of the bell as soon as somebody has looked at it."""

        hanging: Bell | None = None

        @property
        def _bell(self) -> Bell | None:
            bell, self.hanging = self.hanging, None
            return bell

        @_bell.setter
        def _bell(self, bell: Bell | None) -> None:
            self.hanging = bell

    worker = EndsJustNow(place.engine, place.codec)
    with closing(place.engine.bell(1)) as bell:
        worker._bell = bell
        worker.request_stop()
        assert bell.wait(0)


def test_an_embedded_worker_starts_once_in_each_process(tmp_path: Path) -> None:
    made: list[Worker] = []

    def make() -> Worker:
        made.append(Place(SqliteEngine(tmp_path / f"{os.getpid()}.db")).worker())
        return made[-1]

    embedded = EmbeddedWorker(make)
    assert embedded.worker is None
    embedded.ensure_started()
    embedded.ensure_started()
    assert len(made) == 1
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(BaseException):
            inherited = not made[0].running and embedded.worker is None
            embedded.ensure_started()
            fresh = embedded.worker is made[1] and made[1].running
            embedded.stop()
            code = 0 if inherited and fresh and not made[1].running else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert made[0].running
    embedded.stop()
    assert not made[0].running
