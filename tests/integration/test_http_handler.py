"""What the handler does with deliveries of tasks, over WSGI and over ASGI."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq, Request, RetryPolicy, RetryTask, Snooze, current_task
from deferq.codec import wire
from deferq.codec.wire import HELD, OUTCOME, REFUSED, RUN_PATH, SETTLED
from deferq.engines.base import Cancel, Filter
from deferq.errors import StoreUnavailable
from deferq.http.message import DELIVERY_KEY, OUTCOME_KEY, LocalDelivery
from deferq.model.outcome import SUCCEEDED, Cancelled, ErrorText, Failed, Parked, Retried, Snoozed, Succeeded
from deferq.model.state import State
from tests.support import bury_stalled, lease_one, sample_tasks, settle, threads_named, want
from tests.support.deliveries import Answered, Sent, Transport, delivery, over_asgi, over_wsgi

WAIT_S = 20
FAILED = ErrorText(error_type="ValueError", message="no")


@pytest.fixture
def app(make_app: Callable[..., Deferq]) -> Deferq:
    """A web application beside which no worker runs: its tasks are pushed."""
    sample_tasks.forget()
    return make_app(worker="external")


class Web:
    """The wrapped application, and the way by which requests come to it."""

    def __init__(self, app: Deferq, transport: Transport, application: Any) -> None:
        self.app = app
        self.transport = transport
        self.application = application

    def send(self, sent: Sent, **more: Any) -> Answered:
        return self.transport(self.application, sent, **more)

    def deliver(self, *call: Any, **options: Any) -> Answered:
        """Defer, and deliver at once."""
        fn, *arguments = call
        self.app.call(fn, *arguments).defer(**options)
        return self.send(delivery(self.app))


def not_found_wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"of the application"]


async def not_found_asgi(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"of the application"})


@pytest.fixture(params=["wsgi", "asgi"])
def web(request: pytest.FixtureRequest, app: Deferq) -> Web:
    if request.param == "wsgi":
        return Web(app, over_wsgi, app.wrap_wsgi(not_found_wsgi))
    return Web(app, over_asgi, app.wrap_asgi(not_found_asgi))


# ---- what the attempt came to


def settles_itself(path: str, ends: str) -> str:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table if not exists effect (id)")
        connection.execute("insert into effect values (1)")
        current_task().settle_within(connection, result="settled")
        if ends == "raises":
            connection.commit()
            raise ValueError("too late to matter")
        if ends == "too long":
            connection.commit()
            time.sleep(0.05)
            return "late"
        getattr(connection, ends)()
    return "returned"


@pytest.mark.parametrize("ends", ["commit", "rollback", "raises", "too long"])
def test_a_task_that_is_pushed_may_settle_itself(web: Web, database: Path, ends: str) -> None:
    web.app.engine.counts()
    answered = web.deliver(settles_itself, str(database), ends, timeout=0.04 if ends == "too long" else None)
    assert answered.status == 200
    (task,) = web.app.engine.find(Filter()).tasks
    if ends == "rollback":
        assert task.state is State.LEASED  # its sender settles it
    else:
        assert web.app.task(task.id).wait(0) == "settled"


async def nothing_async() -> None: ...


def returns_awaitable(a: int, b: int) -> Any:
    return sample_tasks.add_async(a, b)


def retry_later() -> None:
    raise RetryTask(after=7, reason="busy")


def snooze() -> None:
    raise Snooze(9)


def ask_for_exit() -> None:
    sys.exit(3)


def overrun() -> str:
    time.sleep(0.15)
    return "too late"


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ((sample_tasks.add, 1, 2), 3),
        ((sample_tasks.add_async, 1, 2), 3),
        ((returns_awaitable, 1, 2), 3),
        ((sample_tasks.note, "x"), None),
        ((nothing_async,), None),
    ],
    ids=lambda value: getattr(value[0], "__name__", "") if isinstance(value, tuple) else "",
)
def test_a_delivered_task_runs_and_its_outcome_comes_back(web: Web, call: tuple[Any, ...], result: object) -> None:
    web.app.call(*call).defer()
    task = lease_one(web.app.engine)
    answered = web.send(delivery(web.app, task))
    assert (answered.status, json.loads(answered.body)) == (200, {"deferq": "succeeded"})
    assert isinstance(answered.outcome, Succeeded)
    assert web.app.open_result(task.id, task.target, answered.outcome.result) == result


def test_the_sender_settles_and_the_handler_does_not(web: Web) -> None:
    handle = web.app.defer(sample_tasks.add, 1, 2)
    task = lease_one(web.app.engine)
    answered = web.send(delivery(web.app, task))
    assert web.app.engine.get([task.id])[0].state is State.LEASED
    assert answered.outcome is not None
    settle(web.app.engine, task, answered.outcome)
    assert handle.wait(0) == 3


ONCE = RetryPolicy(max_attempts=1)


@pytest.mark.parametrize(
    ("call", "options", "status", "kind"),
    [
        ((sample_tasks.fail, "no"), {}, 200, Failed),
        ((sample_tasks.fails_until_gate,), {}, 500, Failed),
        ((sample_tasks.fails_until_gate,), {"retry": ONCE}, 200, Failed),
        ((ask_for_exit,), {}, 500, Failed),
        ((retry_later,), {}, 408, Retried),
        ((retry_later,), {"retry": ONCE}, 200, Retried),
        ((snooze,), {}, 408, Snoozed),
        ((overrun,), {"timeout": 0.1}, 500, Failed),
    ],
    ids=["permanent", "failed", "spent", "exit", "retry", "retry spent", "snooze", "timeout"],
)
def test_each_outcome_has_its_status(
    web: Web, call: tuple[Any, ...], options: dict[str, Any], status: int, kind: type[Any]
) -> None:
    answered = web.deliver(*call, **options)
    assert (answered.status, type(answered.outcome)) == (status, kind)
    assert answered.body == b'{"deferq": "%b"}\n' % kind.__name__.lower().encode()


def test_what_ran_past_its_timeout_has_failed(web: Web) -> None:
    outcome = web.deliver(overrun, timeout=0.1).outcome
    assert isinstance(outcome, Failed)
    assert outcome.reason == "timed out"


def test_the_task_sees_itself_as_anywhere(web: Web) -> None:
    web.app.call(sample_tasks.tell_task).defer(
        name="n", queue="q", tags=["t"], timeout=30, retry=RetryPolicy(min_backoff_s=0)
    )
    settle(web.app.engine, lease_one(web.app.engine), Failed(error=FAILED))
    task = lease_one(web.app.engine)
    outcome = web.send(delivery(web.app, task)).outcome
    assert isinstance(outcome, Succeeded)
    told = web.app.open_result(task.id, task.target, outcome.result)
    assert (told["id"], told["name"], told["queue"], told["attempt"], told["tags"]) == (task.id, "n", "q", 2, ("t",))
    assert told["deadline"] is not None


def test_a_cancelled_or_expired_task_is_not_called(web: Web) -> None:
    handle = web.app.defer(sample_tasks.note, 1)
    task = lease_one(web.app.engine)
    web.app.engine.change([handle.id], Cancel())
    answered = web.send(delivery(web.app, task._replace(cancel_requested=True)))
    assert (answered.status, answered.outcome) == (200, Cancelled())
    web.app.defer(sample_tasks.note, 1)
    answered = web.send(delivery(web.app, lease_one(web.app.engine)._replace(expires_at=1)))
    assert (answered.status, answered.outcome) == (200, Cancelled(reason="expired"))
    assert sample_tasks.seen == []


def test_a_target_that_is_not_known_here_is_parked(web: Web) -> None:
    web.app.defer(sample_tasks.note, 1)
    task = lease_one(web.app.engine)
    target = "tests.support.sample_tasks:gone"
    payload = web.app.codec.keyring.seal("payload", task.id, target, b"")
    answered = web.send(delivery(web.app, task._replace(target=target, payload=payload)))
    assert (answered.status, type(answered.outcome)) == (503, Parked)


def test_what_has_killed_its_worker_again_and_again_is_left_to_workers_with_children(web: Web) -> None:
    web.app.defer(sample_tasks.note, 1)
    answered = web.send(delivery(web.app, lease_one(web.app.engine)._replace(crashes=3)))
    assert (answered.status, type(answered.outcome)) == (503, Parked)
    assert sample_tasks.seen == []


def test_an_envelope_that_was_changed_before_it_was_sent_is_corrupt(web: Web) -> None:
    """The sender signs what it found in the store; the envelope has a signature of its own."""
    web.app.defer(sample_tasks.note, 1)
    task = lease_one(web.app.engine)
    answered = web.send(delivery(web.app, task._replace(payload=task.payload + b"x")))
    assert answered.status == 200
    assert isinstance(answered.outcome, Failed)
    assert (answered.outcome.permanent, answered.outcome.reason) == (True, "corrupt")
    assert sample_tasks.seen == []


def fork_and_come_back() -> None:
    if child := os.fork():
        sample_tasks.seen.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def test_a_task_that_forks_and_comes_back_twice_is_answered_once(web: Web) -> None:
    assert web.deliver(fork_and_come_back).status == 200
    assert sample_tasks.seen == [1]


@pytest.mark.parametrize("options", ["{", "[]", '{"timeout_s": "x"}', '{"retry": 5}', '{"headers": [1]}'])
def test_options_that_make_no_sense_fail_the_attempt_and_nothing_else(web: Web, options: str) -> None:
    """A damaged store, say: the sender hands over what stands there."""
    web.app.defer(sample_tasks.note, 1)
    answered = web.send(delivery(web.app, lease_one(web.app.engine)._replace(options=options)))
    assert (answered.status, type(answered.outcome)) == (500, Failed)
    assert sample_tasks.seen == []


# ---- what comes twice


def held(answered: Answered) -> bool:
    return answered.status == 409 and HELD.lower() in answered.headers and "retry-after" in answered.headers


def test_the_same_delivery_again_runs_nothing(web: Web) -> None:
    web.app.defer(sample_tasks.note, 1)
    task = lease_one(web.app.engine)
    sent = delivery(web.app, task)
    assert web.send(sent).status == 200
    assert held(web.send(sent))
    settle(web.app.engine, task, SUCCEEDED)
    answered = web.send(sent)
    assert (answered.status, json.loads(answered.body)) == (200, {"deferq": "already settled"})
    assert answered.headers[OUTCOME.lower()] == SETTLED
    assert sample_tasks.seen == [(1,)]


def test_the_same_delivery_twice_in_parallel_runs_once(web: Web) -> None:
    web.app.defer(sample_tasks.wait_for_gate)
    sent = delivery(web.app)
    first: list[Answered] = []
    thread = threading.Thread(target=lambda: first.append(web.send(sent)))
    thread.start()
    assert sample_tasks.begun.wait(WAIT_S)
    assert held(web.send(sent))
    sample_tasks.gate.set()
    thread.join()
    assert isinstance(first[0].outcome, Succeeded)


def test_a_delivery_whose_lease_is_over_or_anothers_runs_nothing(web: Web) -> None:
    web.app.defer(sample_tasks.note, 1)
    task = lease_one(web.app.engine, lease_s=0.001)
    time.sleep(0.01)
    assert held(web.send(delivery(web.app, task)))
    assert held(web.send(delivery(web.app, task._replace(lease_id=task.lease_id + 1))))
    assert held(web.send(delivery(web.app, task._replace(id=task.id + 1))))
    assert sample_tasks.seen == []


# ---- when the store is out of reach


def broken(*_: object, **__: object) -> Any:
    raise StoreUnavailable("The store is away.")


def test_without_the_store_nothing_runs(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.app.defer(sample_tasks.note, 1)
    sent = delivery(web.app)
    with monkeypatch.context() as during:
        during.setattr(web.app.engine, "take_up", broken)
        answered = web.send(sent)
    assert (answered.status, answered.headers["retry-after"]) == (503, "5")
    assert sample_tasks.seen == []
    assert web.send(sent).status == 200


def test_where_the_store_cannot_even_be_opened_nothing_runs(
    web: Web, make_app: Callable[..., Deferq], tmp_path: Path
) -> None:
    web.app.defer(sample_tasks.note, 1)
    sent = delivery(web.app)
    elsewhere = make_app(f"sqlite:///{tmp_path}/no/such/folder/jobs.db", worker="external")
    wrap: Any = elsewhere.wrap_wsgi if web.transport is over_wsgi else elsewhere.wrap_asgi
    assert web.transport(wrap(not_found_wsgi), sent).status == 503


# ---- who waits, and for how long


def test_what_ends_after_its_sender_has_gone_is_settled_by_the_handler(web: Web) -> None:
    handle = web.app.defer(sample_tasks.wait_for_gate)
    answers: list[Answered] = []
    sent = delivery(web.app, wait_s=0.2)
    thread = threading.Thread(target=lambda: answers.append(web.send(sent)))
    thread.start()
    assert sample_tasks.begun.wait(WAIT_S)
    time.sleep(0.25)
    assert handle.state is State.LEASED
    sample_tasks.gate.set()
    thread.join()
    assert (answers[0].status, answers[0].outcome) == (200, None)
    assert handle.wait(0) == "through"


def test_no_other_attempt_begins_beside_one_whose_sender_has_gone(web: Web) -> None:
    handle = web.app.call(sample_tasks.wait_for_gate).defer(retry=RetryPolicy(min_backoff_s=0))
    web.app.handler().keeper._tick_s = 0.01
    task = lease_one(web.app.engine, lease_s=30)
    sent = delivery(web.app, task, wait_s=0.1)
    answers: list[Answered] = []
    thread = threading.Thread(target=lambda: answers.append(web.send(sent)))
    thread.start()
    assert sample_tasks.begun.wait(WAIT_S)
    ends = time.monotonic() + WAIT_S
    while web.app.engine.get([task.id])[0].leasable_at < task.leased_until + 60_000_000:
        assert time.monotonic() < ends
        time.sleep(0.01)
    assert bury_stalled(web.app.engine) == []
    assert web.app.engine.turn((), want(1)).leased == []
    sample_tasks.gate.set()
    thread.join()
    assert answers[0].outcome is None
    assert (handle.wait(0), handle.refresh().attempts) == ("through", 1)


def test_what_was_sent_long_ago_has_less_time(web: Web) -> None:
    """It waited in the server's line, and its sender has gone before it came."""
    handle = web.app.defer(sample_tasks.add, 1, 2)
    answered = web.send(delivery(web.app, wait_s=10, late_s=20))
    assert (answered.status, answered.outcome) == (200, None)
    assert handle.wait(0) == 3


