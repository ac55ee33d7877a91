"""Recording mode: what is deferred waits in memory until the test lets it run."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from functools import partial
from pathlib import Path
from unittest.mock import ANY

import pytest

import deferq
from deferq import (
    Deferq,
    InvalidOption,
    NotDeferrable,
    NotSerializable,
    PermanentTaskFailure,
    Queue,
    RetryPolicy,
    State,
    TargetNotAllowed,
    TaskAlreadyExistsError,
    TaskFailed,
    TaskNotFinished,
    TaskNotFound,
    TombstonedTaskError,
    UnknownQueueError,
    call,
    defer,
    defer_async,
    defer_many,
)
from deferq.testing import (
    DeferredTasks,
    FakeClock,
    assert_deferred,
    assert_not_deferred,
    clear,
    deferred_tasks,
    drain,
    drain_async,
    recording,
)
from deferq.testing.modes import ATTEMPTS_MAX
from tests.testkit import jobs


@pytest.fixture
def tasks():
    with recording() as tasks:
        yield tasks


# ---- what was deferred


def test_nothing_runs_until_it_is_drained(tasks: DeferredTasks) -> None:
    handle = defer(jobs.remember, 1)
    assert jobs.done == []
    assert handle.state is State.PENDING
    (ran,) = tasks.drain()
    assert jobs.done == [1]
    assert (ran.target, ran.outcome, ran.attempt, ran.result) == (f"{jobs.__name__}:remember", "succeeded", 1, 1)
    assert handle.wait() == 1


def test_what_was_deferred_is_shown_as_a_worker_would_get_it(tasks: DeferredTasks) -> None:
    basket = ["pen"]
    call(jobs.send, "ann", subject="Hi").defer(name="once", countdown=60, headers={"X-Trace": "7"}, route="eu")
    defer(jobs.remember, basket)
    basket.append("ink")
    letter, other = tasks.deferred_tasks()
    assert (letter.target, letter.args, letter.kwargs) == (f"{jobs.__name__}:send", ("ann",), {"subject": "Hi"})
    assert (letter.queue, letter.name, letter.tags, letter.route) == ("mail", "once", ("letters",), "eu")
    assert (letter.headers, letter.retry.max_attempts, letter.priority) == ({"X-Trace": "7"}, 3, 0)
    assert (letter.countdown, letter.eta - letter.deferred_at) == (60, timedelta(seconds=60))
    assert letter.state is State.PENDING
    assert other.args == (["pen"],)
    assert other.fn is jobs.remember
    assert "send('ann', subject='Hi') (queue mail, in 60 s, name once)" in repr(letter)


def test_the_tasks_of_one_function_can_be_asked_for(tasks: DeferredTasks) -> None:
    defer(jobs.remember, 1)
    jobs.reindex(2)
    defer(jobs.remember, 3)
    assert [task.args for task in tasks.deferred_tasks(jobs.remember)] == [(1,), (3,)]
    assert [task.args for task in deferred_tasks(jobs.reindex)] == [(2,)]


def test_what_no_worker_could_call_is_refused_as_ever(tasks: DeferredTasks) -> None:
    with pytest.raises(NotDeferrable):
        defer(lambda: None)
    with pytest.raises(NotSerializable):
        defer(jobs.remember, threading.Lock())
    with pytest.raises(TypeError, match="cannot be called"):
        defer(jobs.send)
    tasks.assert_not_deferred()


def test_the_application_s_own_settings_hold(default_app: Deferq) -> None:
    with recording() as tasks:
        app = deferq.configure(
            queues={"mail": Queue(retry=RetryPolicy(max_attempts=2))}, carry=[jobs.tenant], allow=["tests."]
        )
        with pytest.raises(UnknownQueueError):
            call(jobs.remember, 1).defer(queue="nail")
        token = jobs.tenant.set("acme")
        task = call(jobs.tell_tenant).defer(queue="mail")
        jobs.tenant.reset(token)
        assert app.task(task.id).task.options.retry.max_attempts == 2
        tasks.drain()
        assert jobs.done == ["acme"]
        with pytest.raises(TargetNotAllowed):
            defer(print)


def test_an_application_that_is_configured_in_the_test_has_no_file_either(tmp_path: Path) -> None:
    with recording() as tasks:
        deferq.configure(f"sqlite:///{tmp_path / 'other.db'}")
        defer(jobs.remember, 1)
        tasks.drain()
    assert jobs.done == [1]
    assert not (tmp_path / "other.db").exists()


def test_every_deferq_has_a_store_of_its_own_and_all_are_drained_in_order(tmp_path: Path) -> None:
    with recording() as tasks, Deferq(f"sqlite:///{tmp_path / 'other.db'}") as other, Deferq("memory://") as third:
        defer(jobs.remember, "default")
        other.defer(jobs.remember, "other")
        third.defer(jobs.remember, "third")
        handle = defer(jobs.remember, "default again")
        with pytest.raises(TaskNotFound):
            other.task(handle.id).refresh()
        assert len(tasks.drain()) == 4
    assert jobs.done == ["default", "other", "third", "default again"]
    assert list(tmp_path.iterdir()) == []


def test_two_deferqs_of_one_store_share_it(default_app: Deferq) -> None:
    with recording() as tasks, Deferq(default_app.settings["url"]) as twin:
        handle = call(jobs.double, 4).defer(name="once")
        with pytest.raises(TaskAlreadyExistsError):
            twin.call(jobs.double, 5).defer(name="once")
        tasks.drain()
        assert twin.task(handle.id).wait() == 8


def test_the_store_of_before_is_back_afterwards() -> None:
    with Deferq("memory://") as app:
        before = app.defer(jobs.remember, "before")
        with recording():
            app.defer(jobs.remember, "meanwhile")
            with pytest.raises(TaskNotFound):
                before.refresh()
        assert before.state is State.PENDING
        after = app.defer(jobs.remember, "after")
        assert after.state is State.PENDING
        app.worker(until_idle=True, threads=1, poll_s=0.01).run()
    assert jobs.done == ["before", "after"]


def test_a_mode_inside_a_mode_has_stores_of_its_own(tasks: DeferredTasks) -> None:
    defer(jobs.remember, "outer")
    with recording() as inner:
        assert_not_deferred()
        defer(jobs.remember, "inner")
        inner.drain()
    tasks.drain()
    assert jobs.done == ["inner", "outer"]


def test_a_mode_is_entered_once(tasks: DeferredTasks) -> None:
    with pytest.raises(RuntimeError, match="in use already"):
        tasks.__enter__()


def test_no_embedded_worker_starts(tasks: DeferredTasks, default_app: Deferq) -> None:
    wrapped = deferq.wrap_wsgi(lambda environ, start_response: [])
    wrapped({}, lambda *_: None)
    deferq.start()
    assert default_app.embedded is None


def test_what_was_deferred_can_be_looked_at_when_the_mode_is_over() -> None:
    with recording() as tasks:
        defer(jobs.double, 4)
        tasks.drain()
    (task,) = tasks.deferred_tasks()
    assert (task.args, task.state, task.wait()) == ((4,), State.SUCCEEDED, 8)
    tasks.assert_deferred(jobs.double, 4)


def test_the_functions_of_the_package_ask_for_a_mode() -> None:
    with pytest.raises(RuntimeError, match="with recording"):
        drain()


# ---- drain


def test_tasks_that_tasks_defer_are_drained_too_one_after_the_other(tasks: DeferredTasks) -> None:
    defer(jobs.first)
    defer(jobs.remember, "beside")
    assert [one.target.partition(":")[2] for one in drain()] == ["first", "remember", "remember", "remember"]
    assert jobs.done == ["first begins", "first ends", "beside", "second", "third"]


def test_first_in_is_first_out_over_all_queues_and_priority_counts_within_one(tasks: DeferredTasks) -> None:
    for number, queue in enumerate(["b", "a", "c", "a"]):
        call(jobs.remember, number).defer(queue=queue)
    drain()
    assert jobs.done == [0, 1, 2, 3]
    defer_many(call(jobs.remember, letter).with_options(priority=rank) for letter, rank in [("x", 0), ("y", 5)])
    drain()
    assert jobs.done[4:] == ["y", "x"]


def test_drain_runs_in_the_caller_s_thread(tasks: DeferredTasks) -> None:
    handle = defer(jobs.where)
    drain()
    assert handle.wait() == threading.get_ident()


def test_at_most_so_many_attempts_are_run(tasks: DeferredTasks) -> None:
    defer_many(call(jobs.remember, number) for number in range(5))
    assert len(drain(limit=2)) == 2
    assert jobs.done == [0, 1]
    assert len(drain()) == 3
    for senseless in (0, True, "2"):
        with pytest.raises(InvalidOption):
            drain(limit=senseless)  # type: ignore[arg-type]


def test_only_some_queues_can_be_drained(tasks: DeferredTasks) -> None:
    jobs.reindex(1)
    defer(jobs.send, "ann")
    defer(jobs.remember, 2)
    drain(queues="index")
    assert jobs.done == [1]
    drain(queues=["mail", "index"])
    assert jobs.done == [1, ("ann", "Hello", 1)]


def test_what_is_due_later_waits_for_the_clock(tasks: DeferredTasks) -> None:
    call(jobs.remember, "later").defer(countdown=60)
    assert drain() == []
    tasks.clock.advance(30)
    assert drain() == []
    tasks.clock.advance(30)
    assert len(drain()) == 1


def test_the_future_can_be_drained_in_its_order(tasks: DeferredTasks) -> None:
    call(jobs.remember, "in two hours").defer(countdown=7200)
    call(jobs.remember, "in an hour").defer(countdown=3600)
    began = tasks.clock.now()
    drain(future=True)
    assert jobs.done == ["in an hour", "in two hours"]
    assert (tasks.clock.now() - began).total_seconds() >= 7199


def test_a_task_that_defers_itself_for_ever_is_stopped_by_a_limit(tasks: DeferredTasks) -> None:
    defer(jobs.every_hour)
    assert len(drain(future=True, limit=24)) == 24
    assert (jobs.done[-1] - jobs.done[0]).total_seconds() == pytest.approx(23 * 3600, abs=60)


def test_without_a_limit_it_is_told_who_never_ends(tasks: DeferredTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ATTEMPTS_MAX == 10_000
    monkeypatch.setattr("deferq.testing.recorder.ATTEMPTS_MAX", 50)
    defer(jobs.every_hour)
    with pytest.raises(AssertionError, match=r"every_hour 50 times\. Do tasks defer themselves"):
        drain(future=True)


def test_a_failed_attempt_is_returned_and_the_next_one_waits_for_its_backoff(tasks: DeferredTasks) -> None:
    handle = defer(jobs.works_the_third_time)
    (ran,) = drain()
    assert (ran.outcome, ran.state, ran.again_in_s) == ("failed", State.PENDING, 10)
    assert isinstance(ran.error, ValueError)
    assert drain() == []
    tasks.clock.advance(10)
    assert [one.attempt for one in drain()] == [2]
    tasks.clock.advance(20)
    assert [one.outcome for one in drain()] == ["succeeded"]
    assert handle.wait() == "at last"


def test_a_failure_is_logged_as_a_worker_logs_it(tasks: DeferredTasks, caplog: pytest.LogCaptureFixture) -> None:
    defer(jobs.works_the_third_time)
    drain()
    assert "works_the_third_time" in caplog.text
    assert "failed and will run again: ValueError: not yet" in caplog.text


def test_listeners_of_the_application_hear_of_it(tasks: DeferredTasks, default_app: Deferq) -> None:
    heard: list[str] = []
    default_app.listeners.append(lambda event: heard.append(event.name.value))
    defer(jobs.double, 1)
    drain()
    assert heard == ["task.started", "task.succeeded"]


def test_what_dies_raises_its_own_error_once_all_have_run(tasks: DeferredTasks) -> None:
    defer(jobs.refuses)
    defer(jobs.remember, "after it")
    defer(jobs.refuses)
    with pytest.raises(PermanentTaskFailure, match="no such user") as caught:
        drain()
    assert jobs.done == ["after it"]
    assert [note.partition(" (")[0] for note in caught.value.__notes__] == [
        f"deferq: {jobs.__name__}:refuses",
        f"deferq: and {jobs.__name__}:refuses",
    ]


def test_what_dies_can_be_kept_for_the_test_to_look_at() -> None:
    with recording(raises=False) as tasks:
        handle = defer(jobs.refuses)
        (ran,) = tasks.drain()
        assert (ran.outcome, ran.state, ran.reason) == ("dead", State.DEAD, "permanent")
        with pytest.raises(TaskFailed, match="no such user"):
            handle.wait()
        defer(jobs.refuses)
        with pytest.raises(PermanentTaskFailure):
            tasks.drain(raises=True)


def test_who_asked_for_another_attempt_too_often_dies_as_a_failed_task(tasks: DeferredTasks) -> None:
    defer(jobs.asks_again)
    assert [one.outcome for one in drain()] == ["retried"]
    tasks.clock.advance(30)
    with pytest.raises(TaskFailed, match="asks_again"):
        drain()


def test_a_snoozing_task_waits_for_the_clock_and_spends_no_attempt(tasks: DeferredTasks) -> None:
    defer(jobs.tomorrow)
    assert [(one.outcome, one.again_in_s) for one in drain()] == [("snoozed", 86_400)]
    assert drain() == []
    tasks.clock.advance(86_400)
    assert [(one.outcome, one.attempt) for one in drain()] == [("succeeded", 1)]


def test_ctrl_c_and_pytest_s_own_exceptions_come_through_at_once(tasks: DeferredTasks) -> None:
    defer(jobs.interrupt)
    defer(jobs.remember, "not any more")
    with pytest.raises(KeyboardInterrupt):
        drain()
    defer(pytest.fail, "from inside a task")
    with pytest.raises(pytest.fail.Exception, match="from inside"):
        drain()


def test_a_task_cannot_drain(tasks: DeferredTasks) -> None:
    defer(drain)
    (ran,) = drain()
    assert isinstance(ran.error, RuntimeError)
    assert "while another drain() goes on" in str(ran.error)


# ---- waiting


def test_waiting_for_what_nobody_runs_says_so_at_once(tasks: DeferredTasks) -> None:
    with pytest.raises(TaskNotFinished, match="until drain"):
        defer(jobs.remember, 1).wait(timeout=60)
    later = call(jobs.remember, 1).defer(countdown=60)
    with pytest.raises(TaskNotFinished, match="Move the clock"):
        later.wait()


def test_a_task_that_waits_for_another_one_runs_it(tasks: DeferredTasks) -> None:
    handle = defer(jobs.asks_for, 20)
    drain()
    assert handle.wait() == 41


def test_whoever_starts_a_worker_is_waited_for(tasks: DeferredTasks, default_app: Deferq) -> None:
    worker = default_app.worker(threads=1)
    worker.start()
    try:
        while not default_app.engine.attended:  # type: ignore[attr-defined]
            time.sleep(0.001)
        assert defer(jobs.double, 4).wait(timeout=30) == 8
    finally:
        worker.stop()


# ---- kinds of calls


def test_methods_coroutines_and_decorated_functions(tasks: DeferredTasks) -> None:
    report = jobs.Report(2030)
    handles = [defer(report.build, form="pdf"), defer(jobs.fetch, "example.org"), jobs.reindex(7)]
    tasks.assert_deferred(report.build, "pdf")
    tasks.assert_deferred(jobs.reindex, document=7)
    drain()
    assert jobs.done == [(2030, "pdf"), "example.org", 7]
    assert [handle.wait() for handle in handles] == ["pdf of 2030", "page of example.org", None]


def test_registered_objects_and_partials(tasks: DeferredTasks) -> None:
    partly = partial(jobs.send, "ann", copies=2)
    defer(partly, subject="Hi")
    tasks.assert_deferred(partly, "Hi")
    tasks.assert_deferred(jobs.send, "ann", "Hi", copies=2)
    tasks.assert_not_deferred(jobs.send, "ann", "Hi", copies=3)
    defer(jobs.archive.keep, "letter")
    assert tasks.assert_deferred(jobs.archive.keep, "letter").target == "@testkit-archive:keep"
    drain()
    assert jobs.done == [("ann", "Hi", 2), "letter"]


def test_app_engine_s_options(tasks: DeferredTasks) -> None:
    defer(jobs.remember, 1, _countdown=60, _queue="mail", _name="once")
    tasks.assert_deferred(jobs.remember, 1, countdown=60, queue="mail", name="once")


def test_what_many_calls_have_in_common_is_exact_to_the_millisecond(tasks: DeferredTasks) -> None:
    defer_many(call(jobs.remember, number).with_options(countdown=number, expires=90) for number in range(50))
    found = [(task.countdown, task.expires) for task in tasks.deferred_tasks()]
    assert found == [(number, 90) for number in range(50)]


def test_a_worker_of_before_goes_on_with_the_store_it_has() -> None:
    with Deferq("memory://") as app:
        handle = app.call(jobs.remember, "later").defer(countdown=0.2)
        app.start()
        with recording() as tasks:
            app.defer(jobs.remember, "in the test")
            while "later" not in jobs.done:
                time.sleep(0.01)
            assert "in the test" not in jobs.done
            tasks.drain()
        assert handle.wait(timeout=30) == "later"
    assert jobs.done == ["later", "in the test"]


def test_a_task_sees_itself(tasks: DeferredTasks) -> None:
    handle = call(jobs.tell_task).defer(queue="mail", name="me", headers={"X-A": "b"})
    drain()
    assert handle.wait() == ("mail", "me", 1, {"X-A": "b"})


def test_from_coroutines(tasks: DeferredTasks) -> None:
    async def main() -> list[object]:
        handles = [await defer_async(jobs.fetch, "a"), await call(jobs.double, 2).defer_async()]
        handles.append(defer(jobs.loop_of_mine))
        await drain_async()
        assert jobs.done == ["a", id(asyncio.get_running_loop())]
        defer(jobs.fetch, "b")
        tasks.drain()
        return [await handle for handle in handles]

    assert asyncio.run(main()) == ["page of a", 4, None]
    assert jobs.done[-1] == "b"


def test_a_coroutine_that_awaits_a_task_of_its_own(tasks: DeferredTasks) -> None:
    defer(jobs.fetch_and_store, "example.org")
    drain()
    assert jobs.done == ["deferred", "example.org"]


def test_coroutines_that_wait_for_each_other_are_drained_in_the_test_s_loop(tasks: DeferredTasks) -> None:
    async def main() -> None:
        defer(jobs.fetch_and_store, "example.org")
        await drain_async()

    asyncio.run(main())
    assert jobs.done == ["deferred", "example.org"]


def test_draining_leaves_the_thread_s_event_loop_as_it_is(tasks: DeferredTasks) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        defer(jobs.fetch, "a")
        drain()
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


# ---- names, limits, expiry, retention: by the clock


def test_a_name_stays_taken_as_long_as_its_tombstone_stands(tasks: DeferredTasks) -> None:
    call(jobs.remember, 1).defer(name="once")
    with pytest.raises(TaskAlreadyExistsError):
        call(jobs.remember, 2).defer(name="once")
    drain()
    with pytest.raises(TombstonedTaskError):
        call(jobs.remember, 3).defer(name="once")
    tasks.clock.advance(24 * 3600)
    call(jobs.remember, 4).defer(name="once")
    drain()
    assert jobs.done == [1, 4]


def test_what_expires_before_it_runs_is_cancelled(tasks: DeferredTasks) -> None:
    handle = call(jobs.remember, 1).defer(expires=60)
    tasks.clock.advance(61)
    drain()
    assert jobs.done == []
    assert (handle.state, handle.task.reason) == (State.CANCELLED, "expired")


def test_history_goes_when_its_retention_is_over(tasks: DeferredTasks) -> None:
    handle = defer(jobs.remember, 1)
    drain()
    tasks.clock.advance(3700)
    drain()
    with pytest.raises(TaskNotFound):
        handle.refresh()


def test_a_rate_holds_tasks_back_until_the_clock_moves(tasks: DeferredTasks) -> None:
    deferq.configure("memory://", queues={"mail": Queue(rate="2/m", bucket_size=2)})
    tasks.clock.freeze()
    defer_many(call(jobs.remember, number).with_options(queue="mail") for number in range(4))
    assert len(drain()) == 2
    tasks.clock.advance(30)
    assert len(drain()) == 1
    assert len(drain(future=True)) == 1


def test_a_paused_queue_keeps_its_tasks(tasks: DeferredTasks, default_app: Deferq) -> None:
    from deferq.model.settings import Pause, Resume

    default_app.engine.change_queues([("mail", Pause())])
    defer(jobs.send, "ann")
    assert drain(future=True) == []
    default_app.engine.change_queues([("mail", Resume())])
    assert len(drain()) == 1


def test_a_cancelled_task_does_not_run(tasks: DeferredTasks) -> None:
    assert defer(jobs.remember, 1).cancel()
    assert drain() == []


def test_a_task_whose_time_is_over_by_the_clock_has_timed_out(tasks: DeferredTasks) -> None:
    jobs_clock.append(tasks.clock)
    call(takes_a_minute).defer(timeout=30, retry=RetryPolicy(max_attempts=1))
    with pytest.raises(TaskFailed, match="timed out"):
        drain()


def test_a_coroutine_whose_time_is_over_has_timed_out(tasks: DeferredTasks) -> None:
    tasks.clock.freeze()
    call(asyncio.sleep, 60).defer(timeout=0.01, retry=RetryPolicy(max_attempts=1))
    with pytest.raises(TaskFailed, match="timed out"):
        drain()


jobs_clock: list[FakeClock] = []


def takes_a_minute() -> None:
    jobs_clock.pop().advance(60)


# ---- assertions


def test_what_was_deferred_is_asserted_by_function_arguments_and_options(tasks: DeferredTasks) -> None:
    call(jobs.send, "ann", "Hi").defer(countdown=60, name="once")
    assert assert_deferred(jobs.send).name == "once"
    assert_deferred(jobs.send, "ann", subject="Hi")
    assert_deferred(jobs.send, to="ann", subject=ANY, copies=1, queue="mail", countdown=60, name="once", count=1)
    assert_deferred(call(jobs.send, "ann", "Hi"), tags=["letters"])
    assert_not_deferred(jobs.send, "bob")
    assert_not_deferred(jobs.send, queue="other")
    assert_not_deferred(jobs.remember)


def test_a_call_without_arguments_means_none(tasks: DeferredTasks) -> None:
    defer(jobs.never_works, "odd")
    assert_deferred(jobs.never_works)
    assert_not_deferred(call(jobs.never_works))


def test_values_that_say_nothing_of_being_equal_are_compared_by_what_is_in_them(tasks: DeferredTasks) -> None:
    defer(jobs.remember, jobs.Opaque(1))
    assert_deferred(jobs.remember, jobs.Opaque(1))
    assert_not_deferred(jobs.remember, jobs.Opaque(2))


def test_a_failed_assertion_shows_how_near_it_was(tasks: DeferredTasks) -> None:
    defer(jobs.remember, 1)
    defer(jobs.send, "bob", "Hi")
    with pytest.raises(AssertionError) as caught:
        assert_deferred(jobs.send, "ann", "Hi", queue="post")
    assert str(caught.value).splitlines() == [
        f"expected {jobs.__name__}:send('ann', 'Hi') (queue 'post'); no such task was deferred.",
        "Deferred were:",
        f"  {jobs.__name__}:send('bob', 'Hi') (queue mail)",
        "      to is 'bob', expected 'ann'",
        "      queue is 'mail', expected 'post'",
        f"  {jobs.__name__}:remember(1) (queue default)",
    ]


def test_a_wrong_number_of_tasks_is_told(tasks: DeferredTasks) -> None:
    defer(jobs.remember, 1)
    with pytest.raises(AssertionError, match=r"expected 2 of .*; 1 such task was deferred"):
        assert_deferred(jobs.remember, 1, count=2)


def test_nothing_at_all_is_told_in_one_line(tasks: DeferredTasks) -> None:
    with pytest.raises(AssertionError, match="Nothing was deferred at all"):
        assert_deferred(jobs.remember)


def test_what_should_not_have_been_deferred_is_shown(tasks: DeferredTasks) -> None:
    defer(jobs.remember, 1)
    with pytest.raises(AssertionError, match=r"remember\(1\) \(queue default\)"):
        assert_not_deferred()


def test_a_misspelt_option_of_an_assertion_is_an_error_and_no_match(tasks: DeferredTasks) -> None:
    with pytest.raises(TypeError, match="Did you mean 'queue'"):
        assert_not_deferred(jobs.remember, quue="mail")
    with pytest.raises(TypeError):
        assert_deferred(jobs.send, "a", "b", "c")


def test_clear_forgets_what_was_deferred_and_what_is_pending(tasks: DeferredTasks) -> None:
    call(jobs.remember, 1).defer(name="once")
    clear()
    assert_not_deferred()
    assert drain() == []
    call(jobs.remember, 2).defer(name="once")
    drain()
    assert jobs.done == [2]
