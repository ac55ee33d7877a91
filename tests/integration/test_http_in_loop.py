"""Deliveries that come to an event loop: plain functions in threads, coroutines in the loop, clients that leave."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from deferq import Deferq, State, current_task
from deferq.http import asgi as asgi_module
from deferq.http import loop as loop_module
from deferq.http.threads import LoopThreads
from deferq.model.outcome import Succeeded
from tests.support import lease_one, sample_tasks, threads_named
from tests.support.deliveries import delivery, in_loop, scope_of

WAIT_S = 20


@pytest.fixture
def app(make_app: Callable[..., Deferq]) -> Deferq:
    sample_tasks.forget()
    sleeping.clear()
    return make_app(worker="external", threads=2)


async def nowhere(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("this is not for the application")


sleeping = threading.Event()


async def sleep_for_ever() -> None:
    sleeping.set()
    await asyncio.sleep(3600)


async def note_async(value: object) -> None:
    sample_tasks.note(value)


async def where() -> str:
    return threading.current_thread().name


def where_plain() -> str:
    return threading.current_thread().name


async def sleep_until_gate() -> str:
    sample_tasks.begun.set()
    while not sample_tasks.gate.is_set():
        await asyncio.sleep(0.01)
    return "through"


def tell_context() -> str:
    return sample_tasks.language.get("none")


def threads() -> list[threading.Thread]:
    return threads_named("deferq-http")


async def until(reached: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_S
    while not reached():
        assert time.monotonic() < ends
        await asyncio.sleep(0.005)


def result_of(app: Deferq, fn: Any) -> Any:
    """What a task returned that was delivered."""
    app.defer(fn)
    task = lease_one(app.engine)
    outcome = asyncio.run(in_loop(app.wrap_asgi(nowhere), delivery(app, task))).outcome
    assert isinstance(outcome, Succeeded)
    return app.open_result(task.id, task.target, outcome.result)


def test_a_coroutine_runs_in_the_loop_and_a_plain_function_in_a_thread(app: Deferq) -> None:
    assert result_of(app, where) == threading.current_thread().name
    assert result_of(app, where_plain) == "deferq-http"


def test_a_task_sees_nothing_of_the_context_of_the_request(app: Deferq) -> None:
    token = sample_tasks.language.set("of the request")
    try:
        assert result_of(app, tell_context) == "none"
    finally:
        sample_tasks.language.reset(token)


def test_so_many_functions_run_at_a_time_and_the_others_wait(app: Deferq) -> None:
    for _ in range(4):
        app.defer(sample_tasks.wait_for_gate)
    sent = [delivery(app) for _ in range(4)]
    web = app.wrap_asgi(nowhere)

    async def main() -> None:
        others = len(threads())
        requests = [asyncio.ensure_future(in_loop(web, one)) for one in sent]
        await until(sample_tasks.begun.is_set)
        await asyncio.sleep(0.05)
        assert len(threads()) <= others + 2
        app.defer(where)
        coroutine = delivery(app)
        waiting = asyncio.ensure_future(in_loop(web, coroutine))
        sample_tasks.gate.set()
        answers = await asyncio.gather(*requests, waiting)
        assert [answer.status for answer in answers] == [200] * 5

    asyncio.run(main())


def test_the_threads_end_with_the_application(app: Deferq) -> None:
    before = set(threads())
    assert result_of(app, where_plain) == "deferq-http"
    app.close()
    ends = time.monotonic() + WAIT_S
    while set(threads()) - before:
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_too_many_at_a_time_are_put_off_and_not_begun(app: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "UNDER_WAY_MAX", 1)
    app.defer(sleep_until_gate)
    app.defer(sample_tasks.note, 1)
    first, second = delivery(app), delivery(app)
    web = app.wrap_asgi(nowhere)

    async def main() -> None:
        running = asyncio.ensure_future(in_loop(web, first))
        await until(sample_tasks.begun.is_set)
        assert (await in_loop(web, second)).status == 503
        sample_tasks.gate.set()
        assert (await running).status == 200
        assert (await in_loop(web, second)).status == 200

    asyncio.run(main())
    assert sample_tasks.seen == [(1,)]


@pytest.mark.parametrize("fn", [sample_tasks.wait_for_gate, sleep_until_gate], ids=["plain", "coroutine"])
def test_what_runs_for_a_request_that_was_cancelled_goes_on_and_is_settled(app: Deferq, fn: Any) -> None:
    """As servers do it when the client has left."""
    handle = app.defer(fn)
    sent = delivery(app)
    web = app.wrap_asgi(nowhere)

    async def main() -> None:
        request = asyncio.ensure_future(in_loop(web, sent))
        await until(sample_tasks.begun.is_set)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert handle.refresh().state is State.LEASED
        sample_tasks.gate.set()
        await until(lambda: handle.refresh().state is State.SUCCEEDED)

    asyncio.run(main())
    assert handle.wait(0) == "through"


@pytest.mark.parametrize("fn", [sample_tasks.wait_for_gate, sleep_until_gate], ids=["plain", "coroutine"])
def test_what_ends_after_the_client_has_left_without_a_word_is_settled(
    app: Deferq, fn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other servers cancel nothing, and say it to whoever asks."""
    monkeypatch.setattr(asgi_module, "LOOK_FROM_S", 0.0)
    handle = app.defer(fn)
    sent = delivery(app)
    web = app.wrap_asgi(nowhere)

    async def main() -> None:
        messages = [{"type": "http.request", "body": sent.body}, {"type": "http.disconnect"}]
        said: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            said.append(message)

        request = asyncio.ensure_future(web(scope_of(sent), receive, send))
        await until(sample_tasks.begun.is_set)
        sample_tasks.gate.set()
        await request
        await until(lambda: handle.refresh().state is State.SUCCEEDED)

    asyncio.run(main())


