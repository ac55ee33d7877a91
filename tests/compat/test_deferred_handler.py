"""`Handler`: every branch of section 1.4 of the facts, in both modes, and the doors that stay shut."""

from __future__ import annotations

import http
import io
import logging
import pickle
import time
from collections.abc import Callable as Making
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq, State, current_task, deferrable
from deferq.codec.wire import OUTCOME, pack_task
from deferq.compat.appengine import deferred, wrap_wsgi_app
from deferq.compat.appengine.deferred import handler as handler_module
from deferq.http.message import ANSWER_KEY, Answer
from deferq.model.outcome import Failed, Retried, Succeeded
from deferq.model.task import Leased
from tests.compat import counting
from tests.compat.deferring import stored_alone
from tests.support import lease_one, settle
from tests.support.deliveries import Sent, delivery, environ_of, over_wsgi

Environ = dict[str, Any]
PLAIN = [("Content-Type", "text/plain")]
PATH = "/custom/path"
NO_NAME = "Detected an attempted XSRF attack. The header 'X-AppEngine-Taskname' was not set."
NOT_FROM_QUEUE = "Detected an attempted XSRF attack. This request did not originate from Task Queue."
OK, FORBIDDEN = http.HTTPStatus.OK, http.HTTPStatus.FORBIDDEN
LARGE = b"much " * 40_000
language: ContextVar[str] = ContextVar("language")


def note_the_language() -> None:
    counting.seen.append(language.get(None))


def look_at_the_clock() -> None:
    ends_at = current_task().ends_at
    assert ends_at is not None
    while time.monotonic() < ends_at:
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    counting.forget()
    monkeypatch.setattr(handler_module, "_level", logging.INFO)


@pytest.fixture
def external(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker beside the application: the test delivers."""
    monkeypatch.setenv("DEFERQ_WORKER", "external")


# ---- on App Engine


def request_of(body: bytes, **more: Any) -> Environ:
    """What App Engine's queue would send."""
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/_ah/queue/deferred",
        "SERVER_SOFTWARE": "Google App Engine",
        "REMOTE_ADDR": "0.1.0.2",
        "HTTP_X_APPENGINE_TASKNAME": "task1",
        "HTTP_X_APPENGINE_QUEUENAME": "default",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        **more,
    }


def call_of(fn: Any = counting.note, *args: Any) -> bytes:
    return deferred.serialize(fn, *args)


@pytest.fixture
def trusting() -> deferred.Handler:
    return deferred.Handler(trust_app_engine_headers=True)


def test_a_task_of_app_engine_runs(app: Deferq, trusting: deferred.Handler) -> None:
    assert trusting.post(request_of(call_of(counting.note, 1))) == ("Success", OK, PLAIN)
    assert counting.seen == [(1,)]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"REMOTE_ADDR": "192.0.2.1"}, NOT_FROM_QUEUE),
        ({"REMOTE_ADDR": "192.0.2.1", "HTTP_X_APPENGINE_USER_IP": "0.1.0.2"}, NOT_FROM_QUEUE),
        ({"SERVER_SOFTWARE": "gunicorn/23", "REMOTE_ADDR": "127.0.0.1"}, NOT_FROM_QUEUE),
        ({"SERVER_SOFTWARE": "Werkzeug Devel", "REMOTE_ADDR": "127.0.0.1"}, NOT_FROM_QUEUE),
        ({"SERVER_SOFTWARE": None, "REMOTE_ADDR": None}, NOT_FROM_QUEUE),
    ],
)
def test_what_is_not_from_app_engines_queue_is_refused(
    app: Deferq, trusting: deferred.Handler, caplog: pytest.LogCaptureFixture, more: Environ, text: str
) -> None:
    assert trusting.post(request_of(call_of(), **more)) == (text, FORBIDDEN, PLAIN)
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [("ERROR", text)]
    assert counting.seen == []


def test_what_has_no_task_name_is_refused(
    app: Deferq, trusting: deferred.Handler, caplog: pytest.LogCaptureFixture
) -> None:
    environ = request_of(call_of())
    del environ["HTTP_X_APPENGINE_TASKNAME"]
    assert trusting.post(environ) == (NO_NAME, FORBIDDEN, PLAIN)
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [("ERROR", NO_NAME)]


