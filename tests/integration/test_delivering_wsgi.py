"""Tasks with an url of their own are delivered into a WSGI application, in the process of the worker."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any
from wsgiref.validate import validator

import pytest

from deferq import (
    Deferq,
    PermanentTaskFailure,
    RetryPolicy,
    RetryTask,
    State,
    TaskCancelled,
    TaskFailed,
    current_task,
)
from deferq.codec import wire
from deferq.engines.base import Filter
from deferq.http.callwsgi import BODY_BYTES_MAX, BrokenAnswer, call_wsgi
from deferq.http.message import DELIVERY_KEY
from deferq.model.outcome import Succeeded
from deferq.runtime.worker import Worker
from tests.support.sample_tasks import add

WAIT_S = 10
NEVER_AGAIN = RetryPolicy(max_attempts=1)
AT_ONCE = RetryPolicy(max_attempts=3, min_backoff_s=0, max_backoff_s=0)
Environ = dict[str, Any]
View = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Serve = Callable[[View], Deferq]


class Seen:
    """A view that keeps what came, and answers as it is told."""

    def __init__(self, *statuses: str, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"") -> None:
        self.environs: list[Environ] = []
        self.bodies: list[bytes] = []
        self._statuses = list(statuses) or ["200 OK"]
        self._headers = [("Content-Type", "text/plain"), *headers]
        self._body = body

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.environs.append(environ)
        self.bodies.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        start_response(status, list(self._headers))
        return [self._body]


@pytest.fixture
def serve(app: Deferq, start_worker: Callable[..., Worker]) -> Serve:
    """`serve(view)` starts a worker that delivers to it."""

    def serve(view: View) -> Deferq:
        app.wrap_wsgi(view)
        start_worker(app)
        return app

    return serve


def ended(app: Deferq, task_id: int) -> State:
    """Wait for its end."""
    handle = app.task(task_id)
    with suppress(TaskFailed, TaskCancelled):
        handle.wait(WAIT_S)
    return handle.state


def error_of(app: Deferq, task_id: int) -> str:
    """What its last attempt failed of."""
    failure = app.engine.details(task_id).failures[-1]
    return f"{failure.error_type}: {failure.message}"


def test_a_task_with_an_url_is_posted_to_the_application_and_2xx_is_success(serve: Serve) -> None:
    view = Seen("204 No Content")
    app = serve(view)
    handle = app.call(add, 1).defer(url="/custom/p%C3%A4th?x=1&y=%20", name="once", headers={"X-Mine": "7"})
    assert ended(app, handle.id) is State.SUCCEEDED
    (environ,) = view.environs
    assert environ["REQUEST_METHOD"] == "POST"
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/custom/päth"
    assert environ["QUERY_STRING"] == "x=1&y=%20"
    assert (environ["SCRIPT_NAME"], environ["HTTP_HOST"], environ["wsgi.url_scheme"]) == ("", "localhost", "http")
    assert environ["CONTENT_TYPE"] == "application/octet-stream"
    assert environ["HTTP_X_MINE"] == "7"
    for family in ("APPENGINE", "CLOUDTASKS"):
        told = {
            name: environ[f"HTTP_X_{family}_{name}"]
            for name in ("QUEUENAME", "TASKNAME", "TASKRETRYCOUNT", "TASKEXECUTIONCOUNT")
        }
        assert told == {"QUEUENAME": "default", "TASKNAME": "once", "TASKRETRYCOUNT": "0", "TASKEXECUTIONCOUNT": "0"}


def test_a_delivery_is_signed_like_a_push_and_brings_the_envelope(serve: Serve) -> None:
    view = Seen()
    app = serve(view)
    handle = app.call(add, 1, 2).defer(url="/there?x=1")
    ended(app, handle.id)
    (environ,), (body,) = view.environs, view.bodies
    time, document = environ["HTTP_X_DEFERQ_TIME"], environ["HTTP_X_DEFERQ_TASK"]
    signed = wire.Signed("POST", "/there", "x=1", time, document, body)
    wire.verify(app.codec.keyring, signed, environ["HTTP_X_DEFERQ_SIGNATURE"], app.engine.now() / 1e6)
    task = wire.unpack_task(document, body)
    assert (task.id, task.url) == (handle.id, "/there?x=1")
    assert app.codec.decode(task).args == (1, 2)


def test_the_request_is_as_pep_3333_wants_it_and_so_may_be_the_answer(serve: Serve) -> None:
    checked = Seen(body=b"done")

    def strict(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        return validator(checked)(environ, start_response)

    app = serve(strict)
    handle = app.call(add, 1).defer(url="/there")
    assert ended(app, handle.id) is State.SUCCEEDED, error_of(app, handle.id)


def test_the_view_knows_its_task_and_runs_in_a_thread_of_the_worker(serve: Serve) -> None:
    seen: list[object] = []

    def view(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        task = current_task()
        seen.append((task.id, task.attempt, environ[DELIVERY_KEY].current is task, threading.current_thread().name[:7]))
        start_response("200 OK", [])
        return []

    app = serve(view)
    handle = app.call(add, 1).defer(url="/there")
    ended(app, handle.id)
    assert seen == [(handle.id, 1, True, "deferq-")]


def test_another_status_is_a_failed_attempt_and_the_next_one_tells_of_it(serve: Serve) -> None:
    view = Seen("500 Oh", "404 Not Found", "200 OK", body=b"no such user")
    app = serve(view)
    handle = app.call(add, 1).defer(url="/there", retry=AT_ONCE)
    assert ended(app, handle.id) is State.SUCCEEDED
    assert error_of(app, handle.id) == "HttpStatus: HTTP 404 from /there: no such user"
    told = [
        [environ.get(f"HTTP_X_{name}") for name in ("APPENGINE_TASKRETRYCOUNT", "APPENGINE_TASKEXECUTIONCOUNT",
         "CLOUDTASKS_TASKEXECUTIONCOUNT", "APPENGINE_TASKPREVIOUSRESPONSE", "APPENGINE_TASKRETRYREASON")]
        for environ in view.environs
    ]  # fmt: skip
    assert told == [
        ["0", "0", "0", None, None],
        ["1", "1", "0", "500", "App Error"],
        ["2", "2", "1", "404", "App Error"],
    ]


def test_408_is_a_quiet_retry(serve: Serve) -> None:
    app = serve(Seen("408 Request Timeout", "200 OK"))
    handle = app.call(add, 1).defer(url="/there", retry=AT_ONCE)
    assert ended(app, handle.id) is State.SUCCEEDED
    assert [failure.kind for failure in app.engine.details(handle.id).failures] == ["retried"]


def test_a_task_that_has_no_attempt_left_is_dead_and_says_what_it_was_answered(serve: Serve) -> None:
    app = serve(Seen("302 Found", headers=(("Location", "http://elsewhere.example/"),)))
    handle = app.call(add, 1).defer(url="/there?secret=1", retry=NEVER_AGAIN)
    assert ended(app, handle.id) is State.DEAD
    assert error_of(app, handle.id) == "HttpStatus: HTTP 302 from /there: redirects are not followed"


@pytest.mark.parametrize(
    ("error", "state", "says"),
    [
        (ValueError("broken"), State.DEAD, "ValueError: broken"),
        (PermanentTaskFailure("no user"), State.DEAD, "PermanentTaskFailure: no user"),
        (SystemExit(3), State.DEAD, "SystemExit: 3"),
    ],
)
def test_an_error_that_leaves_the_application_is_that_of_the_attempt(
    serve: Serve, error: BaseException, state: State, says: str
) -> None:
    def view(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise error

    app = serve(view)
    handle = app.call(add, 1).defer(url="/there", retry=NEVER_AGAIN)
    assert ended(app, handle.id) is state
    assert says in error_of(app, handle.id)
    assert "in view" in app.engine.details(handle.id).failures[-1].traceback


def test_a_view_may_ask_to_run_again(serve: Serve) -> None:
    attempts: list[int] = []

    def view(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        attempts.append(current_task().attempt)
        if len(attempts) == 1:
            raise RetryTask(after=0)
        start_response("200 OK", [])
        return []

    app = serve(view)
    assert ended(app, app.call(add, 1).defer(url="/there").id) is State.SUCCEEDED
    assert attempts == [1, 2]


@pytest.mark.parametrize("where", ["delivery", "environ", "header"])
def test_the_outcome_of_a_handler_wins_over_the_status(serve: Serve, where: str) -> None:
    def view(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        result = Succeeded(app.codec.seal_result(handle.id, "tests.support.sample_tasks:add", 42))
        headers = []
        if where == "delivery":
            environ[DELIVERY_KEY].outcome = result
        elif where == "environ":
            environ["deferq.outcome"] = result
        else:
            headers = [(wire.OUTCOME, wire.pack_header(result))]
        start_response("500 Whatever", headers)
        return []

    ready = threading.Event()
    app = serve(lambda environ, start_response: ready.wait(WAIT_S) and view(environ, start_response))  # type: ignore[return-value]
    handle = app.call(add, 1).defer(url="/there")
    ready.set()
    assert handle.wait(WAIT_S) == 42


def test_a_forged_envelope_is_not_delivered(app: Deferq, start_worker: Callable[..., Worker]) -> None:
    view = Seen()
    app.wrap_wsgi(view)
    handle = app.call(add, 1).defer(url="/there", countdown=3600)
    task = app.engine.find(Filter()).tasks[0]
    stored = app.engine.details(task.id).payload
    assert stored is not None
    forged = app.tasks.make(task.id + 1, app.call(add, 1).with_options(url="/there"), app.engine.now())
    app.engine.put([forged._replace(url="/admin/delete")])
    start_worker(app)
    assert ended(app, forged.id) is State.DEAD
    assert app.engine.get([forged.id])[0].reason == "corrupt"
    assert view.environs == []
    assert handle.cancel()


def test_strict_json_is_delivered_as_pickle_is(
    make_app: Callable[..., Deferq], start_worker: Callable[..., Worker]
) -> None:
    view = Seen()
    app = make_app(payload="json")
    app.wrap_wsgi(view)
    start_worker(app)
    handle = app.call(add, 1, 2).defer(url="/there")
    assert ended(app, handle.id) is State.SUCCEEDED
    assert b"[1,2]" in view.bodies[0].replace(b" ", b"")


def test_a_worker_that_knows_no_application_leaves_them_ready(
    app: Deferq, worker: Worker, start_worker: Callable[..., Worker]
) -> None:
    delivered = app.call(add, 1).defer(url="/there")
    assert app.defer(add, 1, 2).wait(WAIT_S) == 3
    assert delivered.refresh().state is State.PENDING
    view = Seen()
    app.wrap_wsgi(view)
    start_worker(app)
    assert ended(app, delivered.id) is State.SUCCEEDED


def test_tasks_without_an_url_are_called_by_a_worker_that_delivers(serve: Serve) -> None:
    view = Seen()
    app = serve(view)
    assert app.defer(add, 1, 2).wait(WAIT_S) == 3
    assert app.call(add, 1, 3).defer(url="/_ah/queue/default").wait(WAIT_S) == 4
    assert view.environs == []


def test_a_task_that_expires_or_is_cancelled_is_not_delivered(app: Deferq, start_worker: Callable[..., Worker]) -> None:
    view = Seen()
    app.wrap_wsgi(view)
    expired = app.call(add, 1).defer(url="/there", expires=0)
    cancelled = app.call(add, 1).defer(url="/there")
    assert cancelled.cancel()
    start_worker(app)
    assert ended(app, expired.id) is State.CANCELLED
    assert view.environs == []


def test_the_embedded_worker_delivers_to_the_wrapped_application_and_not_through_the_wrapper(app: Deferq) -> None:
    """The first request starts the worker; a delivery is no request that could start another one."""
    view = Seen()
    web = app.wrap_wsgi(view)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "CONTENT_LENGTH": "0", "wsgi.input": io.BytesIO()}
    list(web(environ, lambda status, headers, exc_info=None: None))  # type: ignore[arg-type]
    handle = app.call(add, 1).defer(url="/there")
    assert ended(app, handle.id) is State.SUCCEEDED
    assert [environ["PATH_INFO"] for environ in view.environs] == ["/", "/there"]


def test_a_base_url_says_what_the_application_sees(
    make_app: Callable[..., Deferq], start_worker: Callable[..., Worker]
) -> None:
    view = Seen()
    app = make_app(base_url="https://shop.example:8443")
    app.wrap_wsgi(view)
    start_worker(app)
    ended(app, app.call(add, 1).defer(url="/there").id)
    (environ,) = view.environs
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == ("https", "shop.example:8443")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("shop.example", "8443")


def test_a_timeout_holds_for_a_delivery(serve: Serve) -> None:
    go_on = threading.Event()

    def view(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        go_on.wait(WAIT_S)
        start_response("200 OK", [])
        return []

    app = serve(view)
    handle = app.call(add, 1).defer(url="/there", timeout=0.2, retry=NEVER_AGAIN)
    assert ended(app, handle.id) is State.DEAD
    assert app.engine.details(handle.id).failures[-1].kind == "timed out"
    go_on.set()


# ---- calling an application as PEP 3333 wants it


def environ() -> Environ:
    return {"wsgi.input": io.BytesIO()}


def test_write_counts_as_a_body_and_pieces_come_behind_it() -> None:
    def view(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response("201 Created", [("X-A", "b")])
        write(b"one ")
        return [b"two", b""]

    assert call_wsgi(view, environ()) == (201, [("X-A", "b")], b"one two")


def test_a_generator_may_start_the_response_with_its_first_piece() -> None:
    def view(environ: Environ, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"late"

    assert call_wsgi(view, environ()).body == b"late"


@pytest.mark.parametrize("status", ["", "2", "abc", "20", "٢٠٠ OK", "2000", "200OK"])
def test_a_status_that_is_none_is_an_error(status: str) -> None:
    def view(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(status, [])
        return []

    with pytest.raises(BrokenAnswer):
        call_wsgi(view, environ())


def test_no_response_a_second_one_or_a_body_too_early_is_an_error() -> None:
    def silent(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        return []

    def twice(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    def early(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        return [b"x"]

    def text(environ: Environ, start_response: Callable[..., Any]) -> Iterable[Any]:
        start_response("200 OK", [])
        return ["text"]

    for view in (silent, twice, early, text):
        with pytest.raises(BrokenAnswer):
            call_wsgi(view, environ())


def test_with_exc_info_the_response_is_replaced_or_the_error_raised_once_a_body_was_sent() -> None:
    def view(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        if environ.get("early"):
            write(b"something")
        try:
            raise KeyError("x")
        except KeyError as error:
            start_response("500 Oh", [], (type(error), error, error.__traceback__))
        return []

    assert call_wsgi(view, environ()).status == 500
    with pytest.raises(KeyError):
        call_wsgi(view, {**environ(), "early": True})


class Pieces:
    """A body without end, which notes whether it was closed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.closed = 0
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"x" * 10_000

    def close(self) -> None:
        self.closed += 1
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("error", [None, ValueError("in close")])
def test_a_body_without_end_is_cut_and_closed(error: Exception | None) -> None:
    pieces = Pieces(error)

    def view(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return pieces

    assert len(call_wsgi(view, environ()).body) == BODY_BYTES_MAX
    assert pieces.closed == 1


def test_a_body_is_closed_when_it_raises() -> None:
    class Broken(Pieces):
        def __iter__(self) -> Iterator[bytes]:
            yield b"x"
            raise KeyError("in the middle")

    pieces = Broken()

    def view(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return pieces

    with pytest.raises(KeyError):
        call_wsgi(view, environ())
    assert pieces.closed == 1
