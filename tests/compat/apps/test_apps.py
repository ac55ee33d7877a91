"""Small applications that were written for App Engine, with nothing but the import changed."""

from __future__ import annotations

import asyncio
import importlib
import pickle
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from fastapi.testclient import TestClient

from deferq import State
from deferq import default as default_module
from deferq.testing.recorder import DeferredTasks


@pytest.fixture
def application(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, deferq_tasks: DeferredTasks
) -> Iterator[ModuleType]:
    """The module of an application, as if nobody had imported it before."""
    monkeypatch.setattr(default_module, "_default", None)
    monkeypatch.setattr(default_module, "_web", None)
    name = f"tests.compat.apps.{request.param}"
    yield importlib.import_module(name)
    sys.modules.pop(name)


def an(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("application", [name], indirect=True)


def states(tasks: DeferredTasks) -> list[State]:
    return [task.state for task in tasks.deferred_tasks()]


# ---- blueprints


@an("shop")
def test_an_order_is_confirmed_once_and_shipped_an_hour_later(
    application: Any, deferq_tasks: DeferredTasks, deferq_clock: Any
) -> None:
    client = application.app.test_client()
    answers = [client.post("/shop/orders/7", data={"to": "ann@example.org"}) for _ in range(2)]
    assert [(answer.status_code, answer.text) for answer in answers] == [(202, "confirm-7"), (409, "twice")]
    deferq_tasks.drain()
    assert application.outbox == [("ann@example.org", "order 7", "thanks")]
    assert client.post("/shop/orders/7", data={"to": "ann@example.org"}).status_code == 409  # it has run, and is known
    assert application.shipped == []
    deferq_clock.advance(3600)
    deferq_tasks.drain()
    assert application.shipped == [(7, True)]
    assert [task.queue for task in deferq_tasks.deferred_tasks()] == ["mail", "parcels"]


@an("shop")
def test_retry_options_say_how_often_and_when(application: Any, deferq_tasks: DeferredTasks, deferq_clock: Any) -> None:
    application.weather["mail server"] = "down"
    application.app.test_client().post("/shop/orders/7", data={"to": "ann@example.org"})
    waited = []
    for _ in range(3):
        (ran,) = deferq_tasks.drain(raises=False, queues="mail")
        waited.append(ran.again_in_s)
        deferq_clock.advance(ran.again_in_s or 0)
    assert waited == [1, 2, None]
    assert application.tried == ["ann@example.org"] * 3
    assert states(deferq_tasks)[0] is State.DEAD


@an("shop")
def test_a_permanent_failure_is_not_tried_again_and_a_singular_one_is(
    application: Any, deferq_tasks: DeferredTasks, deferq_clock: Any
) -> None:
    application.weather["carrier"] = "on strike"
    application.app.test_client().post("/shop/orders/7", data={"to": "nowhere"})
    (mail,) = deferq_tasks.drain(raises=False)
    assert (mail.outcome, states(deferq_tasks)[0]) == ("dead", State.DEAD)
    deferq_clock.advance(3600)
    (parcel,) = deferq_tasks.drain()
    assert parcel.again_in_s is not None
    application.weather["carrier"] = "at work"
    deferq_clock.advance(parcel.again_in_s)
    deferq_tasks.drain()
    assert application.shipped == [(7, True)]


@an("shop")
def test_methods_of_classes_and_static_ones_are_deferred(application: Any, deferq_tasks: DeferredTasks) -> None:
    assert application.app.test_client().post("/admin/recall/7").status_code == 204
    static = deferq_tasks.deferred_tasks()[1]
    assert (static.route, dict(static.headers)["X-Reason"]) == ("warehouse", "recall")
    deferq_tasks.drain()
    assert sorted(application.shipped, key=str) == [("Parcel", 7), 7]


# ---- handlers of its own


@an("crawler")
def test_pages_are_fetched_once_each_by_requests_of_the_task_queue(
    application: Any, deferq_tasks: DeferredTasks
) -> None:
    client = application.app.test_client()
    assert client.post("/crawl", data={"page": "/"}).status_code == 204
    assert client.get("/status").json["tasks"] == 1
    deferq_tasks.drain(future=True)
    assert sorted(application.fetched) == [("/", 0), ("/a", 1), ("/b", 1)]
    assert client.get("/status").json["tasks"] == 0


@an("crawler")
def test_the_handler_sees_app_engines_headers_and_counts_retries_by_them(
    application: Any, deferq_tasks: DeferredTasks
) -> None:
    application.app.test_client().post("/crawl", data={"page": "/b"})
    deferq_tasks.drain(future=True)
    first, second = application.seen_headers
    assert first["X-Appengine-Queuename"] == second["X-Appengine-Queuename"] == "crawl"
    assert first["X-Appengine-Taskname"] == second["X-Appengine-Taskname"]
    assert [seen["X-Appengine-Taskretrycount"] for seen in (first, second)] == ["0", "1"]
    assert second["X-Appengine-Taskpreviousresponse"] == "503"
    assert application.fetched == [("/b", 0)]


@an("crawler")
def test_a_visitor_is_not_the_task_queue(application: Any, deferq_tasks: DeferredTasks) -> None:
    answer = application.app.test_client().post("/tasks/fetch", data={"page": "/", "depth": "0"})
    assert (answer.status_code, application.fetched) == (403, [])


# ---- a pull queue


@an("counters")
def test_clicks_are_leased_counted_and_deleted(application: Any, deferq_tasks: DeferredTasks) -> None:
    application.click("/", 3)
    application.click("/a", 2)
    assert deferq_tasks.drain() == []  # nobody delivers them
    assert application.count_some(tag="/a") == 2
    assert [application.count_some(at_most=2) for _ in range(3)] == [2, 1, 0]
    assert application.totals == {"/": 3, "/a": 2}


@an("counters")
def test_what_is_leased_and_not_deleted_comes_again(
    application: Any, deferq_tasks: DeferredTasks, deferq_clock: Any
) -> None:
    application.click("/")
    queue = application.taskqueue.Queue("clicks")
    (leased,) = queue.lease_tasks(30, 10)
    assert queue.lease_tasks(30, 10) == []
    deferq_clock.advance(31)
    (again,) = queue.lease_tasks(30, 10)
    assert (again.name, again.payload) == (leased.name, leased.payload)


# ---- handlers in classes


def get(application: Any, path: str, query: str = "") -> str:
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query}
    setup_testing_defaults(environ)
    statuses: list[str] = []
    b"".join(application.app(environ, lambda status, headers, _=None: statuses.append(status)))
    return statuses[0]


