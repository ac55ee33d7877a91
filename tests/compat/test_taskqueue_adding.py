"""What becomes of a task's options when it is stored, and what is refused only then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deferq import Deferq, Queue, RetryPolicy
from deferq.compat.appengine import taskqueue
from deferq.compat.appengine.taskqueue.retryoptions import policy_of
from deferq.engines.base import Filter
from deferq.errors import StoreCorrupt, StoreUnavailable
from deferq.model.task import Task


def stored(app: Deferq) -> Task:
    (task,) = app.engine.find(Filter()).tasks
    return task


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "1\r\nX-B: 2"},
        {"X-A\r\nX-B": "1"},
        {"X A": "1"},
        {"X-A": "ü"},
        {"X-A": b"\xff"},
        {"X-A": "\x00"},
        {"": "1"},
        {"X-A": "1" * 9_000},
    ],
)
def test_what_is_no_header_is_refused_when_it_is_added(app: Deferq, headers: dict[str, Any]) -> None:
    with pytest.raises(taskqueue.InvalidTaskError, match="headers"):
        taskqueue.add(url="/x", headers=headers)
    assert app.engine.find(Filter()).tasks == []


@pytest.mark.parametrize(
    "url", ["/a//b", "/a/../b", "/%2e%2e/b", "/a b", "/ü", "/%zz", "/a\\b", "/_deferq/run", "/" + "ü" * 2_000, "/%ff"]
)
def test_what_two_servers_could_read_differently_is_refused_when_it_is_added(app: Deferq, url: str) -> None:
    with pytest.raises(taskqueue.InvalidUrlError):
        taskqueue.add(url=url)


def test_an_url_is_too_long_with_its_query_too(app: Deferq) -> None:
    with pytest.raises(taskqueue.InvalidUrlError):
        taskqueue.add(url="/x", method="GET", params={"a": "b" * 2_080})
    taskqueue.add(url="/x", method="GET", params={"a": "b" * 2_078})


def test_a_target_is_the_route(app: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    taskqueue.add(url="/x", target="v2.worker")
    assert stored(app).route == "v2.worker"
    with pytest.raises(taskqueue.InvalidTaskError):
        taskqueue.add(url="/x", target="v 2")


def test_a_host_that_names_a_version_is_a_target(app: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFAULT_VERSION_HOSTNAME", "shop.example.com")
    monkeypatch.setenv("HTTP_HOST", "v1.shop.example.com")
    asked = taskqueue.Task(url="/x", headers={"Host": "backend.shop.example.com"})
    assert (asked.target, asked.headers["Host"]) == ("backend", "backend.shop.example.com")
    named = taskqueue.Task(url="/x", target="backend")
    assert named.headers["Host"] == "backend.shop.example.com"
    default = taskqueue.Task(url="/x", target=taskqueue.DEFAULT_APP_VERSION)
    assert default.headers["Host"] == "shop.example.com"
    asked.add()
    assert stored(app).route == "backend"


def test_where_the_request_at_hand_came_from_says_nothing_about_who_runs_the_task(
    app: Deferq, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFAULT_VERSION_HOSTNAME", "shop.example.com")
    monkeypatch.setenv("HTTP_HOST", "v1.shop.example.com")
    task = taskqueue.add(url="/x")
    assert (task.target, task.headers["Host"]) == ("v1", "v1.shop.example.com")
    assert stored(app).route is None


def test_the_namespaces_of_the_request_go_along(app: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_X_APPENGINE_DEFAULT_NAMESPACE", "example.com")
    task = taskqueue.add(url="/x", headers={"X-AppEngine-Current-Namespace": "shop"})
    names = {"X-AppEngine-Current-Namespace": "shop", "X-AppEngine-Default-Namespace": "example.com"}
    assert task.headers == names
    assert dict(stored(app).options.headers) == names


def test_the_deadline_of_a_delivery_is_the_timeout(app: Deferq) -> None:
    taskqueue.add(url="/x", dispatch_deadline_usec=90_500_000)
    assert stored(app).options.timeout_s == 90.5


def test_a_time_that_has_passed_is_now(app: Deferq) -> None:
    before = app.engine.now()
    taskqueue.add(url="/x", countdown=-3_600)
    assert before <= stored(app).first_due <= app.engine.now()


# ---- retries


def options(**given: Any) -> RetryPolicy:
    return policy_of(taskqueue.TaskRetryOptions(**given))


def test_retries_are_attempts_less_the_first() -> None:
    assert options(task_retry_limit=0).max_attempts == 1
    assert options(task_retry_limit=7).max_attempts == 8
    assert options(task_retry_limit=7, task_age_limit=60).max_age_s == 60


def test_without_a_limit_it_is_tried_as_often_as_deferq_tries() -> None:
    assert (options().max_attempts, options().max_age_s) == (25, None)
    assert options(min_backoff_seconds=1).max_attempts == 25
    assert (options(task_age_limit=60).max_attempts, options(task_age_limit=60).max_age_s) == (None, 60)


@pytest.mark.parametrize(
    ("given", "waits"),
    [
        (
            {"min_backoff_seconds": 10, "max_backoff_seconds": 300, "max_doublings": 3},
            [10, 20, 40, 80, 160, 240, 300, 300],
        ),
        ({"min_backoff_seconds": 10, "max_doublings": 0}, [10, 20, 30, 40]),
        ({}, [0.1, 0.2, 0.4, 0.8]),
        ({"min_backoff_seconds": 4_000}, [4_000, 4_000]),
        ({"max_backoff_seconds": 0.05}, [0.05, 0.05]),
        ({"max_doublings": 1_000}, [0.1, 0.2]),
        ({"min_backoff_seconds": 0, "max_backoff_seconds": 0}, [0, 0]),
    ],
)
def test_the_waits_are_app_engines(given: dict[str, Any], waits: list[float]) -> None:
    policy = options(**given)
    assert [policy.backoff_s(retry) for retry in range(1, len(waits) + 1)] == pytest.approx(waits)
    assert not policy.jitter


def test_the_default_reaches_an_hour_and_stays_there() -> None:
    assert [options().backoff_s(retry) for retry in (16, 17, 18)] == pytest.approx([3_276.8, 3_600, 3_600])


def test_what_no_policy_holds_is_refused_when_it_is_added(app: Deferq) -> None:
    for limit in (10**9, 2.5, "3"):
        with pytest.raises((taskqueue.InvalidTaskRetryOptionsError, TypeError)):
            taskqueue.add(url="/x", retry_options=taskqueue.TaskRetryOptions(task_retry_limit=limit))


def test_those_of_the_task_take_the_place_of_those_of_its_queue(configured: Callable[..., Deferq]) -> None:
    app = configured(queues={"default": Queue(retry=RetryPolicy(max_attempts=3, min_backoff_s=7), route="eu")})
    taskqueue.add(url="/x", name="queue")
    taskqueue.add(url="/x", name="own", retry_options=taskqueue.TaskRetryOptions(task_retry_limit=1), target="us")
    by_name = {task.name: task for task in app.engine.find(Filter()).tasks}
    assert (by_name["queue"].options.retry.max_attempts, by_name["queue"].options.retry.min_backoff_s) == (3, 7)
    assert (by_name["own"].options.retry.max_attempts, by_name["own"].options.retry.min_backoff_s) == (2, 0.1)
    assert (by_name["queue"].route, by_name["own"].route) == ("eu", "us")


# ---- what else can go wrong


@pytest.mark.parametrize(
    ("error", "said"),
    [(StoreUnavailable("busy"), taskqueue.TransientError), (StoreCorrupt("broken"), taskqueue.InternalError)],
)
def test_trouble_with_the_store_is_told_in_app_engines_words(
    app: Deferq, monkeypatch: pytest.MonkeyPatch, error: Exception, said: type[Exception]
) -> None:
    def fail(*args: Any) -> Any:
        raise error

    monkeypatch.setattr(app.engine, "put", fail)
    task = taskqueue.Task(url="/x")
    with pytest.raises(said, match=str(error)) as raised:
        task.add()
    assert raised.value.__cause__ is error
    assert not task.was_enqueued


def test_an_id_that_is_taken_is_made_anew(app: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    taskqueue.add(url="/first")
    taken = stored(app).id
    take = app.ids.take
    ids = iter([range(taken - 1, taken + 1), take(1)])
    monkeypatch.setattr(app.ids, "take", lambda count: next(ids))
    two = taskqueue.Queue().add([taskqueue.Task(url="/second"), taskqueue.Task(url="/third")])
    assert [task.was_enqueued for task in two] == [True, True]
    assert {task.url for task in app.engine.find(Filter()).tasks} == {"/first", "/second", "/third"}


def test_a_real_error_is_raised_rather_than_a_name_that_is_taken(app: Deferq) -> None:
    taskqueue.add(url="/x", name="taken")
    for order in (1, -1):
        batch = [taskqueue.Task(url="/x", name="taken"), taskqueue.Task(url="/a//b"), taskqueue.Task(url="/x")][::order]
        with pytest.raises(taskqueue.InvalidUrlError):
            taskqueue.Queue().add(batch)
        assert sorted(task.was_enqueued for task in batch) == [False, False, True]