def test_the_development_server_has_another_address(app: Deferq, trusting: deferred.Handler) -> None:
    environ = request_of(call_of(counting.note, 1), SERVER_SOFTWARE="Development/2.0", REMOTE_ADDR="127.0.0.1")
    assert trusting.post(environ) == ("Success", OK, PLAIN)


def test_a_server_that_does_not_say_what_it_is_makes_no_error(app: Deferq, trusting: deferred.Handler) -> None:
    """App Engine's library raises."""
    environ = request_of(call_of(counting.note, 1))
    del environ["SERVER_SOFTWARE"]
    assert trusting.post(environ) == ("Success", OK, PLAIN)


def test_one_line_with_app_engines_headers_is_logged_at_the_level_that_was_set(
    app: Deferq, trusting: deferred.Handler, caplog: pytest.LogCaptureFixture
) -> None:
    deferred.set_log_level(logging.WARNING)
    trusting.post(request_of(call_of(), HTTP_X_APPENGINE_TASKRETRYCOUNT="2", HTTP_HOST="shop.example"))
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert line.getMessage() == (
        "X_APPENGINE_TASKNAME:task1, X_APPENGINE_QUEUENAME:default, X_APPENGINE_TASKRETRYCOUNT:2"
    )


def test_the_level_is_info_unless_it_is_set(
    app: Deferq, trusting: deferred.Handler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    trusting.post(request_of(call_of()))
    assert [one.levelname for one in caplog.records if one.name == "root"] == ["INFO"]


def test_a_singular_failure_is_408_and_quiet(
    app: Deferq, trusting: deferred.Handler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = trusting.post(request_of(call_of(counting.fail, "singular")))
    assert answer == ("SingularTaskFailure", http.HTTPStatus.REQUEST_TIMEOUT, PLAIN)
    last = caplog.records[-1]
    assert (last.levelname, last.exc_info) == ("DEBUG", None)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(call_of(counting.fail, "permanent"), id="the callable says so"),
        pytest.param(call_of(counting.fail, "core permanent"), id="it says so with deferq's own error"),
        pytest.param(b"garbage", id="no pickle"),
        pytest.param(b"", id="an empty body"),
        pytest.param(pickle.dumps(7), id="no call"),
        pytest.param(call_of(deferred.run_from_datastore, "123"), id="a large call that is not there"),
    ],
)
def test_a_permanent_failure_is_200_with_its_traceback_in_the_log(
    app: Deferq, trusting: deferred.Handler, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    assert trusting.post(request_of(body)) == ("PermanentTaskFailure", OK, PLAIN)
    last = caplog.records[-1]
    assert last.levelname == "ERROR"
    assert last.exc_info is not None
    assert last.getMessage() == "Permanent failure attempting to execute task"


@pytest.mark.parametrize(
    ("kind", "error"),
    [("permanent", deferred.PermanentTaskFailure), ("singular", deferred.SingularTaskFailure)],
)
def test_run_from_request_lets_both_failures_out(
    app: Deferq, trusting: deferred.Handler, kind: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        trusting.run_from_request(request_of(call_of(counting.fail, kind)))


def test_any_other_error_leaves_post_and_the_application(app: Deferq, trusting: deferred.Handler) -> None:
    for run in (trusting.run_from_request, trusting.post, lambda environ: trusting(environ, print)):
        with pytest.raises(ZeroDivisionError):
            run(request_of(call_of(counting.fail, "any")))


@pytest.mark.parametrize("length", [None, "", "much", "-1", "١", "9" * 20])
def test_a_body_of_which_nobody_knows_the_length_is_400_and_not_lost(
    app: Deferq, trusting: deferred.Handler, length: str | None
) -> None:
    """App Engine's library reads nothing, and answers 200."""
    environ = request_of(call_of(counting.note, 1), CONTENT_LENGTH=length)
    _text, status, headers = trusting.post(environ)
    assert (status, headers) == (http.HTTPStatus.BAD_REQUEST, PLAIN)
    assert counting.seen == []


def test_a_body_that_ends_early_is_400_and_not_lost(app: Deferq, trusting: deferred.Handler) -> None:
    body = call_of(counting.note, 1)
    assert trusting.post(request_of(body[:-5], CONTENT_LENGTH=str(len(body))))[1] == 400


def test_chunks_that_the_server_has_put_together_are_read(app: Deferq, trusting: deferred.Handler) -> None:
    environ = request_of(call_of(counting.note, 1), **{"wsgi.input_terminated": True, "CONTENT_LENGTH": None})
    assert trusting.post(environ) == ("Success", OK, PLAIN)
    empty = request_of(b"", **{"wsgi.input_terminated": True, "CONTENT_LENGTH": None})
    assert trusting.post(empty)[1] == 400


def test_no_more_than_the_length_is_read(app: Deferq, trusting: deferred.Handler) -> None:
    body = call_of(counting.note, 1)
    environ = request_of(body, CONTENT_LENGTH=str(len(body)), **{"wsgi.input": io.BytesIO(body + b"next request")})
    assert trusting.post(environ) == ("Success", OK, PLAIN)
    assert environ["wsgi.input"].read() == b"next request"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_what_is_no_post_gets_a_405_that_leaves(app: Deferq, method: str) -> None:
    """App Engine's library never calls start_response."""
    said: list[Any] = []
    environ = request_of(call_of(), REQUEST_METHOD=method)
    body = deferred.application(environ, lambda *answer: said.append(answer))
    assert b"".join(body) == b""
    ((status, headers),) = said
    assert status == "405 Method Not Allowed"
    assert ("Allow", "POST") in headers
    assert counting.seen == []


def test_the_setting_of_the_environment_counts(
    monkeypatch: pytest.MonkeyPatch, configured: Making[..., Deferq]
) -> None:
    monkeypatch.setenv("DEFERQ_TRUST_APP_ENGINE_HEADERS", "1")
    configured()
    assert deferred.application.post(request_of(call_of(counting.note, 1)))[1] == 200
    refusing = deferred.Handler(trust_app_engine_headers=False)
    assert refusing.post(request_of(call_of(counting.note, 2)))[1] == 403
    assert counting.seen == [(1,)]


def test_a_handler_can_be_subclassed_as_in_googles_documentation(app: Deferq, trusting: deferred.Handler) -> None:
    class Telling(deferred.Handler):
        def post(self, environ: Any) -> Any:
            text, status, headers = super().post(environ)
            return text.lower(), status, headers

    class Running(deferred.TaskHandler):
        def run_from_request(self, environ: Any) -> Any:
            raise deferred.SingularTaskFailure

    request = request_of(call_of(counting.note, 1))
    assert Telling(trust_app_engine_headers=True).post(request)[0] == "success"
    assert Running().post(request) == ("SingularTaskFailure", http.HTTPStatus.REQUEST_TIMEOUT, PLAIN)


def test_a_subclass_need_not_call_our_init(monkeypatch: pytest.MonkeyPatch, configured: Making[..., Deferq]) -> None:
    """App Engine's handler has none. Such a subclass believes what the setting says."""

    class Labelled(deferred.Handler):
        def __init__(self, label: str) -> None:
            self.label = label

    configured()
    assert Labelled("counters").post(request_of(call_of(counting.note, 1))) == (NOT_FROM_QUEUE, FORBIDDEN, PLAIN)
    monkeypatch.setenv("DEFERQ_TRUST_APP_ENGINE_HEADERS", "1")
    configured()
    assert Labelled("counters").post(request_of(call_of(counting.note, 2)))[1] == OK
    assert counting.seen == [(2,)]


# ---- what is not signed


def forged(path: Path) -> bytes:
    """A pickle that leaves a mark where it is restored."""

    class Evil:
        def __reduce__(self) -> Any:
            return counting.leave_a_mark, (str(path),)

    return pickle.dumps((counting.note, (Evil(),), {}))


SPOOFED = {
    "HTTP_X_APPENGINE_TASKNAME": "task1",
    "HTTP_X_APPENGINE_QUEUENAME": "default",
    "HTTP_X_APPENGINE_USER_IP": "0.1.0.2",
    "HTTP_X_APPENGINE_USER_IS_ADMIN": "1",
    "REMOTE_ADDR": "0.1.0.2",
    "HTTP_X_FORWARDED_FOR": "0.1.0.2",
    "SERVER_SOFTWARE": "Development/2.0",
    "CONTENT_TYPE": "application/octet-stream",
}


def view(environ: Environ, start_response: Any) -> Any:
    """An application that hands everything to the handler."""
    text, status, headers = deferred.Handler().post(environ)
    start_response(f"{status.value} {status.phrase}", headers)
    return [text.encode()]


DOORS: list[Any] = [
    pytest.param(lambda: deferred.application, "/_ah/queue/deferred", id="the application"),
    pytest.param(lambda: wrap_wsgi_app(view, use_deferred=True), "/_ah/queue/deferred", id="the default path"),
    pytest.param(lambda: wrap_wsgi_app(view), "/_ah/queue/deferred", id="the default path of a view"),
    pytest.param(lambda: wrap_wsgi_app(view, use_deferred=True), PATH, id="a path of a view"),
    pytest.param(lambda: wrap_wsgi_app(view, use_deferred=True), "/_deferq/run", id="deferq's own path"),
    pytest.param(lambda: view, PATH, id="a view that nobody has wrapped"),
]


@pytest.mark.usefixtures("external")
@pytest.mark.parametrize(("door", "path"), DOORS)
@pytest.mark.parametrize("signature", [{}, {"HTTP_X_DEFERQ_TASK": "e30"}, "made up"], ids=["none", "half", "made up"])
def test_a_hand_made_pickle_with_spoofed_headers_is_never_restored(
    app: Deferq, tmp_path: Path, door: Any, path: str, signature: Any
) -> None:
    mark = tmp_path / "mark"
    body = forged(mark)
    if signature == "made up":
        signature = made_up(body)
    sent = Sent("POST", path, "", (("Content-Length", str(len(body))),), body)
    answered = over_wsgi(door(), sent, check=False, **SPOOFED, **signature)
    assert answered.status == 403
    assert not mark.exists()
    assert OUTCOME.lower() not in answered.headers


def made_up(body: bytes) -> Environ:
    """Everything that a delivery has, and a signature of nobody's."""
    task = Leased(
        1, "default", "a:b", 0, 1, 0, 1, 0, None, None, None, None, None, body, 1, 1, 2, False
    )  # fmt: skip
    return {
        "HTTP_X_DEFERQ_TASK": pack_task(task),
        "HTTP_X_DEFERQ_TIME": "1700000000",
        "HTTP_X_DEFERQ_SIGNATURE": f"v1.00000000.{'0' * 64}",
    }


@pytest.mark.usefixtures("external")
def test_the_forged_pickle_is_a_good_one_where_everybody_is_believed(app: Deferq, tmp_path: Path) -> None:
    """So the tests above would notice."""
    body = forged(tmp_path / "mark")
    handler = deferred.Handler(trust_app_engine_headers=True)
    handler.post(request_of(body, **SPOOFED, CONTENT_LENGTH=str(len(body))))
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("trust", [True, False])
def test_a_claim_to_be_signed_is_looked_into_even_where_headers_are_trusted(
    app: Deferq, tmp_path: Path, trust: bool
) -> None:
    body = forged(tmp_path / "mark")
    answer = deferred.Handler(trust_app_engine_headers=trust).post(request_of(body, **made_up(body)))
    assert answer == (NOT_FROM_QUEUE, FORBIDDEN, PLAIN)
    assert not (tmp_path / "mark").exists()


# ---- signed deliveries


def delivered(app: Deferq, *, wrapped: bool = True, **more: Any) -> tuple[Leased, Environ]:
    """The request that delivers the task that is due, and its lease."""
    task = lease_one(app.engine, delivers=True)
    environ = environ_of(delivery(app, task, path=PATH)) | more
    if wrapped:
        environ[ANSWER_KEY] = Answer()
    return task, environ


def test_a_signed_delivery_runs_and_its_outcome_is_left_for_the_wrapper(app: Deferq) -> None:
    deferred.defer(counting.note, 1, _url=PATH)
    task, environ = delivered(app)
    assert deferred.Handler().post(environ) == ("Success", OK, PLAIN)
    assert counting.seen == [(1,)]
    assert environ["deferq.outcome"] == Succeeded()
    assert environ[ANSWER_KEY].header is not None
    settle(app.engine, task, environ["deferq.outcome"])


def test_its_headers_are_logged_at_the_level_that_was_set(app: Deferq, caplog: pytest.LogCaptureFixture) -> None:
    deferred.set_log_level(logging.WARNING)
    deferred.defer(counting.note, 1, _url=PATH)
    deferred.Handler().post(delivered(app, HTTP_X_APPENGINE_QUEUENAME="default")[1])
    assert [one.getMessage() for one in caplog.records] == ["X_APPENGINE_QUEUENAME:default"]


def test_the_callable_learns_which_task_it_is(app: Deferq) -> None:
    deferred.defer(counting.note, 1, _url=PATH, _queue="mail")
    deferred.Handler().post(delivered(app)[1])
    assert counting.attempts == [(1, "mail")]


def test_the_callable_runs_in_the_context_of_the_view(app: Deferq) -> None:
    """What a framework knows of the request is there, as on App Engine."""
    deferred.defer(note_the_language, _url=PATH)
    environ = delivered(app)[1]

    def in_view() -> Any:
        language.set("fr")
        return deferred.Handler().post(environ)

    assert copy_context().run(in_view)[0] == "Success"
    assert counting.seen == ["fr"]


def test_a_large_call_is_delivered_as_any_other(app: Deferq) -> None:
    deferred.defer(counting.note, LARGE, _url=PATH)
    _task, environ = delivered(app)
    assert len(environ["wsgi.input"].getvalue()) < 1_000
    assert deferred.Handler().post(environ) == ("Success", OK, PLAIN)
    assert counting.seen == [(LARGE,)]


@pytest.mark.parametrize("fn", [counting.note_later, counting.Counter(1).add_later])
def test_a_coroutine_is_awaited(app: Deferq, fn: Any) -> None:
    deferred.defer(fn, 5, _url=PATH)
    assert deferred.Handler().post(delivered(app)[1])[0] == "Success"
    assert len(counting.seen) == 1


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize(
    ("kind", "answer", "state"),
    [
        ("permanent", ("PermanentTaskFailure", OK, PLAIN), State.DEAD),
        ("core permanent", ("PermanentTaskFailure", OK, PLAIN), State.DEAD),
        ("singular", ("SingularTaskFailure", http.HTTPStatus.REQUEST_TIMEOUT, PLAIN), State.PENDING),
        ("core retry", ("SingularTaskFailure", http.HTTPStatus.REQUEST_TIMEOUT, PLAIN), State.PENDING),
        ("snooze", ("SingularTaskFailure", http.HTTPStatus.REQUEST_TIMEOUT, PLAIN), State.PENDING),
    ],
)
def test_what_the_callable_says_is_answered_and_stands_in_the_store(
    app: Deferq, wrapped: bool, kind: str, answer: Any, state: State
) -> None:
    """Also where no wrapper tells the sender, who would take a 200 for a success."""
    deferred.defer(counting.fail, kind, _url=PATH)
    _, environ = delivered(app, wrapped=wrapped)
    assert deferred.Handler().post(environ) == answer
    assert stored_alone(app).state is state


@pytest.mark.parametrize("wrapped", [True, False])
def test_any_other_error_leaves_post_and_the_attempt_has_failed(app: Deferq, wrapped: bool) -> None:
    deferred.defer(counting.fail, "any", _url=PATH)
    with pytest.raises(ZeroDivisionError):
        deferred.Handler().post(delivered(app, wrapped=wrapped)[1])
    task = stored_alone(app)
    assert (task.state, task.attempts) == (State.PENDING, 1)
    assert "ZeroDivisionError" in app.engine.details(task.id).failures[0].traceback


def test_where_nobody_else_says_it_a_success_is_stored(app: Deferq) -> None:
    deferred.defer(counting.note, 1, _url=PATH)
    assert deferred.Handler().post(delivered(app, wrapped=False)[1]) == ("Success", OK, PLAIN)
    assert stored_alone(app).state is State.SUCCEEDED


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: deferred.defer(counting.note, counting.Unrestorable(), _url=PATH), id="an argument"),
        pytest.param(
            lambda: deferred.defer(counting.note, counting.Unrestorable(), LARGE, _url=PATH), id="a large one"
        ),
    ],
)
def test_a_body_that_cannot_be_restored_is_a_permanent_failure_and_kept_as_dead(
    app: Deferq, caplog: pytest.LogCaptureFixture, make: Any
) -> None:
    make()
    assert deferred.Handler().post(delivered(app, wrapped=False)[1]) == ("PermanentTaskFailure", OK, PLAIN)
    assert stored_alone(app).state is State.DEAD
    last = [one for one in caplog.records if one.name == "root"][-1]
    assert (last.levelname, last.getMessage()) == ("ERROR", "Permanent failure attempting to execute task")
    assert last.exc_info is not None


