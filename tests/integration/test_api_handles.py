"""The hold on a task: looking, waiting, cancelling, putting back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deferq import (
    Deferq,
    NaiveDatetime,
    RetryPolicy,
    ScheduleError,
    State,
    TaskCancelled,
    TaskFailed,
    TaskHandle,
    TaskNotFinished,
    TaskNotFound,
)
from deferq.engines.base import Delete
from deferq.runtime.worker import Worker
from tests.support import sample_tasks
from tests.support.sample_tasks import add, fail, note, wait_for_gate

WAIT_S = 10


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


# ---- waiting


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("value", [0, "", [], {"a": (1, 2)}, None, b"x" * 5000, sample_tasks.Account])
def test_waiting_returns_what_the_task_returned(app: Deferq, value: object) -> None:
    assert app.defer(sample_tasks.returns, value).wait(WAIT_S) == value


@pytest.mark.usefixtures("worker")
def test_a_result_can_be_fetched_again_and_by_another_handle(app: Deferq) -> None:
    handle = app.defer(add, 1, 2)
    assert [handle.wait(WAIT_S), handle.wait(0), app.task(handle.id).wait(0), app.task(str(handle.id)).wait(0)] == [
        3
    ] * 4


def test_waiting_for_a_task_that_nobody_runs_ends_in_time(app: Deferq) -> None:
    handle = app.defer(add, 1)
    started = time.monotonic()
    with pytest.raises(TaskNotFinished, match="worker") as caught:
        handle.wait(0.05)
    assert 0.05 <= time.monotonic() - started < 2
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(TaskNotFinished):
        asyncio.run(handle.wait_async(0.01))


@pytest.mark.parametrize("timeout", [timedelta(milliseconds=1), -1])
def test_a_timeout_may_be_a_timedelta(app: Deferq, timeout: timedelta | float) -> None:
    handle = app.defer(add, 1, 2)
    with pytest.raises(TaskNotFinished):
        handle.wait(timeout)
    with pytest.raises(TaskNotFinished):
        asyncio.run(handle.wait_async(timeout))


def test_a_timeout_that_is_no_time_is_told(app: Deferq) -> None:
    with pytest.raises(ScheduleError, match="timeout: expected a number of seconds or a timedelta"):
        app.defer(add, 1, 2).wait("1")  # type: ignore[arg-type]


@pytest.mark.usefixtures("worker")
def test_waiting_for_a_task_that_dies_raises_its_last_error(app: Deferq) -> None:
    handle = app.defer(fail, "no such user")
    with pytest.raises(TaskFailed, match="no such user") as caught:
        handle.wait(WAIT_S)
    assert str(handle.id) in str(caught.value)
    assert "tests.support.sample_tasks:fail" in str(caught.value)
    failure = handle.details().failures[0]
    assert (failure.attempt, failure.kind, failure.error_type) == (1, "permanent", "deferq.errors.PermanentTaskFailure")


def test_waiting_for_a_cancelled_task_says_so(app: Deferq) -> None:
    handle = app.defer(add, 1)
    handle.cancel()
    with pytest.raises(TaskCancelled, match="cancelled"):
        handle.wait(WAIT_S)
    with pytest.raises(TaskCancelled):
        asyncio.run(handle.wait_async())


def test_a_task_that_expired_was_cancelled(app: Deferq, start_worker: Callable[..., Worker]) -> None:
    handle = app.call(note).defer(expires=0)
    start_worker(app)
    with pytest.raises(TaskCancelled, match="expired"):
        handle.wait(WAIT_S)
    assert sample_tasks.seen == []


@pytest.mark.usefixtures("worker")
def test_the_event_loop_goes_on_while_a_coroutine_waits(app: Deferq) -> None:
    async def main() -> tuple[str, int]:
        handle = app.defer(wait_for_gate)
        waiting = asyncio.ensure_future(handle.wait_async(WAIT_S))
        turns = 0
        while turns == 0 or not sample_tasks.begun.is_set():  # a quick worker may have begun before the first turn
            turns += 1
            await asyncio.sleep(0)
        sample_tasks.gate.set()
        return await waiting, turns

    result, turns = asyncio.run(main())
    assert result == "through"
    assert turns > 0


@pytest.mark.usefixtures("worker")
def test_many_handles_can_be_awaited_together(app: Deferq) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(*app.defer_many(app.call(add, number, 1) for number in range(50)))

    assert asyncio.run(main()) == list(range(1, 51))


def test_waiting_can_be_cancelled_without_cancelling_the_task(app: Deferq) -> None:
    async def main() -> State:
        handle = app.defer(add, 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await handle
        return handle.state

    assert asyncio.run(main()) is State.PENDING


# ---- looking


def test_a_task_is_read_once_and_anew_when_asked(app: Deferq) -> None:
    handle = app.defer(add, 1)
    assert handle.task.state is State.PENDING
    app.task(handle.id).cancel()
    assert handle.task.state is State.PENDING
    assert handle.refresh().state is handle.state is handle.task.state is State.CANCELLED


@pytest.mark.parametrize("task_id", [1, "1", 0, 1 << 62, (1 << 63) - 1])
def test_a_task_that_is_not_there_is_told(app: Deferq, task_id: int | str) -> None:
    handle = app.task(task_id)
    looks: list[Callable[[], object]] = [
        handle.refresh, handle.details, handle.wait, lambda: handle.state, lambda: handle.task,
        lambda: asyncio.run(handle.wait_async()),
    ]  # fmt: skip
    for look in looks:
        with pytest.raises(TaskNotFound, match="retention"):
            look()
    assert (handle.cancel(), handle.requeue(), handle.reschedule(countdown=1)) == (False, False, False)


@pytest.mark.parametrize("task_id", ["", "abc", "1.5", "0x10", "1e3", -1, 1 << 63, "9" * 30, "9" * 5000, 1.5, None])
def test_what_is_no_id_is_told_as_well(app: Deferq, task_id: Any) -> None:
    with pytest.raises(TaskNotFound, match="no id"):
        app.task(task_id)


def test_a_deleted_task_is_gone(app: Deferq) -> None:
    handle = app.defer(add, 1)
    app.engine.change([handle.id], Delete())
    with pytest.raises(TaskNotFound):
        handle.wait(WAIT_S)


def test_handles_are_equal_when_their_tasks_are(app: Deferq) -> None:
    one, other = app.defer(add, 1), app.defer(add, 1)
    assert one == app.task(one.id)
    assert one != other
    assert one != one.id
    assert {one, app.task(one.id), other} == {one, other}
    assert repr(one) == f"<TaskHandle {one.id}>"


# ---- changing


def test_a_pending_task_can_be_cancelled_once(app: Deferq) -> None:
    handle = app.defer(note, 1)
    assert handle.cancel()
    assert not handle.cancel()
    assert handle.state is State.CANCELLED


@pytest.mark.usefixtures("worker")
def test_a_finished_task_cannot_be_cancelled(app: Deferq) -> None:
    handle = app.defer(add, 1)
    handle.wait(WAIT_S)
    assert not handle.cancel()
    assert handle.wait(0) == 1


@pytest.mark.usefixtures("worker")
def test_a_running_task_is_asked_to_stop_and_may_finish(app: Deferq) -> None:
    handle = app.defer(wait_for_gate)
    assert sample_tasks.begun.wait(WAIT_S)
    assert handle.cancel()
    assert handle.refresh().cancel_requested
    sample_tasks.gate.set()
    assert handle.wait(WAIT_S) == "through"


@pytest.mark.usefixtures("worker")
def test_a_dead_task_can_be_put_back(app: Deferq) -> None:
    handle = app.call(sample_tasks.fails_until_gate).defer(retry=RetryPolicy(max_attempts=1))
    with pytest.raises(TaskFailed):
        handle.wait(WAIT_S)
    sample_tasks.gate.set()
    assert handle.requeue()
    assert handle.wait(WAIT_S) == "at last"
    assert not handle.requeue()


def test_a_pending_task_can_be_moved_to_another_time(app: Deferq, start_worker: Callable[..., Worker]) -> None:
    handle = app.call(add, 1).defer(eta=in_an_hour())
    later = in_an_hour() + timedelta(hours=1)
    assert handle.reschedule(eta=later)
    assert handle.refresh().eta == round(later.timestamp() * 1_000_000)
    start_worker(app)
    assert handle.reschedule(countdown=0)
    assert handle.wait(WAIT_S) == 1
    assert not handle.reschedule(countdown=0)


def test_a_time_that_makes_no_sense_moves_nothing(app: Deferq) -> None:
    handle = app.call(add, 1).defer(eta=in_an_hour())
    before = handle.task.eta
    with pytest.raises(NaiveDatetime):
        handle.reschedule(eta=datetime(2030, 1, 1))
    with pytest.raises(ScheduleError):
        handle.reschedule(countdown=float("nan"))
    with pytest.raises(ScheduleError, match="either eta or countdown"):
        handle.reschedule(countdown=1, eta=in_an_hour())
    with pytest.raises(ScheduleError, match="either eta or countdown"):
        handle.reschedule()
    assert handle.refresh().eta == before


def test_a_closed_application_opens_again(app: Deferq, start_worker: Callable[..., Worker]) -> None:
    with app:
        handle: TaskHandle = app.defer(add, 1)
    start_worker(app)
    assert handle.wait(WAIT_S) == 1
