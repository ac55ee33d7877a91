"""From `defer` and its relatives to what the worker called."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

import deferq
from deferq import ConfigError, Deferq, Queue, RetryPolicy, State, UnknownQueueError
from deferq.runtime.worker import Worker
from tests.support import sample_tasks
from tests.support.sample_tasks import Account, add, add_async, note, seen

WAIT_S = 10
US = 1_000_000


# ---- defer


@pytest.mark.usefixtures("worker")
def test_a_deferred_function_is_called_with_its_arguments(app: Deferq) -> None:
    app.defer(note, 1, "two", key=[3]).wait(WAIT_S)
    assert seen == [(1, "two", {"key": [3]})]


@pytest.mark.parametrize(
    ("fn", "args", "expected"),
    [
        (add, (1, 2), 3),
        (add_async, (1, 2), 3),
        (partial(add, 1), (2,), 3),
        (sample_tasks.add_five, (2,), 7),
        (Account(100).pay, (5,), 105),
        (Account.create, (5,), "Account 5"),
        (sample_tasks.Savings.create, (5,), "Savings 5"),
        (Account.fee, (50,), 5),
        (Account(3), (4,), 12),
        ("a".upper, (), "A"),
        (len, ([1, 2],), 2),
    ],
)
@pytest.mark.usefixtures("worker")
def test_whatever_can_be_called_later_is(app: Deferq, fn: Any, args: tuple[Any, ...], expected: object) -> None:
    assert app.defer(fn, *args).wait(WAIT_S) == expected


@pytest.mark.usefixtures("worker")
def test_a_class_is_called_too(app: Deferq) -> None:
    account = app.defer(Account, 7).wait(WAIT_S)
    assert type(account) is Account
    assert account.number == 7


def test_when_defer_returns_the_task_is_stored(app: Deferq, make_app: Callable[..., Deferq]) -> None:
    handle = app.defer(note, 1)
    assert make_app().task(handle.id).state is State.PENDING


def test_app_engines_underscore_options_are_taken(app: Deferq) -> None:
    task = app.defer(
        note, 1, _countdown=60, _name="once", _queue="mail", _target="v1", _headers={"X-A": "b"},
        _retry_options=RetryPolicy(max_attempts=2), _url="/_ah/queue/deferred", _transactional=False,
    ).task  # fmt: skip
    assert (task.name, task.queue, task.route) == ("once", "mail", "v1")
    assert task.options.headers == (("X-A", "b"),)
    assert task.options.retry.max_attempts == 2
    assert task.eta - task.created_at == pytest.approx(60 * US, abs=5 * US)


@pytest.mark.usefixtures("worker")
def test_a_keyword_that_the_function_takes_is_not_an_option(app: Deferq) -> None:
    handle = app.defer(sample_tasks.own_queue, _queue="mine")
    handle.wait(WAIT_S)
    assert seen == ["mine"]
    assert handle.task.queue == "default"


def test_the_module_uses_the_default_application(default_app: Deferq) -> None:
    handles = [
        deferq.defer(note, 1),
        deferq.call(note, 2).defer(),
        *deferq.defer_many([deferq.call(note, 3)]),
        asyncio.run(deferq.defer_async(note, 4)),
    ]
    assert [default_app.task(handle.id).state for handle in handles] == [State.PENDING] * 4


def test_configure_takes_the_place_of_the_former_default(
    default_app: Deferq, tmp_path: Any, make_app: Callable[..., Deferq]
) -> None:
    before = deferq.defer(note, 1)
    other = deferq.configure(f"sqlite:///{tmp_path}/other.db")
    after = deferq.defer(note, 2)
    assert other.task(after.id).state is State.PENDING
    with pytest.raises(deferq.TaskNotFound):
        other.task(before.id).refresh()
    assert before.state is State.PENDING  # a closed application opens again
    other.close()


@pytest.mark.parametrize("wrong", [{"queues": ["mail"]}, {"queues": {"mail": 5}}, {"carry": ["language"]}])
def test_a_wrong_configuration_is_refused_where_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(wrong))}: "):
        Deferq("memory://", **wrong)


def test_a_configuration_that_is_refused_leaves_the_default_alone(default_app: Deferq) -> None:
    with pytest.raises(deferq.ConfigError):
        deferq.configure(threads=0)
    assert default_app.task(deferq.defer(note, 1).id).state is State.PENDING


# ---- call


def test_the_options_of_a_call_are_stored_with_the_task(app: Deferq) -> None:
    eta = datetime(2030, 1, 1, tzinfo=UTC)
    task = app.call(note, 1).defer(
        queue="mail", eta=eta, name="new-year", priority=-5, retry=RetryPolicy(max_attempts=1), timeout=30,
        expires=eta + timedelta(hours=1), tags=("signup", "mail"), headers={"X-Trace": "7"}, route="v1",
    ).task  # fmt: skip
    due = round(eta.timestamp() * US)
    assert (task.queue, task.name, task.priority, task.route) == ("mail", "new-year", -5, "v1")
    assert (task.eta, task.expires_at) == (due, due + 3600 * US)
    assert (task.options.timeout_s, task.options.tags, task.options.headers) == (
        30.0, ("signup", "mail"), (("X-Trace", "7"),),
    )  # fmt: skip
    assert task.options.retry.at_most_once


def test_a_call_never_changes_and_may_be_deferred_again(app: Deferq) -> None:
    call = app.call(note, 1)
    mailed = call.with_options(queue="mail", priority=5)
    urgent = mailed.with_options(priority=9)
    found = [one.defer().task for one in (call, mailed, urgent)]
    assert [(task.queue, task.priority) for task in found] == [("default", 0), ("mail", 5), ("mail", 9)]


def test_none_as_an_option_means_not_given(app: Deferq) -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        ("queue", "countdown", "eta", "name", "retry", "timeout", "expires", "tags")
    )
    task = app.call(note, 1).defer(**nothing, headers=None, route=None, priority=None).task
    assert (task.queue, task.name, task.priority, task.options.tags) == ("default", None, 0, ())


def test_none_leaves_the_priority_that_a_deferrable_brings(app: Deferq) -> None:
    assert app.call(sample_tasks.send, 5).defer(priority=None).task.priority == 7


def test_a_past_eta_and_a_negative_countdown_mean_now(app: Deferq) -> None:
    past = app.call(note, 1).defer(eta=datetime(2020, 1, 1, tzinfo=UTC)).task
    negative = app.call(note, 2).defer(countdown=-60).task
    assert past.reading(app.engine.now()) == negative.reading(app.engine.now()) == "ready"


@pytest.mark.usefixtures("worker")
def test_a_call_is_deferred_from_a_coroutine(app: Deferq) -> None:
    async def main() -> tuple[int, int]:
        first = await app.call(add, 1, 2).defer_async(priority=1)
        second = await app.defer_async(add_async, 3, 4)
        return await first, await second.wait_async(WAIT_S)

    assert asyncio.run(main()) == (3, 7)


# ---- defer_many


@pytest.mark.usefixtures("worker")
def test_many_calls_are_stored_at_once_and_each_is_run(app: Deferq) -> None:
    handles = app.defer_many(app.call(add, number, 1) for number in range(300))
    assert [handle.wait(WAIT_S) for handle in handles] == list(range(1, 301))


def test_no_calls_are_no_tasks(app: Deferq) -> None:
    assert app.defer_many([]) == []


@pytest.mark.parametrize("odd", [add, (add, 1, 2), None])
def test_what_is_no_call_is_told_and_refuses_all_of_them(app: Deferq, odd: Any) -> None:
    with pytest.raises(TypeError, match=r"takes calls, such as call\(fn, 1\)"):
        app.defer_many([app.call(add, 1, 2), odd])
    assert app.engine.counts().queues == ()


def test_one_refused_call_refuses_all_of_them(app: Deferq) -> None:
    with pytest.raises(deferq.NotSerializable):
        app.defer_many([app.call(note, 1), app.call(note, threading.Lock())])
    assert app.engine.queues() == []


def test_calls_keep_their_own_options(app: Deferq) -> None:
    first, second = app.defer_many([app.call(note, 1).with_options(queue="mail"), app.call(note, 2)])
    assert (first.task.queue, second.task.queue) == ("mail", "default")


def test_a_taken_name_among_many_is_raised_after_the_others_are_in(app: Deferq) -> None:
    taken = app.call(note, 0).defer(name="taken")
    named = app.call(note, 1).with_options(name="taken")
    with pytest.raises(deferq.TaskAlreadyExistsError) as caught:
        app.defer_many([app.call(note, 2), named, app.call(note, 3)])
    assert caught.value.task_id == taken.id
    assert app.engine.counts().queues[0].ready == 3


# ---- names


def test_a_name_is_taken_while_its_task_lives(app: Deferq) -> None:
    first = app.call(note, 1).defer(name="once")
    with pytest.raises(deferq.TaskAlreadyExistsError, match=str(first.id)) as caught:
        app.call(note, 2).defer(name="once")
    assert caught.value.task_id == first.id


def test_a_name_belongs_to_its_queue(app: Deferq) -> None:
    first = app.call(note, 1).defer(name="once")
    assert app.call(note, 1).defer(name="once", queue="mail") != first


@pytest.mark.usefixtures("worker")
def test_a_name_stays_taken_for_a_while_after_its_task(app: Deferq) -> None:
    first = app.call(note, 1).defer(name="once")
    first.wait(WAIT_S)
    with pytest.raises(deferq.TombstonedTaskError) as caught:
        app.call(note, 2).defer(name="once")
    assert caught.value.task_id == first.id
    assert caught.value.until > app.engine.now()


def test_the_handle_of_the_task_that_has_the_name_can_be_asked_for(app: Deferq) -> None:
    first = app.call(note, 1).defer(name="once", if_exists="return")
    second = app.call(note, 2).defer(name="once", if_exists="return")
    assert (first.existed, second.existed) == (False, True)
    assert first == second
    assert len({first, second}) == 1


def test_replacing_cancels_the_pending_task(app: Deferq) -> None:
    first = app.call(note, 1).defer(name="debounce", countdown=60)
    second = app.call(note, 2).defer(name="debounce", countdown=60, if_exists="replace")
    assert (first.state, second.state, second.existed) == (State.CANCELLED, State.PENDING, False)


# ---- declared queues


def test_any_queue_springs_into_being_while_none_is_declared(app: Deferq) -> None:
    assert app.call(note).defer(queue="whatever").task.queue == "whatever"


def test_an_undeclared_queue_is_refused_with_the_one_that_was_meant(make_app: Callable[..., Deferq]) -> None:
    app = make_app(queues={"mail": Queue(), "index": Queue()})
    with pytest.raises(UnknownQueueError, match="Did you mean 'mail'"):
        app.call(note).defer(queue="mial")
    assert app.call(note).defer(queue="mail").task.queue == "mail"
    assert app.defer(note).task.queue == "default"
    assert [queue.name for queue in app.engine.queues()] == ["default", "mail"]


def test_a_deferrable_with_an_undeclared_queue_can_be_sent_to_another(make_app: Callable[..., Deferq]) -> None:
    app = make_app(queues={"other": Queue()})
    with pytest.raises(UnknownQueueError):
        app.defer(sample_tasks.send, 1)
    assert app.call(sample_tasks.send, 1).defer(queue="other").task.queue == "other"


def test_a_declared_queue_brings_its_retry_policy(make_app: Callable[..., Deferq]) -> None:
    app = make_app(queues={"mail": Queue(retry=RetryPolicy(max_attempts=2))})
    assert app.call(note).defer(queue="mail").task.options.retry.max_attempts == 2
    own = app.call(note).defer(queue="mail", retry=RetryPolicy(max_attempts=9))
    assert own.task.options.retry.max_attempts == 9
    assert app.call(sample_tasks.send, 1).defer().task.options.retry.max_attempts == 3  # the deferrable's own


# ---- context that is carried


@pytest.mark.parametrize("fn", [sample_tasks.tell_language])
def test_context_travels_with_the_task(
    make_app: Callable[..., Deferq], start_worker: Callable[..., Worker], fn: Any
) -> None:
    app = make_app(carry=[sample_tasks.language])
    start_worker(app)

    def request() -> deferq.TaskHandle:
        sample_tasks.language.set("de")
        return app.defer(fn)

    assert copy_context().run(request).wait(WAIT_S) == "de"
    assert app.defer(fn).wait(WAIT_S) == "none"


def test_context_travels_from_a_coroutine_too(
    make_app: Callable[..., Deferq], start_worker: Callable[..., Worker]
) -> None:
    app = make_app(carry=[deferq.Carried("lang", sample_tasks.language.get, sample_tasks.language.set)])
    start_worker(app)

    async def request() -> Any:
        sample_tasks.language.set("fr")
        return await (await app.defer_async(sample_tasks.tell_language))

    assert asyncio.run(request()) == "fr"


# ---- inside a task


@pytest.mark.usefixtures("worker")
def test_a_task_knows_itself(app: Deferq) -> None:
    handle = app.call(sample_tasks.tell_task).defer(
        queue="mail", name="me", tags=("a", "b"), headers={"X-A": "1"}, route="v1", timeout=60
    )
    told = handle.wait(WAIT_S)
    deadline, eta = told.pop("deadline"), told.pop("eta")
    assert told == {
        "id": handle.id,
        "name": "me",
        "queue": "mail",
        "target": "tests.support.sample_tasks:tell_task",
        "attempt": 1,
        "tags": ("a", "b"),
        "headers": {"X-A": "1"},
        "route": "v1",
    }
    assert timedelta(0) < deadline - datetime.now(UTC) <= timedelta(seconds=60)
    assert abs(datetime.now(UTC) - eta) < timedelta(minutes=1)


def test_outside_a_task_there_is_no_current_one() -> None:
    assert not deferq.in_task()
    with pytest.raises(deferq.DeferqError, match="outside a task"):
        deferq.current_task()


def test_a_route_is_served_by_the_workers_that_are_meant(app: Deferq, start_worker: Callable[..., Worker]) -> None:
    start_worker(app, route="v1")
    other = app.call(add, 1).defer(route="v2")
    assert app.call(add, 1).defer(route="v1").wait(WAIT_S) == 1
    assert app.call(add, 2).defer().wait(WAIT_S) == 2
    assert other.state is State.PENDING
    start_worker(app)
    assert other.wait(WAIT_S) == 1


# ---- forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.usefixtures("worker")
def test_a_forked_child_defers_what_the_parents_worker_runs(app: Deferq) -> None:
    before = app.defer(add, 1, 2)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, b" ".join(b"%d" % app.defer(add, number, 1).id for number in range(20)))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        ids = [int(part) for part in pipe.read().split()]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [app.task(task_id).wait(WAIT_S) for task_id in ids] == list(range(1, 21))
    assert before.wait(WAIT_S) == 3
    assert len({before.id, app.defer(add, 0).id, *ids}) == 22


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_parent_and_child_defer_side_by_side(app: Deferq) -> None:
    app.defer(note, 0)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for number in range(50):
                app.defer(note, number)
            code = 0
        finally:
            os._exit(code)
    for number in range(50):
        app.defer(note, number)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert app.engine.counts().queues[0].ready == 101
