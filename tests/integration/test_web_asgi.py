"""An ASGI application with a worker beside it; scopes and messages are made by hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import deferq
from deferq import Deferq, default
from deferq.http.asgi import AsgiApp, Message, Receive, Send
from tests.support import threads_named
from tests.support.sample_tasks import add

WAIT_S = 10
HTTP: dict[str, Any] = {
    "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/",
    "raw_path": b"/", "query_string": b"", "headers": [], "server": ("localhost", 80), "client": None, "root_path": "",
}  # fmt: skip


class Application:
    """Answers a request with the id of the task it deferred, and follows the lifespan protocol."""

    def __init__(self, app: Deferq) -> None:
        self._app = app
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            handle = await self._app.defer_async(add, 1, 2)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"%d" % handle.id})

    async def _live(self, receive: Receive, send: Send) -> None:
        for event in ("startup", "shutdown"):
            message = await receive()
            assert message["type"] == f"lifespan.{event}"
            await send({"type": f"lifespan.{event}.complete"})


async def request(app: AsgiApp, scope: dict[str, Any] = HTTP) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(dict(scope), receive, send)
    return sent


class Server:
    """The lifespan of a server, from `startup` to `shutdown`."""

    def __init__(self, app: AsgiApp) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        self._task: asyncio.Future[None] = asyncio.ensure_future(app(scope, self._messages.get, self._answers.put))  # type: ignore[arg-type]

    async def say(self, name: str) -> None:
        await self._messages.put({"type": f"lifespan.{name}"})

    async def event(self, name: str) -> Message:
        await self.say(name)
        return await asyncio.wait_for(self._answers.get(), WAIT_S)

    async def end(self) -> None:
        await asyncio.wait_for(self._task, WAIT_S)


def test_a_failing_start_of_the_application_is_its_own_affair(app: Deferq) -> None:
    async def failing(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        raise LookupError("of the application")

    async def main() -> None:
        server = Server(app.wrap_asgi(failing))
        await server.say("startup")
        with pytest.raises(LookupError, match="of the application"):
            await server.end()

    asyncio.run(main())


def workers() -> list[threading.Thread]:
    return threads_named("deferq-worker")


def test_the_worker_starts_and_stops_with_the_server(app: Deferq) -> None:
    async def main() -> None:
        web = app.wrap_asgi(Application(app))
        assert workers() == []
        server = Server(web)
        assert (await server.event("startup"))["type"] == "lifespan.startup.complete"
        assert len(workers()) == 1
        sent = await request(web)
        assert await app.task(int(sent[1]["body"])).wait_async(WAIT_S) == 3
        assert (await server.event("shutdown"))["type"] == "lifespan.shutdown.complete"
        await server.end()
        assert workers() == []

    asyncio.run(main())


def test_a_server_that_starts_again_in_the_same_process_has_a_worker_again(app: Deferq) -> None:
    """As in the tests of an application, where each test client is a server."""

    async def main() -> None:
        web = app.wrap_asgi(Application(app))
        for _ in range(2):
            server = Server(web)
            await server.event("startup")
            sent = await request(web)
            assert await app.task(int(sent[1]["body"])).wait_async(WAIT_S) == 3
            await server.event("shutdown")
            await server.end()
            assert workers() == []

    asyncio.run(main())


def test_a_request_that_comes_during_the_shutdown_starts_no_worker(app: Deferq) -> None:
    async def main() -> None:
        web = app.wrap_asgi(Application(app))
        server = Server(web)
        await server.event("startup")
        await server.event("shutdown")
        await request(web)
        assert workers() == []
        await server.end()

    asyncio.run(main())


def test_without_a_lifespan_the_first_request_starts_it(app: Deferq) -> None:
    async def main() -> None:
        web = app.wrap_asgi(Application(app))
        sent = await request(web)
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        assert await app.task(int(sent[1]["body"])) == 3

    asyncio.run(main())
    assert len(workers()) == 1


def test_many_first_requests_at_once_start_one_worker(app: Deferq) -> None:
    async def main() -> None:
        web = app.wrap_asgi(Application(app))
        await asyncio.gather(*(request(web) for _ in range(20)))

    asyncio.run(main())
    assert len(workers()) == 1


def test_scope_receive_and_send_are_passed_on_as_they_are(app: Deferq) -> None:
    seen: list[Any] = []

    async def inner(*everything: Any) -> None:
        seen.extend(everything)

    scope = {"type": "websocket", "extensions": {}}
    receive: Any = object()
    send: Any = object()
    asyncio.run(app.wrap_asgi(inner)(scope, receive, send))  # type: ignore[arg-type]
    assert seen[0] is scope
    assert seen[1] is receive
    assert seen[2] is send


def test_an_application_that_knows_no_lifespan_is_spared_and_the_worker_lives_with_the_server(app: Deferq) -> None:
    async def http_only(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])

    async def main() -> None:
        server = Server(app.wrap_asgi(http_only))
        assert (await server.event("startup"))["type"] == "lifespan.startup.complete"
        assert len(workers()) == 1
        assert (await server.event("shutdown"))["type"] == "lifespan.shutdown.complete"
        await server.end()
        assert workers() == []

    asyncio.run(main())


def test_with_an_external_worker_no_thread_is_started(
    make_app: Callable[..., Deferq], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFERQ_WORKER", "external")
    app = make_app()

    async def main() -> Any:
        return (await request(app.wrap_asgi(Application(app))))[1]["body"]

    task_id = int(asyncio.run(main()))
    assert workers() == []
    assert app.task(task_id).state is deferq.State.PENDING


def test_wrapping_opens_and_starts_nothing(app: Deferq, database: Any) -> None:
    app.wrap_asgi(Application(app))
    assert workers() == []
    assert not database.exists()


def test_the_modules_wrapper_uses_whatever_is_configured_when_the_request_comes(
    make_app: Callable[..., Deferq], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default, "_default", None)
    app = make_app()
    web = deferq.wrap_asgi(Application(app))
    monkeypatch.setattr(default, "_default", app)
    sent = asyncio.run(request(web))
    assert app.task(int(sent[1]["body"])).wait(WAIT_S) == 3
    assert app.embedded is not None
    assert app.embedded.worker is not None