def test_a_late_outcome_whose_lease_is_lost_is_dropped(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    web.app.call(sample_tasks.wait_for_gate).defer(retry=RetryPolicy(min_backoff_s=0))
    task = lease_one(web.app.engine)
    answers: list[Answered] = []
    sent = delivery(web.app, task, wait_s=0)
    thread = threading.Thread(target=lambda: answers.append(web.send(sent)))
    thread.start()
    assert sample_tasks.begun.wait(WAIT_S)
    settle(web.app.engine, task, Failed(error=FAILED, reason="worker lost"))
    other = lease_one(web.app.engine)
    sample_tasks.gate.set()
    thread.join()
    assert held(answers[0])
    assert web.app.engine.get([task.id])[0].lease_id == other.lease_id
    assert "dropped" in caplog.text


def test_a_late_outcome_is_stored_once_the_store_is_back(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = web.app.defer(sample_tasks.add, 1, 2)
    sent = delivery(web.app, wait_s=0)
    with monkeypatch.context() as during:
        during.setattr(web.app.engine, "turn", broken)
        assert web.send(sent).status == 503
        assert held(web.send(sent))
    assert handle.wait(WAIT_S) == 3


# ---- what is too large for a header


def test_a_large_result_comes_in_the_body(web: Web) -> None:
    web.app.defer(sample_tasks.returns, "x" * 50_000)
    task = lease_one(web.app.engine)
    answered = web.send(delivery(web.app, task))
    assert answered.headers[OUTCOME.lower()] == "in-body"
    assert isinstance(answered.outcome, Succeeded)
    assert web.app.open_result(task.id, task.target, answered.outcome.result) == "x" * 50_000


def test_what_no_sender_would_read_to_its_end_is_settled_by_the_handler(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off it would be no outcome at all, and the task would run again."""
    monkeypatch.setattr(wire, "BODY_BYTES_MAX", 60_000)
    handle = web.app.defer(sample_tasks.returns, "x" * 50_000)
    assert web.send(delivery(web.app)).outcome is None
    assert handle.wait(0) == "x" * 50_000


def test_an_outcome_is_said_although_the_store_cannot_be_asked_for_the_time(web: Web) -> None:
    web.app.defer(sample_tasks.fail, "never")
    handler, sent = web.app.handler(), delivery(web.app)
    conclude, parts = handler.conclude, handler._parts

    def away() -> Any:
        raise StoreUnavailable("away")

    def concluded(*arguments: Any, **more: Any) -> Any:
        handler._parts = away
        return conclude(*arguments, **more)

    handler.conclude = concluded  # type: ignore[method-assign]
    answered = web.send(sent)
    handler._parts = parts
    assert (answered.status, type(answered.outcome)) == (200, Failed)


def test_a_long_traceback_is_cut_to_fit_a_header(web: Web) -> None:
    answered = web.deliver(sample_tasks.raise_chain, 50)
    assert answered.status == 500
    assert isinstance(answered.outcome, Failed)
    assert answered.outcome.error.message == "link 49"
    assert sum(len(name) + len(value) for name, value in answered.headers.items()) < 8_000


# ---- a view of the application's own


def view_wsgi(app: Deferq) -> Callable[..., Any]:
    def view(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        response = app.handler().handle(Request.from_wsgi(environ))
        start_response("202 Accepted", [("Content-Type", "text/plain"), ("X-Was", str(response.status))])
        return [b"of the view"]

    return view


def view_asgi(app: Deferq) -> Callable[..., Any]:
    async def view(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        response = await app.handler().handle_async(Request.from_asgi({**scope}, body))
        await send({"type": "http.response.start", "status": 202, "headers": [(b"x-was", b"%d" % response.status)]})
        await send({"type": "http.response.body", "body": b"of the view"})

    return view


@pytest.fixture
def own(web: Web) -> Web:
    """The application with a view that takes deliveries at any path, and answers as it likes."""
    if web.transport is over_wsgi:
        return Web(web.app, over_wsgi, web.app.wrap_wsgi(view_wsgi(web.app)))
    return Web(web.app, over_asgi, web.app.wrap_asgi(view_asgi(web.app)))


def test_whatever_a_view_answers_the_outcome_stands_on_it(own: Web) -> None:
    own.app.defer(sample_tasks.add, 1, 2)
    task = lease_one(own.app.engine)
    answered = own.send(delivery(own.app, task, path="/tasks/größe", query="a=b"))
    assert (answered.status, answered.body, answered.headers["x-was"]) == (202, b"of the view", "200")
    assert isinstance(answered.outcome, Succeeded)
    assert own.app.open_result(task.id, task.target, answered.outcome.result) == 3


def test_what_is_too_large_for_the_header_of_a_view_is_settled_by_the_handler(own: Web) -> None:
    handle = own.app.defer(sample_tasks.returns, "x" * 50_000)
    answered = own.send(delivery(own.app, path="/tasks"))
    assert (answered.headers["x-was"], answered.outcome) == ("200", None)
    assert handle.wait(0) == "x" * 50_000


def test_a_refused_delivery_leaves_no_outcome_on_the_answer_of_a_view(own: Web) -> None:
    own.app.defer(sample_tasks.note, 1)
    answered = own.send(delivery(own.app, path="/tasks").with_header("X-Deferq-Signature", "v1.00.00"))
    assert (answered.status, answered.headers["x-was"]) == (202, "403")
    assert OUTCOME.lower() not in answered.headers
    assert answered.headers[REFUSED.lower()] == "403"


def test_whatever_a_view_answers_nobody_takes_a_refused_delivery_for_done(own: Web) -> None:
    own.app.defer(sample_tasks.note, 1)
    sent = delivery(own.app, path="/tasks")

    def away(*_: Any) -> Any:
        raise StoreUnavailable("away")

    engine = own.app.engine
    engine.take_up, take_up = away, engine.take_up  # type: ignore[method-assign]
    answered = own.send(sent)
    assert (answered.status, answered.headers[REFUSED.lower()], sample_tasks.seen) == (202, "503", [])
    engine.take_up = take_up  # type: ignore[method-assign]
    assert own.send(sent).outcome == SUCCEEDED
    second = own.send(sent)
    assert (second.status, second.headers[HELD.lower()]) == (202, "1")


def test_an_unwrapped_view_returns_the_response_as_it_is(app: Deferq) -> None:
    def view(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        response = app.handler().handle(Request.from_wsgi(environ))
        assert environ[OUTCOME_KEY] == SUCCEEDED
        start_response(response.status_line, response.headers)
        return [response.body]

    app.defer(sample_tasks.note, 1)
    answered = over_wsgi(view, delivery(app, path="/x"))
    assert (answered.status, answered.outcome) == (200, SUCCEEDED)


# ---- deliveries within the process


def test_a_local_delivery_takes_no_lease_up_and_has_the_outcome_itself(web: Web) -> None:
    web.app.defer(sample_tasks.returns, "x" * 50_000)
    task = lease_one(web.app.engine)
    sent = delivery(web.app, task)
    for _ in range(2):  # who holds the lease knows what it does
        local = LocalDelivery()
        answered = web.send(sent, **{DELIVERY_KEY: local})
        assert answered.status == 200
        assert isinstance(local.outcome, Succeeded)
        assert web.app.open_result(task.id, task.target, local.outcome.result) == "x" * 50_000


def test_a_local_delivery_has_to_be_signed_all_the_same(web: Web) -> None:
    web.app.defer(sample_tasks.note, 1)
    local = LocalDelivery()
    sent = delivery(web.app).with_header("X-Deferq-Time", "1")
    assert web.send(sent, **{DELIVERY_KEY: local}).status == 403
    assert (local.outcome, sample_tasks.seen) == (None, [])


def test_a_text_makes_no_delivery_local(web: Web) -> None:
    web.app.defer(sample_tasks.note, 1)
    sent = delivery(web.app)
    more = {DELIVERY_KEY: "yes"}
    assert [web.send(sent, **more).status for _ in range(2)] == [200, 409]


# ---- what is not ours


@pytest.mark.parametrize("path", ["/", "/_deferq", "/x/_deferq/run", "/_Deferq/run", "//_deferq/run"])
def test_other_paths_go_to_the_application(web: Web, path: str) -> None:
    assert web.send(Sent("GET", path, "", (), b"")).body == b"of the application"


def test_a_request_is_passed_on_untouched(app: Deferq) -> None:
    seen: list[Any] = []

    def inner(environ: Any, start_response: Any) -> list[bytes]:
        seen.extend((environ, start_response))
        return []

    environ: dict[str, Any] = {"PATH_INFO": "/"}
    start_response = object()
    assert app.wrap_wsgi(inner)(environ, start_response) == []  # type: ignore[arg-type]
    assert seen[0] is environ
    assert seen[1] is start_response


def test_below_a_mount_point_the_applications_own_path_counts(web: Web) -> None:
    web.app.defer(sample_tasks.note, 1)
    sent = delivery(web.app)
    if web.transport is over_wsgi:
        assert web.send(sent, SCRIPT_NAME="/shop").status == 200
    else:
        assert web.send(sent._replace(path=f"/shop{RUN_PATH}"), root_path="/shop").status == 200


def test_the_handler_of_the_module_is_that_of_the_default_application(default_app: Deferq) -> None:
    import deferq

    assert deferq.handler() is default_app.handler()


def test_after_a_close_the_handler_works_with_the_store_that_is_opened_anew(web: Web) -> None:
    for number in (1, 2):
        web.app.defer(sample_tasks.note, number)
        assert web.send(delivery(web.app)).status == 200
        web.app.close()
    assert sample_tasks.seen == [(1,), (2,)]


def test_with_an_external_worker_deliveries_are_taken_and_no_worker_starts(web: Web) -> None:
    assert web.deliver(sample_tasks.note, 1).status == 200
    assert threads_named("deferq-worker") == []
