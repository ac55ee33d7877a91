"""Deferred calls in ASGI applications, which App Engine's library knows nothing of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable as Making
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq, Request, State, handler
from deferq.codec.wire import OUTCOME
from deferq.compat.appengine import deferred, wrap_asgi_app
from deferq.engines.base import Filter
from tests.compat import counting
from tests.compat.counting import Counter
from tests.compat.test_deferred_handler import NO_NAME, NOT_FROM_QUEUE, forged
from tests.support import lease_one
from tests.support.deliveries import Sent, delivery, over_asgi
from tests.support.pushing import until

PATH = "/custom/path"
LARGE = b"much " * 40_000


@pytest.fixture(autouse=True)
def fresh() -> None:
    counting.forget()


@pytest.fixture
def external(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFERQ_WORKER", "external")


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Has a view that hands deliveries on, and one that uses deferq's own handler."""
    if scope["type"] != "http":
        raise AssertionError("it has no life of its own")
    body = (await receive()).get("body", b"")
    if scope["path"] == PATH:
        text, status, headers = await deferred.Handler().post_async(scope, body)
        answer = (status.value, headers, text.encode())
    elif scope["path"] == "/ours":
        response = await handler().handle_async(Request.from_asgi(scope, body))
        answer = (response.status, response.headers, response.body)
    else:
        answer = (200, [("Content-Type", "text/plain")], b"the application")
    raw = [(name.lower().encode(), value.encode()) for name, value in answer[1]]
    await send({"type": "http.response.start", "status": answer[0], "headers": raw})
    await send({"type": "http.response.body", "body": answer[2]})


def sent_for(app: Deferq) -> Sent:
    return delivery(app, lease_one(app.engine, delivers=True), path=PATH)


@pytest.mark.usefixtures("external")
@pytest.mark.parametrize(
    ("fn", "args", "status", "text"),
    [
        (counting.note, (1,), 200, b"Success"),
        (counting.note, (LARGE,), 200, b"Success"),
        (counting.note_later, (1,), 200, b"Success"),
        (Counter(1).add_later, (1,), 200, b"Success"),
        (counting.fail, ("singular",), 408, b"SingularTaskFailure"),
        (counting.fail, ("permanent",), 200, b"PermanentTaskFailure"),
        (counting.note, (counting.Unrestorable(),), 200, b"PermanentTaskFailure"),
        (counting.fail, ("any",), 500, b"Internal Server Error"),
    ],
)
def test_a_delivery_is_answered_in_app_engines_words(
    app: Deferq, fn: Any, args: tuple[Any, ...], status: int, text: bytes
) -> None:
    deferred.defer(fn, *args, _url=PATH)
    answered = over_asgi(wrap_asgi_app(application), sent_for(app), pieces=1)
    assert (answered.status, answered.body) == (status, text)
    assert answered.headers["content-type"] == "text/plain"
    assert OUTCOME.lower() in answered.headers


@pytest.mark.usefixtures("external")
@pytest.mark.parametrize(
    ("path", "ours"), [("/_ah/queue/deferred", True), ("/_ah/queue/deferred/", False), ("/", False)]
)
def test_exactly_one_path_goes_to_the_library(app: Deferq, path: str, ours: bool) -> None:
    sent = Sent("POST", path, "", (("Content-Length", "0"),), b"")
    answered = over_asgi(wrap_asgi_app(application, use_deferred=True), sent)
    assert (answered.status == 403) is ours
    plain = over_asgi(wrap_asgi_app(application), sent)
    assert plain.body == b"the application"


@pytest.mark.usefixtures("external")
def test_other_methods_are_405(app: Deferq) -> None:
    answered = over_asgi(deferred.asgi_application, Sent("GET", "/_ah/queue/deferred", "", (), b""))
    assert (answered.status, answered.headers["allow"], answered.body) == (405, "POST", b"")


