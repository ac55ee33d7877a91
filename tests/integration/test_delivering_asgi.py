"""Tasks with an url of their own are delivered into an ASGI application, in the loop in which it lives."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from deferq import ConfigError, Deferq, RetryPolicy, State, TaskCancelled, TaskFailed, current_task
from deferq.codec import wire
from deferq.engines.base import Want, new_lease_id
from deferq.http.callasgi import call_asgi
from deferq.http.callwsgi import BODY_BYTES_MAX, BrokenAnswer
from deferq.http.loops import Loops, ServerLoop
from deferq.http.message import DELIVERY_KEY
from deferq.http.web import kind_of
from deferq.model.outcome import Failed, Succeeded
from deferq.runtime.executor import Executor
from deferq.runtime.worker import Worker
from tests.support.sample_tasks import add

WAIT_S = 10
NEVER_AGAIN = RetryPolicy(max_attempts=1)
AT_ONCE = RetryPolicy(max_attempts=3, min_backoff_s=0, max_backoff_s=0)
App = Callable[[Any, Any, Any], Any]
Serve = Callable[[App], Deferq]


class Seen:
    """An application that keeps what came, and answers as it is told."""

    def __init__(self, *statuses: int) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.loops: list[asyncio.AbstractEventLoop] = []
        self._statuses = list(statuses) or [200]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError("it has none")
        self.scopes.append(scope)
        self.loops.append(asyncio.get_running_loop())
        self.bodies.append((await receive())["body"])
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
        await send({"type": "http.response.body", "body": b"thing"})


@pytest.fixture
def serve(app: Deferq, start_worker: Callable[..., Worker]) -> Serve:
    """`serve(application)` starts a worker that delivers to it; it has no server."""

    def serve(application: App) -> Deferq:
        app.wrap_asgi(application)
        start_worker(app)
        return app

    return serve


@contextmanager
def a_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Runs in a thread, as that of a server."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WAIT_S)
        loop.close()


def ended(app: Deferq, task_id: int) -> State:
    handle = app.task(task_id)
    with suppress(TaskFailed, TaskCancelled):
        handle.wait(WAIT_S)
    return handle.state


def error_of(app: Deferq, task_id: int) -> str:
    failure = app.engine.details(task_id).failures[-1]
    return f"{failure.error_type}: {failure.message}"


def header(scope: dict[str, Any], name: str) -> str | None:
    return dict(scope["headers"]).get(name.encode(), b"").decode("latin-1") or None


def test_a_task_with_an_url_is_posted_to_the_application(serve: Serve) -> None:
    seen = Seen(201)
    app = serve(seen)
    handle = app.call(add, 1, 2).defer(url="/custom/p%C3%A4th?x=1", name="once")
    assert ended(app, handle.id) is State.SUCCEEDED
    (scope,), (body,) = seen.scopes, seen.bodies
    assert (scope["type"], scope["method"], scope["path"]) == ("http", "POST", "/custom/päth")
    assert (scope["raw_path"], scope["query_string"], scope["scheme"]) == (b"/custom/p%C3%A4th", b"x=1", "http")
    assert header(scope, "x-appengine-taskname") == header(scope, "x-cloudtasks-taskname") == "once"
    assert header(scope, "content-type") == "application/octet-stream"
    document, time = header(scope, "x-deferq-task") or "", header(scope, "x-deferq-time") or ""
    signed = wire.Signed("POST", "/custom/päth", "x=1", time, document, body)
    wire.verify(app.codec.keyring, signed, header(scope, "x-deferq-signature") or "", app.engine.now() / 1e6)
    assert wire.unpack_task(document, body).id == handle.id


def test_what_it_answers_means_what_it_means_for_every_delivery(serve: Serve) -> None:
    seen = Seen(500, 408, 200)
    app = serve(seen)
    handle = app.call(add, 1).defer(url="/there", retry=AT_ONCE)
    assert ended(app, handle.id) is State.SUCCEEDED
    kinds = [(failure.kind, failure.message) for failure in app.engine.details(handle.id).failures]
    assert kinds == [("failed", "HTTP 500 from /there: something"), ("retried", "HTTP 408 from /there")]
    assert header(seen.scopes[2], "x-appengine-taskpreviousresponse") == "408"


def test_the_view_knows_its_task(serve: Serve) -> None:
    seen: list[object] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        task = current_task()
        await asyncio.sleep(0)
        seen.append((task.id, scope[DELIVERY_KEY].current is current_task()))
        scope[DELIVERY_KEY].outcome = Succeeded(app.codec.seal_result(task.id, task.target, 42))
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body"})

    async def with_lifespan(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await application(scope, receive, send)

    app = serve(with_lifespan)
    handle = app.call(add, 1).defer(url="/there")
    assert handle.wait(WAIT_S) == 42
    assert seen == [(handle.id, True)]


def test_an_error_that_leaves_the_application_is_that_of_the_attempt(serve: Serve) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("broken")

    app = serve(application)
    handle = app.call(add, 1).defer(url="/there", retry=NEVER_AGAIN)
    assert ended(app, handle.id) is State.DEAD
    assert error_of(app, handle.id) == "ValueError: broken"
    assert "in application" in app.engine.details(handle.id).failures[-1].traceback


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_view_cannot_end_the_loop_it_runs_in(app: Deferq, error: BaseException) -> None:
    """It may be that of the server."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise error

    app.wrap_asgi(application)
    assert app.web is not None
    server, deliverer = app.web.server, app.deliverer()
    assert server is not None

    async def notice() -> None:
        server.seen()

    with a_loop() as loop:
        asyncio.run_coroutine_threadsafe(notice(), loop).result(WAIT_S)
        app.call(add, 1).defer(url="/there")
        (task,) = app.engine.turn((), Want(1, 0, new_lease_id(1, 1), 60_000_000, delivers=True)).leased
        outcome = Executor(app.codec, now=app.engine.now, deliverer=deliverer).run(task)
        assert isinstance(outcome, Failed)
        assert outcome.error.error_type == type(error).__name__
        asyncio.run_coroutine_threadsafe(notice(), loop).result(WAIT_S)


