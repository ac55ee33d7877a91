"""Inline mode: a task runs where it is deferred, before `defer` returns."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from deferq import (
    NotDeferrable,
    PermanentTaskFailure,
    Queue,
    RetryPolicy,
    State,
    TaskFailed,
    TaskNotFinished,
    call,
    configure,
    defer,
    defer_async,
    defer_many,
)
from deferq.testing import DeferredTasks, FakeClock, assert_deferred, drain, inline
from tests.testkit import jobs


@pytest.fixture
def tasks():
    with inline() as tasks:
        yield tasks


def test_a_task_has_run_when_defer_returns(tasks: DeferredTasks) -> None:
    handle = defer(jobs.remember, 1)
    assert jobs.done == [1]
    assert (handle.state, handle.wait()) == (State.SUCCEEDED, 1)
    assert_deferred(jobs.remember, 1, count=1)


def test_it_runs_in_the_caller_s_thread(tasks: DeferredTasks) -> None:
    assert defer(jobs.where).wait() == threading.get_ident()


def test_it_gets_what_was_stored_and_not_the_caller_s_own_objects(tasks: DeferredTasks) -> None:
    basket = ["pen"]
    defer(jobs.remember, basket)
    jobs.done[0].append("ink")
    assert basket == ["pen"]
    with pytest.raises(NotDeferrable):
        defer(lambda: None)


def test_only_what_is_carried_travels(tasks: DeferredTasks) -> None:
    token = jobs.tenant.set("acme")
    defer(jobs.tell_tenant)
    configure("memory://", carry=[jobs.tenant])
    defer(jobs.tell_tenant)
    jobs.tenant.reset(token)
    assert jobs.done == ["none", "acme"]


def test_what_a_task_defers_runs_after_it_in_order(tasks: DeferredTasks) -> None:
    defer(jobs.first)
    assert jobs.done == ["first begins", "first ends", "second", "third"]


def test_many_run_in_their_order(tasks: DeferredTasks) -> None:
    handles = defer_many(call(jobs.remember, number) for number in range(100))
    assert jobs.done == list(range(100))
    assert [handle.wait() for handle in handles] == list(range(100))


def test_a_task_that_waits_for_another_one_gets_its_result(tasks: DeferredTasks) -> None:
    assert defer(jobs.asks_for, 20).wait() == 41


def test_a_task_that_waits_for_itself_is_told_so(tasks: DeferredTasks) -> None:
    with pytest.raises(TaskNotFinished, match="waits for itself"):
        call(jobs.waits_for_itself, "me").defer(name="me", retry=RetryPolicy(max_attempts=1))


def test_retries_follow_at_once_and_the_clock_skips_the_time_between(tasks: DeferredTasks) -> None:
    before, began = tasks.clock.now(), time.monotonic()
    assert defer(jobs.works_the_third_time).wait() == "at last"
    assert jobs.done == [1, 2, 3]
    assert tasks.clock.now() - before >= timedelta(seconds=20)
    assert time.monotonic() - began < 10


def test_what_dies_raises_its_own_error_when_all_have_run(tasks: DeferredTasks) -> None:
    with pytest.raises(LookupError, match="broken") as caught:
        defer_many([call(jobs.never_works), call(jobs.remember, "beside it")])
    assert jobs.done == ["broken", "beside it", "broken"]
    assert "never_works (queue default, attempt 2) dead" in caught.value.__notes__[0]
    with pytest.raises(PermanentTaskFailure):
        jobs.note(defer(jobs.refuses))
    with pytest.raises(TaskFailed):
        defer(jobs.asks_again)


def test_what_a_task_has_deferred_raises_at_the_outermost_defer(tasks: DeferredTasks) -> None:
    with pytest.raises(LookupError):
        defer(defers_what_never_works)
    assert jobs.done == ["it went on", "broken", "broken"]


def defers_what_never_works() -> None:
    defer(jobs.never_works)
    jobs.note("it went on")


def test_what_dies_can_be_left_to_its_handle() -> None:
    with inline(raises=False):
        handle = defer(jobs.refuses)
        assert handle.state is State.DEAD
        with pytest.raises(TaskFailed, match="no such user"):
            handle.wait()


def test_what_is_parked_raises_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deferq.codec.codec.check_allowed", lambda *_: None)  # as if another application deferred it
    with inline():
        configure("memory://", allow=["elsewhere."])
        with pytest.raises(TaskFailed, match=r"parked: .*TargetNotAllowed"):
            defer(jobs.remember, 1)


def test_an_error_raises_once_and_the_next_defer_is_free_of_it(tasks: DeferredTasks) -> None:
    with pytest.raises(PermanentTaskFailure):
        defer(jobs.refuses)
    defer(jobs.remember, 1)
    assert jobs.done == [1]


# ---- what is to run later


def test_what_is_due_later_runs_when_the_clock_gets_there(tasks: DeferredTasks) -> None:
    handle = call(jobs.remember, "later").defer(countdown=60)
    call(jobs.remember, "in an hour").defer(eta=datetime.now(UTC) + timedelta(hours=1))
    tasks.clock.advance(30)
    assert jobs.done == []
    with pytest.raises(TaskNotFinished, match="Move the clock"):
        handle.wait(timeout=60)
    tasks.clock.advance(30)
    assert jobs.done == ["later"]
    tasks.clock.advance(timedelta(hours=1))
    assert jobs.done == ["later", "in an hour"]


def test_what_is_due_now_by_the_system_s_clock_runs_at_once(tasks: DeferredTasks) -> None:
    call(jobs.remember, "now").defer(eta=datetime.now(UTC))
    assert jobs.done == ["now"]


def test_a_snoozing_task_waits_for_the_clock(tasks: DeferredTasks) -> None:
    defer(jobs.tomorrow)
    assert jobs.done == ["today"]
    tasks.clock.advance(86_400)
    assert jobs.done == ["today", "today"]


def test_a_task_that_defers_itself_for_later_comes_to_rest(tasks: DeferredTasks) -> None:
    defer(jobs.every_hour)
    assert len(jobs.done) == 1
    for _ in range(3):
        tasks.clock.advance(3600)
    assert len(jobs.done) == 4


def test_a_task_that_defers_itself_for_now_is_told(tasks: DeferredTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deferq.testing.recorder.ATTEMPTS_MAX", 50)
    with pytest.raises(AssertionError, match="again_and_again 50 times"):
        defer(again_and_again)


def again_and_again() -> None:
    defer(again_and_again)


def test_what_dies_later_raises_where_the_clock_is_moved(tasks: DeferredTasks) -> None:
    call(jobs.refuses).defer(countdown=60)
    with pytest.raises(PermanentTaskFailure):
        tasks.clock.advance(60)


def test_the_future_can_be_drained(tasks: DeferredTasks) -> None:
    call(jobs.remember, 2).defer(countdown=7200)
    call(jobs.remember, 1).defer(countdown=3600)
    drain(future=True)
    assert jobs.done == [1, 2]


def test_a_rate_holds_up_nobody(tasks: DeferredTasks) -> None:
    configure("memory://", queues={"mail": Queue(rate="1/m", max_concurrent=1)})
    defer_many(call(jobs.remember, number).with_options(queue="mail") for number in range(5))
    assert jobs.done == [0, 1, 2, 3, 4]


def test_the_clock_is_the_test_s_own_if_it_brings_one() -> None:
    clock = FakeClock(datetime(2030, 1, 1, 9, tzinfo=UTC))
    with inline(clock=clock) as tasks:
        call(jobs.remember, 1).defer(eta=datetime(2030, 1, 1, 10, tzinfo=UTC))
        assert assert_deferred(jobs.remember).deferred_at == datetime(2030, 1, 1, 9, tzinfo=UTC)
        clock.move_to(datetime(2030, 1, 1, 10, tzinfo=UTC))
    assert jobs.done == [1]
    defer_outside = tasks.clock.advance(1)  # nobody listens any more
    assert defer_outside == datetime(2030, 1, 1, 10, 0, 1, tzinfo=UTC)


# ---- from coroutines and threads


def test_coroutines_and_plain_functions_run_from_a_coroutine(tasks: DeferredTasks) -> None:
    async def main() -> None:
        assert await defer(jobs.fetch, "a") == "page of a"
        assert await (await defer_async(jobs.fetch, "b")) == "page of b"
        assert await (await call(jobs.double, 4).defer_async()) == 8
        handles = await asyncio.gather(*(defer_async(jobs.double, number) for number in range(20)))
        assert [handle.state for handle in handles] == [State.SUCCEEDED] * 20

    asyncio.run(main())
    assert jobs.done == ["a", "b"]


def test_a_plain_task_finds_no_event_loop_around_it(tasks: DeferredTasks) -> None:
    async def main() -> None:
        defer(runs_a_loop)

    asyncio.run(main())
    assert jobs.done == ["in a loop of its own"]


def runs_a_loop() -> None:
    async def inside() -> None:
        jobs.note("in a loop of its own")

    asyncio.run(inside())


def test_a_coroutine_may_wait_for_the_task_it_defers(tasks: DeferredTasks) -> None:
    defer(jobs.fetch_and_store, "example.org")
    assert jobs.done == ["deferred", "example.org"]


@pytest.mark.parametrize("limits", [Queue(), Queue(max_concurrent=1)])
def test_a_coroutine_may_wait_for_many_tasks_together(tasks: DeferredTasks, limits: Queue) -> None:
    configure("memory://", queues={"sums": limits})
    assert defer(jobs.adds_up, 20).wait() == 380


def test_two_tasks_that_wait_for_each_other_are_told_so(tasks: DeferredTasks) -> None:
    with pytest.raises(TaskFailed, match="waits for itself, or for a task that waits for it"):
        call(jobs.one_of_two, "a", "b").defer(name="a", retry=RetryPolicy(max_attempts=1))


def test_when_several_threads_defer_all_has_run_when_all_have_returned(tasks: DeferredTasks) -> None:
    def work(number: int) -> None:
        for each in range(25):
            defer(jobs.remember, (number, each))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(jobs.done) == [(number, each) for number in range(4) for each in range(25)]


def test_an_exception_group_of_a_task_comes_as_it_is(tasks: DeferredTasks) -> None:
    with pytest.raises(ExceptionGroup, match="two"):
        call(raises_two).defer(retry=RetryPolicy(max_attempts=1))


def raises_two() -> None:
    raise ExceptionGroup("two", [ValueError(1), ValueError(2)])


def test_system_exit_of_a_task_does_not_end_the_tests(tasks: DeferredTasks) -> None:
    with pytest.raises(TaskFailed, match="SystemExit"):
        call(leave).defer(retry=RetryPolicy(max_attempts=1))


def leave() -> None:
    raise SystemExit(3)


def test_a_result_that_cannot_be_stored_is_told(tasks: DeferredTasks) -> None:
    with pytest.raises(TaskFailed, match="result cannot be stored"):
        defer(threading.Lock)