def test_what_cannot_be_said_to_the_client_any_more_is_settled(app: Deferq) -> None:
    """Other servers raise an error of their own, and would put it into the log."""
    handle = app.defer(sample_tasks.add, 1, 2)
    sent = delivery(app)
    messages = [{"type": "http.request", "body": sent.body}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        raise ConnectionError("the client has gone")

    asyncio.run(app.wrap_asgi(nowhere)(scope_of(sent), receive, send))  # type: ignore[arg-type]
    assert handle.wait(WAIT_S) == 3
    asyncio.run(app.wrap_asgi(nowhere)(scope_of(sent._replace(method="GET")), receive, send))  # type: ignore[arg-type]


def test_a_client_that_leaves_before_it_has_sent_everything_is_not_answered(app: Deferq) -> None:
    app.defer(sample_tasks.note, 1)
    sent = delivery(app)
    messages = [
        {"type": "http.request", "body": sent.body[:5], "more_body": True},
        {"type": "http.disconnect"},
    ]
    said: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(app.wrap_asgi(nowhere)(scope_of(sent), receive, send))  # type: ignore[arg-type]
    assert (said, sample_tasks.seen) == ([], [])
    assert asyncio.run(in_loop(app.wrap_asgi(nowhere), sent)).status == 200


def test_no_more_of_a_body_is_read_than_it_said_and_a_little(app: Deferq) -> None:
    app.defer(sample_tasks.note, 1)
    sent = delivery(app)
    asked = 0

    async def receive() -> Any:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": bytes(len(sent.body) // 2 + 1), "more_body": True}

    statuses: list[Any] = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    asyncio.run(app.wrap_asgi(nowhere)(scope_of(sent), receive, send))  # type: ignore[arg-type]
    assert (statuses[0], asked) == (400, 2)


def test_a_large_body_is_verified_outside_the_loop(app: Deferq) -> None:
    app.defer(sample_tasks.note, "x" * 200_000)
    sent = delivery(app)
    threads: list[str] = []
    admit = app.handler().admit
    app.handler().admit = lambda request: (threads.append(threading.current_thread().name), admit(request))[1]  # type: ignore[method-assign]
    assert asyncio.run(in_loop(app.wrap_asgi(nowhere), sent)).status == 200
    assert threads == ["deferq-http"]


def test_a_coroutine_that_is_to_be_cancelled_is_cancelled(app: Deferq) -> None:
    handle = app.defer(sleep_for_ever)
    sent = delivery(app)
    web = app.wrap_asgi(nowhere)

    async def main() -> Any:
        request = asyncio.ensure_future(in_loop(web, sent))
        await until(sleeping.is_set)
        (attempt,) = app.handler().keeper._running.values()
        await asyncio.to_thread(attempt.cancel)
        return await request

    answered = asyncio.run(main())
    assert answered.outcome is not None
    assert type(answered.outcome).__name__ == "Cancelled"
    assert handle.refresh().state is State.LEASED


def test_a_sender_in_this_process_that_gives_up_takes_the_attempt_along(app: Deferq) -> None:
    from deferq.http.message import DELIVERY_KEY, LocalDelivery

    app.defer(sleep_for_ever)
    sent = delivery(app)
    web = app.wrap_asgi(nowhere)
    local = LocalDelivery()

    async def main() -> None:
        request = asyncio.ensure_future(in_loop(web, sent, **{DELIVERY_KEY: local}))
        await until(sleeping.is_set)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await until(lambda: local.outcome is not None)

    asyncio.run(main())


def test_a_scope_that_says_nothing_of_headers_is_one_without(app: Deferq) -> None:
    """ASGI wants them; test clients made by hand leave them out."""

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    for path, status in (("/", 204), ("/_deferq/run", 411)):
        statuses: list[Any] = []
        scope = {"type": "http", "method": "POST", "path": path}
        asyncio.run(app.wrap_asgi(inner)(scope, None, send))  # type: ignore[arg-type]
        assert statuses[0] == status


def test_current_task_is_that_of_the_delivery(app: Deferq) -> None:
    assert isinstance(result_of(app, tell_id), int)


async def tell_id() -> int:
    return current_task().id


@pytest.mark.parametrize("fn", [sample_tasks.note, note_async], ids=["plain", "coroutine"])
def test_a_sender_in_this_process_that_gives_up_while_it_waits_for_a_thread_is_not_served_later(
    app: Deferq, fn: Any
) -> None:
    """It holds the lease no longer: the task may run elsewhere by then."""
    from deferq.http.message import DELIVERY_KEY, LocalDelivery

    for _ in range(2):
        app.defer(sample_tasks.wait_for_gate)
    busy = [delivery(app), delivery(app)]
    app.defer(fn, 1)
    sent = delivery(app)
    web = app.wrap_asgi(nowhere)

    async def main() -> None:
        others = [asyncio.ensure_future(in_loop(web, one)) for one in busy]
        await until(sample_tasks.begun.is_set)
        request = asyncio.ensure_future(in_loop(web, sent, **{DELIVERY_KEY: LocalDelivery()}))
        await asyncio.sleep(0.05)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        sample_tasks.gate.set()
        await asyncio.gather(*others)
        await until(lambda: not app.handler()._in_loop._under_way)

    asyncio.run(main())
    assert sample_tasks.seen == []


def test_a_coroutine_that_is_cancelled_just_before_it_begins_does_not_begin(app: Deferq) -> None:
    app.defer(sleep_for_ever)
    sent = delivery(app)
    handler = app.handler()
    prepare = handler.prepare

    def cancelled_meanwhile(attempt: Any) -> Any:
        invocation = prepare(attempt)
        attempt.cancel()
        return invocation

    handler.prepare = cancelled_meanwhile  # type: ignore[method-assign]
    answered = asyncio.run(asyncio.wait_for(in_loop(app.wrap_asgi(nowhere), sent), WAIT_S))
    assert type(answered.outcome).__name__ == "Cancelled"
    assert not sleeping.is_set()


def test_the_store_is_opened_in_a_thread_and_not_in_the_loop(app: Deferq) -> None:
    """It may have to wait for another process."""
    app.defer(sample_tasks.note, 1)
    sent = delivery(app)
    app.close()
    opened: list[str] = []
    web, open_store = app.wrap_asgi(nowhere), app._open
    app._open = lambda: (opened.append(threading.current_thread().name), open_store())[1]  # type: ignore[method-assign]
    assert asyncio.run(in_loop(web, sent)).status == 200
    assert opened == ["deferq-http"]


def test_a_coroutine_whose_loop_ends_before_it_begins_is_given_back(app: Deferq) -> None:
    """The process may live on, and would keep its lease for ever."""
    handle = app.defer(sleep_for_ever)
    sent = delivery(app)
    web, handler = app.wrap_asgi(nowhere), app.handler()
    prepare, prepared, go_on = handler.prepare, threading.Event(), threading.Event()

    def prepare_slowly(attempt: Any) -> Any:
        invocation = prepare(attempt)
        prepared.set()
        assert go_on.wait(WAIT_S)
        return invocation

    handler.prepare = prepare_slowly  # type: ignore[method-assign]

    async def main() -> None:
        asyncio.get_running_loop().create_task(in_loop(web, sent))
        while not prepared.is_set():
            await asyncio.sleep(0.001)

    asyncio.run(main())
    go_on.set()
    ends = time.monotonic() + WAIT_S
    while handler.keeper._running or handle.refresh().state is not State.PENDING:
        assert time.monotonic() < ends, "its lease is kept, and nothing runs"
        time.sleep(0.01)
    assert (app.engine.get([handle.id])[0].starts, sleeping.is_set()) == (0, False)


def test_where_no_thread_can_be_had_nothing_is_left_to_run_later(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = LoopThreads(2)
    ran: list[str] = []

    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", none_left)
            with pytest.raises(RuntimeError):
                crew.call(lambda: ran.append("late"))
        await crew.call(lambda: ran.append("now"))

    asyncio.run(main())
    assert ran == ["now"]
