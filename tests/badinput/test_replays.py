"""Genuine deliveries that come where, when or as what they should not; and scopes of ASGI that are no request."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from deferq import Deferq, RetryPolicy
from deferq.codec.wire import TASK
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, ErrorText, Failed
from tests.badinput.watching import Watch
from tests.support import lease_one, sample_tasks, settle
from tests.support.deliveries import Answered, Sent, delivery, over_asgi, over_wsgi, scope_of, signed_again

SECRETS = ["a secret that both of them have"]
Web = Callable[[Sent], Answered]


@pytest.fixture
def app(make_app: Callable[..., Deferq]) -> Deferq:
    return make_app(worker="external", secrets=SECRETS)


@pytest.fixture(params=["wsgi", "asgi"])
def serve(request: pytest.FixtureRequest) -> Callable[[Deferq], Web]:
    """`serve(app)(sent)` is the answer of a wrapped application."""
    if request.param == "wsgi":
        return lambda app: lambda sent: over_wsgi(app.wrap_wsgi(_nobody), sent)
    return lambda app: lambda sent: over_asgi(app.wrap_asgi(_nobody), sent)


def _nobody(*_: Any) -> Any:
    raise AssertionError("this is not for the application")


def test_a_delivery_does_nothing_at_an_application_with_the_same_secret_and_another_store(
    app: Deferq, make_app: Callable[..., Deferq], serve: Callable[[Deferq], Web], watch: Watch
) -> None:
    other = make_app(worker="external", secrets=SECRETS)
    for one in (app, other):
        one.defer(sample_tasks.note, 1)
    lease_one(other.engine)
    sent = delivery(app)
    web = serve(other)
    with watch(other, lines=1, imports=True):
        assert web(sent).status == 409


def test_a_delivery_does_nothing_at_an_application_with_another_secret_and_the_same_store(
    on_file: Callable[..., Deferq], serve: Callable[[Deferq], Web], watch: Watch
) -> None:
    """B84"""
    ours, theirs = (on_file(worker="external", secrets=[f"a secret of application {name}"]) for name in ("one", "two"))
    ours.defer(sample_tasks.note, 1)
    sent = delivery(ours)
    web = serve(theirs)
    with watch(theirs, lines=1, imports=True):
        assert web(sent).status == 403
    assert serve(ours)(sent).status == 200


@pytest.mark.parametrize("end", [INTERRUPTED, Failed(error=ErrorText(error_type="E", message=""))])
def test_the_delivery_of_an_attempt_that_is_over_does_nothing_beside_the_next_one(
    app: Deferq, serve: Callable[[Deferq], Web], watch: Watch, end: Any
) -> None:
    app.call(sample_tasks.note, 1).defer(retry=RetryPolicy(max_attempts=3, min_backoff_s=0, max_backoff_s=0))
    first = lease_one(app.engine)
    old = delivery(app, first)
    settle(app.engine, first, end)
    new = delivery(app, lease_one(app.engine))
    web = serve(app)
    web(new.with_header(TASK))  # what a refusal needs is loaded by now
    with watch(app, lines=1):
        assert web(old).status == 409
    with watch(app, lines=1):
        assert web(new._replace(body=old.body, headers=old.headers)).status == 409
    for mixed in (
        new.with_header(TASK, old.header(TASK)),
        old.with_header(TASK, new.header(TASK)),
    ):
        with watch(app, lines=1):
            assert web(mixed).status == 403
    assert web(new).status == 200
    assert sample_tasks.seen == [(1,)]


def test_a_delivery_of_a_task_that_has_ended_does_nothing(
    app: Deferq, serve: Callable[[Deferq], Web], watch: Watch
) -> None:
    app.defer(sample_tasks.note, 1)
    task = lease_one(app.engine)
    sent = delivery(app, task)
    settle(app.engine, task, SUCCEEDED)
    web = serve(app)
    with watch(app, lines=1, imports=True):
        assert web(sent).status == 200
    assert sample_tasks.seen == []


SAID = {
    "target": "os:system",
    "url": "/elsewhere",
}


@pytest.mark.parametrize("field", [*SAID, "body", "id"])
def test_signed_parts_of_two_tasks_make_no_third_one(
    app: Deferq, serve: Callable[[Deferq], Web], caplog: pytest.LogCaptureFixture, field: str
) -> None:
    """Whoever can sign requests and not payloads: the envelope is for its own task and target, and dies as corrupt."""
    app.defer(sample_tasks.note, "the one")
    app.defer(sample_tasks.note, "the other")
    one, other = (delivery(app, lease_one(app.engine)) for _ in range(2))
    if field == "body":
        forged = signed_again(app, one, body=other.body)
    else:
        said = json.loads(base64.urlsafe_b64decode(one.header(TASK)))
        named = json.loads(base64.urlsafe_b64decode(other.header(TASK)))
        said |= {name: named[name] for name in ("id", "lease_id")} if field == "id" else {field: SAID[field]}
        document = base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
        forged = signed_again(app, one.with_header(TASK, document))
    caplog.set_level(logging.DEBUG)
    answered = serve(app)(forged)
    assert isinstance(answered.outcome, Failed)
    assert answered.outcome.reason == "corrupt"
    assert sample_tasks.seen == []
    assert "the one" not in caplog.text + answered.body.decode()


# ---- scopes


def test_a_websocket_under_our_path_is_closed_and_reaches_nobody(app: Deferq, watch: Watch) -> None:
    app.defer(sample_tasks.note, 1)
    sent = delivery(app)
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        said.append(message)

    web = app.wrap_asgi(_nobody)
    for path in ("/_deferq/run", "/_deferq/", "/_deferq/other"):
        scope = scope_of(sent) | {"type": "websocket", "scheme": "ws", "path": path}
        del scope["method"]
        with watch(app, lines=1, imports=True):
            asyncio.run(web(scope, receive, send))
    assert said == [{"type": "websocket.close", "code": 1008}] * 3


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "http.something", "http2", "HTTP", ""])
def test_a_scope_that_is_no_request_is_no_delivery_whatever_it_brings(app: Deferq, watch: Watch, kind: str) -> None:
    """Elsewhere, and of kinds that nobody knows, it is the application's."""
    app.defer(sample_tasks.note, 1)
    sent = delivery(app)
    theirs: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        theirs.append(scope["type"])

    path = "/chat" if kind == "websocket" else sent.path
    scope = scope_of(sent) | {"type": kind, "path": path, "deferq.delivery": "1", "deferq.outcome": "{}"}
    with watch(app):
        asyncio.run(app.wrap_asgi(application)(scope, None, None))  # type: ignore[arg-type]
    assert theirs == [kind]


def test_a_request_with_a_path_that_reminds_of_the_lifespan_is_a_request(app: Deferq, watch: Watch) -> None:
    """`lifespan` over HTTP: as a path, as a method, and as headers."""
    app.defer(sample_tasks.note, 1)
    sent = delivery(app)
    web = app.wrap_asgi(_nobody)
    for spoilt, status in (
        (sent._replace(path="/_deferq/lifespan.startup"), 404),
        (sent._replace(method="LIFESPAN"), 405),
        (sent._replace(headers=(("type", "lifespan"), ("lifespan.startup", "1"))), 411),
    ):
        with watch(app, lines=1, imports=True):
            assert over_asgi(web, spoilt).status == status