def test_a_timeout_cancels_the_view(serve: Serve) -> None:
    cancelled = threading.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def with_lifespan(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await application(scope, receive, send)

    app = serve(with_lifespan)
    handle = app.call(add, 1).defer(url="/there", timeout=0.2, retry=NEVER_AGAIN)
    assert ended(app, handle.id) is State.DEAD
    assert app.engine.details(handle.id).failures[-1].kind == "timed out"
    assert cancelled.wait(WAIT_S)


def test_under_a_server_deliveries_run_in_its_loop_and_see_what_its_lifespan_left(app: Deferq) -> None:
    seen = Seen()
    web = app.wrap_asgi(seen)
    with a_loop() as loop:

        async def ask() -> None:
            scope = {"type": "http", "path": "/", "headers": [], "state": {"pool": 5}}
            messages = [{"type": "http.request", "body": b"", "more_body": False}]

            async def receive() -> Any:
                return messages.pop()

            async def send(message: Any) -> None:
                pass

            await web(scope, receive, send)

        asyncio.run_coroutine_threadsafe(ask(), loop).result(WAIT_S)
        handle = app.call(add, 1).defer(url="/there")
        assert ended(app, handle.id) is State.SUCCEEDED
        assert seen.loops == [loop, loop]
        assert seen.scopes[1]["state"] == {"pool": 5}
        app.stop()


def test_a_worker_that_starts_before_the_server_does_not_start_the_application_beside_it(app: Deferq) -> None:
    """Some servers say when a process begins before they run the lifespan: the task waits for them."""
    living = Living()
    app.wrap_asgi(living)
    handle = app.call(add, 1).defer(url="/there")
    app.start()
    assert app.defer(add, 1, 2).wait(WAIT_S) == 3
    ends = time.monotonic() + WAIT_S
    while not (app.engine.get([handle.id])[0].reason or "").startswith("waits: the application has no server"):
        assert time.monotonic() < ends
        time.sleep(0.01)
    task = app.engine.get([handle.id])[0]
    assert (living.events, task.starts, task.attempts) == ([], 0, 0)


def test_when_the_loop_of_the_server_has_ended_the_task_is_given_back(app: Deferq) -> None:
    seen = Seen()
    app.wrap_asgi(seen)
    assert app.web is not None
    assert app.web.server is not None
    server = app.web.server

    async def notice() -> None:
        server.seen()

    with a_loop() as loop:
        asyncio.run_coroutine_threadsafe(notice(), loop).result(WAIT_S)
    loops = Loops(seen, server)

    async def never() -> int:
        return 1

    assert asyncio.run(loops.run(never, served_only=True)) is None
    assert asyncio.run(loops.run(never)) == 1  # a test has ended its client, say
    loops.stop()


# ---- without a server


class Living:
    """An application with a lifespan."""

    def __init__(self, startup: str = "complete") -> None:
        self.events: list[str] = []
        self._startup = startup

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            self.events.append(f"asked with {scope['state']['pool']}")
            scope["state"]["pool"] = 0
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body"})
            return
        assert (await receive())["type"] == "lifespan.startup"
        self.events.append("started")
        if self._startup == "failed":
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        scope["state"]["pool"] = 5
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        self.events.append("stopped")
        await send({"type": "lifespan.shutdown.complete"})


def test_it_is_started_once_before_the_first_delivery_and_stopped_once() -> None:
    living = Living()
    loops = Loops(living)

    async def ask() -> int:
        state = loops.state()

        async def send(message: Any) -> None:
            pass

        await living({"type": "http", "state": state}, None, send)
        return 1

    async def several() -> list[int | None]:
        return await asyncio.gather(loops.run(ask), loops.run(ask), loops.run(ask))

    assert asyncio.run(several()) == [1, 1, 1]
    loops.stop()
    loops.stop()
    assert living.events == ["started", *["asked with 5"] * 3, "stopped"]


def test_closing_a_deferq_ends_the_application_that_it_has_started(
    app: Deferq, start_worker: Callable[..., Worker]
) -> None:
    living = Living()
    app.wrap_asgi(living)
    worker = start_worker(app)
    for _ in range(2):
        assert ended(app, app.call(add, 1).defer(url="/there").id) is State.SUCCEEDED
    worker.stop()
    app.close()
    assert living.events == ["started", "asked with 5", "asked with 5", "stopped"]


def test_one_that_cannot_start_says_why() -> None:
    with pytest.raises(ConfigError, match="did not start: no database"):
        Loops(Living("failed")).start()


# ---- calling an application as ASGI wants it


def called(application: App, body: bytes = b"") -> Any:
    return asyncio.run(call_asgi(application, {"type": "http"}, body))


def test_a_body_without_end_is_cut_and_the_application_told() -> None:
    told: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
        except OSError:
            told.append("gone")
            raise

    assert len(called(application).body) == BODY_BYTES_MAX
    assert told == ["gone"]


def test_who_listens_for_the_end_of_the_connection_hears_of_it_after_the_answer() -> None:
    order: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == {"type": "http.request", "body": b"payload", "more_body": False}
        listener = asyncio.create_task(receive())
        await asyncio.sleep(0)
        assert not listener.done()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})
        order.append((await listener)["type"])

    assert called(application, b"payload").status == 200
    assert order == ["http.disconnect"]


