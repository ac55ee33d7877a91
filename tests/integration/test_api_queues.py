"""What a queue brings along for its tasks: its retry policy and its route. And whose word counts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from deferq import Deferq, Queue, RetryPolicy, TaskFailed, deferrable
from deferq.engines.base import Filter
from deferq.model.retry import DEFAULT_RETRY
from deferq.model.task import Task
from deferq.runtime.worker import Worker
from tests.support import sample_tasks
from tests.support.sample_tasks import note, raise_long_message

PATIENCE_S = 20
MakeApp = Callable[..., Deferq]
TWICE, NINE_TIMES = RetryPolicy(max_attempts=2, min_backoff_s=0), RetryPolicy(max_attempts=9)
QUEUES = {"mail": Queue(retry=TWICE, route="eu"), "index": Queue()}


@pytest.fixture(params=["memory://", None], ids=["memory", "sqlite"])
def shop(request: pytest.FixtureRequest, make_app: MakeApp) -> Deferq:
    sample_tasks.forget()
    return make_app(request.param, queues=QUEUES)


@deferrable(queue="mail", retry=NINE_TIMES)
def patient() -> None: ...


@deferrable(queue="mail")
def plain() -> None: ...


def stored(shop: Deferq, **options: Any) -> Task:
    return shop.call(note).defer(**options).task


def test_a_task_has_the_policy_and_the_route_of_its_queue(shop: Deferq) -> None:
    task = stored(shop, queue="mail")
    assert (task.options.retry, task.route) == (TWICE, "eu")
    (handle,) = shop.defer_many([shop.call(plain)])
    assert (handle.task.options.retry, handle.task.route) == (TWICE, "eu")
    task = stored(shop, queue="index")
    assert (task.options.retry, task.route) == (DEFAULT_RETRY, None)


def test_what_the_call_says_wins_and_a_policy_as_a_whole(shop: Deferq) -> None:
    task = stored(shop, queue="mail", retry=RetryPolicy(max_attempts=7), route="us")
    assert (task.options.retry, task.route) == (RetryPolicy(max_attempts=7), "us")


def test_what_the_deferrable_says_wins_over_the_queue(shop: Deferq) -> None:
    task = shop.defer(patient).task
    assert (task.options.retry, task.route) == (NINE_TIMES, "eu")
    assert shop.call(patient).defer(retry=TWICE).task.options.retry == TWICE


def test_tasks_are_tried_as_often_as_their_queue_says(make_app: MakeApp, start_worker: Callable[..., Worker]) -> None:
    app = make_app(queues=QUEUES)
    handle = app.call(raise_long_message, 9).defer(queue="mail")
    start_worker(app)
    with pytest.raises(TaskFailed):
        handle.wait(PATIENCE_S)
    assert handle.refresh().attempts == 2


def test_a_task_keeps_what_it_was_deferred_with(make_app: MakeApp) -> None:
    """Settling needs no application, so another declaration reaches tasks that are deferred later, and no others."""
    before = make_app(queues=QUEUES).call(note).defer(queue="mail")
    after = make_app(queues={"mail": Queue(retry=NINE_TIMES)})
    later = after.call(note).defer(queue="mail")
    assert (before.refresh().options.retry, before.task.route) == (TWICE, "eu")
    assert (later.task.options.retry, later.task.route) == (NINE_TIMES, None)


def test_queues_are_declared_once_however_many_threads_defer_first(make_app: MakeApp) -> None:
    app = make_app(queues={"mail": Queue(rate="5/s")})
    threads = [threading.Thread(target=lambda: app.call(note).defer(queue="mail")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (queue,) = app.engine.queues()
    assert queue.limits.rate == "5/s"
    assert len(app.engine.find(Filter()).tasks) == 8