def test_a_function_that_this_release_has_not_is_503_and_left_to_one_that_has(
    app: Deferq, monkeypatch: pytest.MonkeyPatch
) -> None:
    deferred.defer(counting.note, 1, _url=PATH)
    _, environ = delivered(app, wrapped=False)
    monkeypatch.delattr(counting, "note")
    assert deferred.Handler().post(environ)[1] == http.HTTPStatus.SERVICE_UNAVAILABLE
    task = stored_alone(app)
    assert (task.state, task.attempts, task.parks) == (State.PENDING, 0, 1)


def test_of_two_deliveries_of_one_lease_one_runs(app: Deferq) -> None:
    deferred.defer(counting.note, 1, _url=PATH)
    _task, environ = delivered(app)
    again = {**environ, "wsgi.input": io.BytesIO(environ["wsgi.input"].getvalue())}
    assert deferred.Handler().post(environ)[1] == 200
    _text, status, headers = deferred.Handler().post(again)
    assert status == http.HTTPStatus.CONFLICT
    assert ("X-Deferq-Held", "1") in headers
    assert counting.seen == [(1,)]


def test_a_delivery_of_a_task_that_has_ended_changes_nothing(app: Deferq) -> None:
    deferred.defer(counting.note, 1, _url=PATH)
    task, environ = delivered(app)
    settle(app.engine, task, Succeeded())
    _text, status, headers = deferred.Handler().post(environ)
    assert status == 200
    assert (OUTCOME, "settled") in headers
    assert counting.seen == []