@an("handlers")
def test_a_subclass_of_the_handler_works_around_the_task(application: Any, deferq_tasks: DeferredTasks) -> None:
    assert get(application, "/greet/ann", "times=2") == "202 Accepted"
    deferq_tasks.drain()
    done = ("Success", 200, [("Content-Type", "text/plain")])
    assert application.log == ["before", "hello ann", "after", done] * 2


@an("handlers")
def test_it_sees_what_failed_and_so_does_the_store(application: Any, deferq_tasks: DeferredTasks) -> None:
    for who in ("nobody", "bob"):
        get(application, f"/greet/{who}")
    deferq_tasks.drain(future=True, raises=False)
    answers = [entry[:2] for entry in application.log if isinstance(entry, tuple)]
    assert answers == [("PermanentTaskFailure", 200), ("SingularTaskFailure", 408), ("Success", 200)]
    assert states(deferq_tasks) == [State.DEAD, State.SUCCEEDED]


# ---- ASGI


@an("chat")
def test_an_asgi_application_has_the_same_tasks(application: Any, deferq_tasks: DeferredTasks) -> None:
    client = TestClient(application.app)
    assert client.post("/say/ann", params={"what": "hello"}).status_code == 202
    asyncio.run(deferq_tasks.drain_async(future=True))
    assert application.said == [("ann", "hello", 1), ("ann", "hello!", 1), ("note", "who=ann", "default")]
    assert states(deferq_tasks) == [State.SUCCEEDED] * 3


@an("chat")
def test_it_takes_what_is_signed_alone_and_hears_what_failed(application: Any, deferq_tasks: DeferredTasks) -> None:
    client = TestClient(application.app)
    body = pickle.dumps((application.said.append, ("forged",), {}))
    spoofed = {"X-AppEngine-TaskName": "t", "X-AppEngine-User-IP": "0.1.0.2"}
    assert client.post("/_tasks/say", content=body, headers=spoofed).status_code == 403
    application.deferred.defer(application.say, "ann", "never", _url="/_tasks/say")
    asyncio.run(deferq_tasks.drain_async(future=True, raises=False))
    assert (application.said, states(deferq_tasks)) == ([], [State.DEAD])