@pytest.mark.usefixtures("external")
@pytest.mark.parametrize("path", ["/_ah/queue/deferred", PATH, "/ours", "/_deferq/run"])
@pytest.mark.parametrize(
    "signature", [(), (("X-Deferq-Task", "e30"), ("X-Deferq-Time", "1"), ("X-Deferq-Signature", "v1.0.0"))]
)
def test_a_hand_made_pickle_with_spoofed_headers_is_never_restored(
    app: Deferq, tmp_path: Path, path: str, signature: Any
) -> None:
    body = forged(tmp_path / "mark")
    headers = (
        ("Content-Length", str(len(body))),
        ("X-AppEngine-TaskName", "task1"),
        ("X-AppEngine-User-IP", "0.1.0.2"),
        *signature,
    )
    wrapped = wrap_asgi_app(application, use_deferred=True)
    answered = over_asgi(wrapped, Sent("POST", path, "", headers, body), client=("0.1.0.2", 1), pieces=1)
    assert answered.status == 403
    assert not (tmp_path / "mark").exists()


@pytest.mark.usefixtures("external")
def test_refusals_are_in_app_engines_words(app: Deferq) -> None:
    sent = Sent("POST", PATH, "", (("Content-Length", "0"),), b"")
    assert over_asgi(application, sent).body.decode() == NO_NAME
    named = sent.with_header("X-AppEngine-TaskName", "task1")
    assert over_asgi(application, named).body.decode() == NOT_FROM_QUEUE


def test_on_app_engine_its_own_deliveries_run(monkeypatch: pytest.MonkeyPatch, configured: Making[..., Deferq]) -> None:
    monkeypatch.setenv("DEFERQ_TRUST_APP_ENGINE_HEADERS", "1")
    monkeypatch.setenv("DEFERQ_WORKER", "external")
    configured()
    body = deferred.serialize(counting.note, LARGE)
    headers = (("X-AppEngine-TaskName", "task1"), ("X-AppEngine-User-IP", "0.1.0.2"))
    answered = over_asgi(deferred.asgi_application, Sent("POST", "/_ah/queue/deferred", "", headers, body))
    assert (answered.status, answered.body) == (200, b"Success")
    assert counting.seen == [(LARGE,)]


@pytest.mark.usefixtures("external")
def test_a_single_handler_that_trusts_hears_from_where_they_come(app: Deferq) -> None:
    body = deferred.serialize(counting.note, 1)
    scope = {
        "method": "POST",
        "path": PATH,
        "client": ("169.254.1.1", 1),
        "headers": [(b"x-appengine-taskname", b"task1"), (b"x-appengine-user-ip", b"0.1.0.2")],
    }
    trusting = deferred.Handler(trust_app_engine_headers=True)
    assert asyncio.run(trusting.post_async(dict(scope), body))[1] == 200
    assert asyncio.run(deferred.Handler().post_async(dict(scope), body))[1] == 403
    assert counting.seen == [(1,)]


@pytest.mark.parametrize("path", [PATH, "/ours"])
def test_the_worker_of_the_process_delivers_to_views_of_either_handler(app: Deferq, path: str) -> None:
    wrapped = wrap_asgi_app(application)
    deferred.defer(counting.note, "called")
    deferred.defer(counting.note, "delivered", _url=path)
    deferred.defer(counting.fail, "permanent", _url=path)

    async def serve() -> None:
        over = Sent("GET", "/", "", (), b"")
        from tests.support.deliveries import in_loop

        assert (await in_loop(wrapped, over)).body == b"the application"
        await asyncio.to_thread(until, lambda: all(task.state.finished for task in tasks(app)), "they have not ended")

    asyncio.run(serve())
    app.stop(0)
    assert sorted(task.state for task in tasks(app)) == [State.SUCCEEDED, State.SUCCEEDED, State.DEAD]
    assert sorted(map(str, counting.seen)) == ["('called',)", "('delivered',)", "permanent"]


def tasks(app: Deferq) -> Any:
    return app.engine.find(Filter()).tasks