@pytest.mark.parametrize("length", [None, "", "much", "99999"])
def test_a_signed_delivery_without_its_length_is_400_and_not_lost(app: Deferq, length: str | None) -> None:
    deferred.defer(counting.note, 1, _url=PATH)
    _, environ = delivered(app)
    environ["CONTENT_LENGTH"] = length
    assert deferred.Handler().post(environ)[1] == http.HTTPStatus.BAD_REQUEST
    assert counting.seen == []
    assert stored_alone(app).state is State.LEASED


@pytest.mark.parametrize("change", ["body", "path", "task", "time"])
def test_a_delivery_that_was_changed_on_its_way_is_refused(app: Deferq, change: str) -> None:
    deferred.defer(counting.note, 1, _url=PATH)
    _, environ = delivered(app)
    body: bytes = environ["wsgi.input"].getvalue()
    environ.update(
        {
            "body": {"wsgi.input": io.BytesIO(body[:-1] + b"x")},
            "path": {"PATH_INFO": "/other/path"},
            "task": {"HTTP_X_DEFERQ_TASK": environ["HTTP_X_DEFERQ_TASK"][:-4]},
            "time": {"HTTP_X_DEFERQ_TIME": str(int(environ["HTTP_X_DEFERQ_TIME"]) - 1)},
        }[change]
    )
    assert deferred.Handler().post(environ)[1] == FORBIDDEN
    assert counting.seen == []


