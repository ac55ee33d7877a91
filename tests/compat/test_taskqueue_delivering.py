"""A push task arrives as the request that its maker has asked for, however it is delivered."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from deferq import Deferq, State, TaskCancelled, TaskFailed
from deferq import default as default_module
from deferq.codec import wire
from deferq.compat.appengine import taskqueue
from deferq.http.message import DELIVERY_KEY, Request
from deferq.runtime.worker import Worker
from tests.support.pushing import Office, until
from tests.support.scripted import Scripted, Seen, answer

WAIT_S = 60
AT_ONCE = taskqueue.TaskRetryOptions(min_backoff_seconds=0, max_backoff_seconds=0, task_retry_limit=3)
Environ = dict[str, Any]
Serve = Callable[..., Deferq]


class View:
    """Keeps the requests that come, and answers as it is told."""

    def __init__(self, *statuses: str) -> None:
        self.environs: list[Environ] = []
        self.bodies: list[bytes] = []
        self._statuses = list(statuses) or ["200 OK"]

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.environs.append(environ)
        self.bodies.append(environ["wsgi.input"].read())
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        start_response(status, [("Content-Type", "text/plain")])
        return [b"seen"]


@pytest.fixture
def serve(app: Deferq, start_worker: Callable[..., Worker]) -> Serve:
    """`serve(view)` starts a worker that delivers to it."""

    def serve(view: Any) -> Deferq:
        app.wrap_wsgi(view)
        start_worker(app)
        return app

    return serve


def ended(app: Deferq, task: taskqueue.Task) -> State:
    """Wait for its end."""
    handle = app.task(_id_of(app, task))
    with suppress(TaskFailed, TaskCancelled):
        handle.wait(WAIT_S)
    return handle.state


def _id_of(app: Deferq, task: taskqueue.Task) -> int:
    from deferq.engines.base import Filter

    found = app.engine.find(Filter(queue=task.queue_name, name=task.name)).tasks
    return found[0].id if found else int(task.name or "")


def test_a_task_is_posted_with_its_payload_and_its_headers(serve: Serve) -> None:
    view = View("204 No Content")
    app = serve(view)
    task = taskqueue.add("grüße", url="/tasks/mail", name="once", headers={"X-Mine": ["7", "8"]})
    assert ended(app, task) is State.SUCCEEDED
    (environ,), (body,) = view.environs, view.bodies
    assert (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"]) == ("POST", "/tasks/mail", "")
    assert body == "grüße".encode()
    assert environ["CONTENT_LENGTH"] == str(len(body))
    assert environ["CONTENT_TYPE"] == "text/plain; charset=utf-8"
    assert environ["HTTP_X_MINE"] == "7,8"


def test_it_looks_like_app_engines_own_request(serve: Serve) -> None:
    view = View("500 Oh", "200 OK")
    app = serve(view)
    task = taskqueue.Task(url="/x", name="n-1", retry_options=AT_ONCE)
    task.add("mail")
    assert ended(app, task) is State.SUCCEEDED
    first, second = view.environs
    assert first["REMOTE_ADDR"] == "0.1.0.2"
    assert first["HTTP_USER_AGENT"] == "AppEngine-Google; (+http://code.google.com/appengine)"
    told = {name.removeprefix("HTTP_X_APPENGINE_"): text for name, text in first.items() if "_APPENGINE_" in name}
    assert float(told.pop("TASKETA")) == pytest.approx(task.eta_posix, abs=1)
    assert told == {
        "QUEUENAME": "mail", "TASKNAME": "n-1", "TASKRETRYCOUNT": "0", "TASKEXECUTIONCOUNT": "0",
        "CURRENT_NAMESPACE": "",
    }  # fmt: skip
    assert second["HTTP_X_APPENGINE_TASKRETRYCOUNT"] == second["HTTP_X_APPENGINE_TASKEXECUTIONCOUNT"] == "1"
    assert second["HTTP_X_APPENGINE_TASKPREVIOUSRESPONSE"] == "500"
    assert second["HTTP_X_APPENGINE_TASKRETRYREASON"] == "App Error"


def test_headers_that_a_task_queue_or_http_sets_are_dropped(serve: Serve) -> None:
    view = View()
    app = serve(view)
    odd = {"X-AppEngine-QueueName": "forged", "Host": "elsewhere.example", "X-AppEngine-FailFast": "1"}
    ended(app, taskqueue.add("x", url="/x", headers=odd))
    (environ,) = view.environs
    assert environ["HTTP_X_APPENGINE_QUEUENAME"] == "default"
    assert environ["HTTP_HOST"] == "localhost"
    assert environ["HTTP_X_APPENGINE_FAILFAST"] == "1"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT"])
def test_methods_without_a_body_have_their_params_in_the_query(serve: Serve, method: str) -> None:
    view = View()
    app = serve(view)
    assert ended(app, taskqueue.add(url="/x", method=method, params={"a": [1, 2], "b": "ü"})) is State.SUCCEEDED
    (environ,) = view.environs
    assert (environ["REQUEST_METHOD"], environ["QUERY_STRING"]) == (method, "a=1&a=2&b=%C3%BC")
    assert view.bodies == [b""]
    assert ("CONTENT_LENGTH" in environ) == (method == "PUT")
    assert "CONTENT_TYPE" not in environ


def test_the_params_of_a_post_are_its_form(serve: Serve) -> None:
    view = View()
    app = serve(view)
    ended(app, taskqueue.add(url="/x", params={"a": "1 2"}))
    assert view.bodies == [b"a=1+2"]
    assert view.environs[0]["CONTENT_TYPE"] == "application/x-www-form-urlencoded"


def test_without_an_url_it_goes_to_that_of_its_queue(serve: Serve) -> None:
    view = View()
    app = serve(view)
    ended(app, taskqueue.add(b"\x00", queue_name="mail"))
    ended(app, taskqueue.add(queue_name="mail", method="GET", params={"a": 1}))
    assert [environ["PATH_INFO"] for environ in view.environs] == ["/_ah/queue/mail"] * 2
    assert view.environs[0]["CONTENT_TYPE"] == "application/octet-stream"
    assert view.environs[1]["QUERY_STRING"] == "a=1"


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "299 Odd"])
def test_2xx_is_done(serve: Serve, status: str) -> None:
    assert ended(serve(View(status)), taskqueue.add(url="/x")) is State.SUCCEEDED


@pytest.mark.parametrize("status", ["302 Found", "404 Not Found", "408 Timeout", "500 Oh"])
def test_anything_else_is_tried_again_until_the_limit(serve: Serve, status: str) -> None:
    view = View(status)
    limit = taskqueue.TaskRetryOptions(min_backoff_seconds=0, max_backoff_seconds=0, task_retry_limit=2)
    assert ended(serve(view), taskqueue.add(url="/x", retry_options=limit)) is State.DEAD
    assert len(view.environs) == 3


def test_the_application_can_tell_that_it_is_genuine(serve: Serve) -> None:
    view = View()
    app = serve(view)
    ended(app, taskqueue.add("body", url="/x%20y", method="PUT"))
    (environ,), (body,) = view.environs, view.bodies
    time, document = environ["HTTP_X_DEFERQ_TIME"], environ["HTTP_X_DEFERQ_TASK"]
    signed = wire.Signed("PUT", "/x y", "", time, document, body)
    wire.verify(app.codec.keyring, signed, environ["HTTP_X_DEFERQ_SIGNATURE"], app.engine.now() / 1e6)
    assert wire.unpack_delivery(document, body).as_request


def test_a_view_can_ask_whether_it_is_genuine(serve: Serve) -> None:
    view = View()
    app = serve(view)
    ended(app, taskqueue.add("body", url="/x%20y", method="PUT"))
    (delivered,) = view.environs
    genuine = app.handler().is_genuine
    assert genuine(Request.from_wsgi(delivered))
    pushed = {name: value for name, value in delivered.items() if name != DELIVERY_KEY}

    def asked(body: bytes = b"body", **changes: Any) -> bool:
        environ = {**pushed, "wsgi.input": io.BytesIO(body), **changes}
        answer = genuine(Request.from_wsgi(environ))
        if answer:
            assert environ["wsgi.input"].read() == body
        return answer

    assert asked()
    assert not asked(b"BODY")
    assert not asked(CONTENT_LENGTH="3")
    assert not asked(CONTENT_LENGTH="x")
    assert not asked(REQUEST_METHOD="POST")
    assert not asked(PATH_INFO="/y")
    assert not asked(QUERY_STRING="a=1")
    assert not asked(HTTP_X_DEFERQ_SIGNATURE="v1.00.00")
    assert not asked(HTTP_X_DEFERQ_TIME="1")
    spoofed = {name: value for name, value in pushed.items() if "DEFERQ" not in name}
    assert not genuine(Request.from_wsgi({**spoofed, "wsgi.input": io.BytesIO(b"body")}))


def test_a_signed_call_is_no_request_of_the_makers(serve: Serve) -> None:
    view = View()
    app = serve(view)
    handle = app.call(print, end="").defer(url="/x")
    handle.wait(WAIT_S)
    environ = {name: value for name, value in view.environs[0].items() if name != DELIVERY_KEY}
    request = Request.from_wsgi({**environ, "wsgi.input": io.BytesIO(view.bodies[0])})
    assert not app.handler().is_genuine(request)


def test_our_own_handler_does_not_take_it_for_a_call(serve: Serve) -> None:
    """Neither as it came, nor with the envelope in place of the body."""
    view = View()
    app = serve(view)
    ended(app, taskqueue.add("body", url="/x"))
    (environ,) = view.environs
    for body in (b"body", b"DQ\x01p"):
        response = app.handler().handle(Request.from_wsgi({**environ, "wsgi.input": io.BytesIO(body)}))
        assert response.status in (400, 403)


def test_what_was_changed_in_the_store_is_not_delivered(app: Deferq, start_worker: Callable[..., Worker]) -> None:
    view = View()
    app.wrap_wsgi(view)
    task = taskqueue.Task("body", url="/x").add()
    engine, number = app.engine, _id_of(app, task)
    (stored,), details = engine.get([number]), engine.details(number)
    forged = bytearray(details.payload or b"")
    forged[-1] ^= 1
    from deferq.model.task import NewTask

    engine.put(
        [
            NewTask(
                number + 1, "default", stored.target, 0, stored.eta, None, False, None, "raise", None, "/x", None,
                bytes(forged),
            )
        ]
    )  # fmt: skip
    start_worker(app)
    assert ended(app, task) is State.SUCCEEDED
    until(lambda: app.engine.get([number + 1])[0].state is State.DEAD, "it was not refused")
    assert app.engine.get([number + 1])[0].reason == "corrupt"
    assert view.bodies == [b"body"]


def test_a_worker_without_an_application_leaves_it_alone(app: Deferq, start_worker: Callable[..., Worker]) -> None:
    task = taskqueue.add("x", url="/x")
    start_worker(app)
    beside = app.call(print, end="").defer()
    beside.wait(WAIT_S)
    assert app.engine.get([_id_of(app, task)])[0].attempts == 0


def test_an_asgi_application_gets_the_same_request(app: Deferq, start_worker: Callable[..., Worker]) -> None:
    scopes: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError("http alone")
        scopes.append({**scope, "body": (await receive())["body"]})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app.wrap_asgi(application)
    start_worker(app)
    assert ended(app, taskqueue.add("x", url="/x?b=1", method="PUT", headers={"X-A": [1, 2]})) is State.SUCCEEDED
    (scope,) = scopes
    assert (scope["method"], scope["path"], scope["query_string"], scope["body"]) == ("PUT", "/x", b"b=1", b"x")
    assert scope["client"][0] == "0.1.0.2"
    assert [value for name, value in scope["headers"] if name == b"x-a"] == [b"1", b"2"]


# ---- push


@pytest.fixture(params=["aiohttp", "threads"])
def office(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    if request.param == "aiohttp":
        pytest.importorskip("aiohttp", reason="pip install '.[push]' brings it")
    office = Office(tmp_path, request.param)
    monkeypatch.setattr(default_module, "_default", office.deferq)
    yield office
    office.deferq.close()


def test_a_push_is_the_request_too_and_signed(office: Office) -> None:
    tasks = [
        taskqueue.add("body", url="/tasks/mail", headers={"X-A": "1"}),
        taskqueue.add(url="/look", method="GET", params={"a": "b"}),
        taskqueue.add("new", url="/put", method="PUT"),
        taskqueue.add(url="/head", method="HEAD"),
        taskqueue.add(url="/old", method="DELETE"),
        taskqueue.add(url="/empty"),
    ]

    def script(seen: Seen, connection: socket.socket) -> None:
        connection.sendall(answer(200))

    with Scripted(script) as server, office.pushing(server.url):
        for task in tasks:
            assert ended(office.deferq, task) is State.SUCCEEDED
    came = {(seen.method, seen.path): seen for seen in server.seen}
    assert came.keys() == {
        ("POST", "/tasks/mail"), ("GET", "/look?a=b"), ("PUT", "/put"), ("HEAD", "/head"), ("DELETE", "/old"),
        ("POST", "/empty"),
    }  # fmt: skip
    assert came["POST", "/empty"].headers["content-length"] == "0"
    assert "content-type" not in came["GET", "/look?a=b"].headers
    posted = came["POST", "/tasks/mail"]
    assert posted.body == b"body"
    assert posted.headers["x-a"] == "1"
    assert posted.headers["user-agent"].startswith("AppEngine-Google")
    assert posted.headers["x-appengine-taskretrycount"] == "0"
    for seen in server.seen:
        path, _, query = seen.path.partition("?")
        parts = (seen.headers[name.lower()] for name in (wire.TIME, wire.TASK))
        signed = wire.Signed(seen.method, unquote(path), query, *parts, seen.body)
        wire.verify(
            office.deferq.codec.keyring, signed, seen.headers[wire.SIGNATURE.lower()], office.deferq.engine.now() / 1e6
        )


def test_a_push_that_fails_is_tried_again_and_says_so(office: Office) -> None:
    task = taskqueue.add("body", url="/x", retry_options=AT_ONCE)
    statuses = iter((503, 500, 200))

    def script(seen: Seen, connection: socket.socket) -> None:
        connection.sendall(answer(next(statuses), ("Retry-After", "0")))

    with Scripted(script) as server, office.pushing(server.url):
        assert ended(office.deferq, task) is State.SUCCEEDED
    retries = [seen.headers.get("x-appengine-taskpreviousresponse") for seen in server.seen]
    assert retries == [None, "503", "500"]