def test_no_answer_or_one_in_the_wrong_order_is_an_error() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        pass

    async def early(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.body"})

    async def twice(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.start", "status": 200})

    for application in (silent, early, twice):
        with pytest.raises(BrokenAnswer):
            called(application)


# ---- which kind an application is


async def asgi_function(scope: Any, receive: Any, send: Any) -> None: ...


def wsgi_function(environ: Any, start_response: Any) -> Any: ...


class WsgiClass:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...

    def method(self, environ: Any, start_response: Any) -> Any: ...


def test_an_application_is_told_by_how_it_is_called(app: Deferq) -> None:
    for application in (asgi_function, Seen(), app.wrap_asgi(Seen()), lambda scope, receive, send: None):
        assert kind_of(application) == "ASGI"
    for application in (wsgi_function, WsgiClass(), WsgiClass().method, app.wrap_wsgi(WsgiClass())):
        assert kind_of(application) == "WSGI"
    for something in (None, 5, "app", pytest, WsgiClass, app, lambda one: one, add_nothing):
        assert kind_of(something) is None


def add_nothing() -> None: ...


def test_an_application_that_exits_while_it_starts_has_not_started_and_holds_nobody_up() -> None:
    async def exits(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise SystemExit("no database")

    loops = Loops(exits)
    told: list[str] = []

    def start() -> None:
        try:
            loops.start()
        except ConfigError as error:
            told.append(str(error))

    for _ in range(2):
        starting = threading.Thread(target=start, daemon=True)
        starting.start()
        starting.join(WAIT_S)
        assert not starting.is_alive(), "it waits for an application that has gone"
    assert len(told) == 2
    assert "did not start: SystemExit: no database" in told[0]


def test_a_loop_that_closes_just_before_a_delivery_costs_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = asyncio.new_event_loop()
    closed.close()
    monkeypatch.setattr(ServerLoop, "loop", closed)

    async def call() -> str:
        return "called"

    assert asyncio.run(Loops(Seen(), ServerLoop()).run(call)) is None