def test_an_attempt_that_runs_past_its_timeout_has_failed(app: Deferq) -> None:
    deferrable(timeout=0.01)(look_at_the_clock)
    deferred.defer(look_at_the_clock, _url=PATH)
    _, environ = delivered(app)
    assert deferred.Handler().post(environ)[1] == http.HTTPStatus.INTERNAL_SERVER_ERROR
    assert environ["deferq.outcome"].reason == "timed out"


@pytest.mark.usefixtures("external")
def test_the_wrapper_writes_the_outcome_on_what_a_view_answers(app: Deferq) -> None:
    deferred.defer(counting.fail, "permanent", _url=PATH)
    deferred.defer(counting.fail, "singular", _url=PATH)
    wrapped = wrap_wsgi_app(view)
    died = over_wsgi(wrapped, delivery(app, lease_one(app.engine, delivers=True), path=PATH))
    assert (died.status, died.body) == (200, b"PermanentTaskFailure")
    assert died.headers["content-type"] == "text/plain"
    assert died.outcome is None or isinstance(died.outcome, Failed)
    again = over_wsgi(wrapped, delivery(app, lease_one(app.engine, delivers=True), path=PATH))
    assert (again.status, again.body) == (408, b"SingularTaskFailure")
    assert again.outcome is None or isinstance(again.outcome, Retried)
