"""`wrap_wsgi_app`, and deferred calls that go to views: by the worker of the process, and pushed over HTTP."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable as Making
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from socketserver import ThreadingMixIn
from types import ModuleType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from deferq import Deferq, State
from deferq.compat.appengine import deferred, taskqueue, wrap_wsgi_app
from deferq.engines.base import Filter
from deferq.http.push.addresses import Guard
from deferq.http.push.bases import parse_base
from deferq.http.push.pusher import Manner, Pusher
from deferq.runtime.config import WorkerConfig
from tests.compat import counting
from tests.compat.counting import Counter
from tests.support.deliveries import Sent, over_wsgi
from tests.support.pushing import until

Environ = dict[str, Any]
PATH = "/custom/path"
LARGE = b"much " * 40_000
AT_ONCE = taskqueue.TaskRetryOptions(min_backoff_seconds=0, max_backoff_seconds=0, task_retry_limit=3)


@pytest.fixture(autouse=True)
def fresh() -> None:
    counting.forget()


@pytest.fixture
def external(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFERQ_WORKER", "external")


def states(app: Deferq) -> list[State]:
    return [task.state for task in app.engine.find(Filter()).tasks]


def all_ended(app: Deferq) -> list[State]:
    """Wait until every task has ended."""
    until(lambda: all(state.finished for state in states(app)), "they have not ended")
    return states(app)


# ---- applications, each with a view at PATH that does as Google's samples do

ran_at: list[str] = []
tenant: ContextVar[str] = ContextVar("tenant")


def note_the_tenant() -> None:
    counting.seen.append(tenant.get("nobody"))
    tenant.set("left behind")


def plain() -> Any:
    def view(environ: Environ, start_response: Any) -> Any:
        ran_at.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/old/fashion":
            deferred.run(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"ran"]
        if environ["PATH_INFO"] == PATH:
            return deferred.application(environ, start_response)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"the application"]

    return wrap_wsgi_app(view, use_deferred=True)


def flask() -> Any:
    flask = pytest.importorskip("flask", reason="flask is not installed; pip install '.[test]' brings it")
    app = flask.Flask(__name__)

    @app.route(PATH, methods=["POST"])
    def custom() -> Any:
        ran_at.append(flask.request.path)
        return deferred.Handler().post(flask.request.environ)

    @app.route("/old/fashion", methods=["POST"])
    def old_fashion() -> Any:
        ran_at.append(flask.request.path)
        deferred.run(flask.request.get_data())
        return "ran"

    @app.route("/")
    def index() -> Any:
        return "the application"

    app.wsgi_app = wrap_wsgi_app(app.wsgi_app, use_deferred=True)
    return app


def django() -> Any:
    pytest.importorskip("django", reason="django is not installed; pip install '.[test]' brings it")
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.urls import clear_url_caches, set_urlconf

    if not settings.configured:
        settings.configure(SECRET_KEY="not a secret", LOGGING_CONFIG=None)
    urls: Any = ModuleType("urls")
    urls.urlpatterns = _django_paths()
    settings.ROOT_URLCONF, settings.ALLOWED_HOSTS = urls, ["*"]
    clear_url_caches()
    set_urlconf(None)
    return wrap_wsgi_app(get_wsgi_application(), use_deferred=True)


def _django_paths() -> Any:
    from django.http import HttpResponse
    from django.urls import path
    from django.views.decorators.csrf import csrf_exempt

    def custom(request: Any) -> Any:
        ran_at.append(request.path)
        text, status, headers = deferred.Handler().post(request.environ)
        return HttpResponse(text, status=status.value, headers=dict(headers))

    def old_fashion(request: Any) -> Any:
        ran_at.append(request.path)
        deferred.run(request.body)
        return HttpResponse("ran")

    return [
        path("custom/path", csrf_exempt(custom)),
        path("old/fashion", csrf_exempt(old_fashion)),
        path("", lambda request: HttpResponse("the application")),
    ]


APPLICATIONS = [pytest.param(one, id=one.__name__) for one in (plain, flask, django)]


# ---- how deliveries come to them


@contextmanager
def in_process(app: Deferq, application: Any) -> Iterator[None]:
    """The worker that starts with the first request."""
    assert over_wsgi(application, Sent("GET", "/", "", (), b"")).body == b"the application"
    try:
        yield
    finally:
        app.stop(0)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *words: Any) -> None: ...


@contextmanager
def served(application: Any) -> Iterator[str]:
    """The application on a port of its own; where it is."""
    with make_server("127.0.0.1", 0, application, _Server, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def pushed(app: Deferq, application: Any) -> Iterator[None]:
    """Over real HTTP, by what `deferq push` runs."""
    with served(application) as base:
        parsed = parse_base(base)
        config = WorkerConfig(threads=4, lease_s=30.0, poll_s=0.1, drain_s=5.0, delivers=True)
        guard = Guard(parsed.host, parsed.port)
        pusher = Pusher(app.engine, app.codec, guard, parsed, config, [], manner=Manner(client="thread"))
        pusher.start()
        try:
            yield
        finally:
            pusher.stop(0.0)


WAYS = [pytest.param(in_process, id="in process"), pytest.param(pushed, id="pushed")]


@pytest.fixture
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """It is chosen before the Deferq is made, whose worker would take what is to be pushed."""
    if request.param is pushed:
        monkeypatch.setenv("DEFERQ_WORKER", "external")
    ran_at.clear()
    return request.param


each_way = pytest.mark.parametrize("way", WAYS, indirect=True)
each_application = pytest.mark.parametrize("make", APPLICATIONS)
on_sqlite = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@each_way
@each_application
@on_sqlite
def test_calls_with_and_without_an_url_run_and_those_with_one_in_its_view(way: Any, app: Deferq, make: Any) -> None:
    application = make()
    deferred.defer(counting.note, "default")
    deferred.defer(counting.note, "own", _url=PATH)
    deferred.defer(counting.note, LARGE, _url=PATH)
    deferred.defer(Counter(1).add, 2, _url=PATH)
    with way(app, application):
        assert all_ended(app) == [State.SUCCEEDED] * 4
    assert sorted(map(str, counting.seen)) == sorted(map(str, [("default",), ("own",), (LARGE,), ("add", 3)]))
    assert ran_at.count(PATH) == 3


@each_way
@each_application
@on_sqlite
def test_what_the_callable_says_of_its_failure_is_heard(way: Any, app: Deferq, make: Any) -> None:
    application = make()
    deferred.defer(counting.fail, "permanent", _url=PATH, _retry_options=AT_ONCE)
    deferred.defer(counting.fail_once, "singular", _url=PATH, _retry_options=AT_ONCE)
    deferred.defer(counting.fail_once, "any", _url=PATH, _retry_options=AT_ONCE)
    with way(app, application):
        assert sorted(all_ended(app)) == [State.SUCCEEDED, State.SUCCEEDED, State.DEAD]
    (dead,) = app.engine.find(Filter(state=State.DEAD)).tasks
    assert (dead.reason, dead.attempts) == ("permanent", 1)
    assert counting.seen.count("permanent") == 1
    assert counting.seen.count("then") == 2


@each_way
@each_application
@on_sqlite
def test_a_view_that_runs_the_body_itself_gets_the_bare_pickle(way: Any, app: Deferq, make: Any) -> None:
    """As on App Engine: some applications never use the handler."""
    application = make()
    deferred.defer(counting.note, 1, _url="/old/fashion")
    with way(app, application):
        assert all_ended(app) == [State.SUCCEEDED]
    assert counting.seen == [(1,)]
    assert ran_at.count("/old/fashion") == 1


@each_way
@on_sqlite
def test_in_such_a_view_the_call_has_the_context_that_travels_with_it(
    way: Any, configured: Making[..., Deferq]
) -> None:
    """Else it would run for no tenant, or for that of the request before."""
    app = configured(carry=[tenant])
    application = flask()

    def defer_for_acme() -> None:
        tenant.set("acme")
        deferred.defer(note_the_tenant, _url="/old/fashion")

    for _ in range(2):
        copy_context().run(defer_for_acme)
    with way(app, application):
        assert all_ended(app) == [State.SUCCEEDED] * 2
    assert counting.seen == ["acme", "acme"]
    assert tenant.get("") == ""


@each_way
@on_sqlite
def test_a_pickle_that_somebody_adds_for_a_view_of_the_handler_runs_there(way: Any, app: Deferq) -> None:
    application = plain()
    taskqueue.add(url=PATH, payload=deferred.serialize(Counter(1).add, 2))
    taskqueue.add(url=PATH, payload=b"garbage")
    with way(app, application):
        assert sorted(all_ended(app)) == [State.SUCCEEDED, State.DEAD]
    assert counting.seen == [("add", 3)]


@each_way
@on_sqlite
def test_the_allow_list_looks_at_what_such_a_pickle_calls(way: Any, configured: Making[..., Deferq]) -> None:
    app = configured(allow=["tests.compat.counting"])
    application = plain()
    taskqueue.add(url=PATH, payload=deferred.serialize(Counter(1).add, 2))
    taskqueue.add(url=PATH, payload=deferred.serialize(os.putenv, "A", "b"))
    with way(app, application):
        until(lambda: State.SUCCEEDED in states(app), "it has not run")
        until(lambda: any(task.parks for task in app.engine.find(Filter()).tasks), "it is not parked")
    assert counting.seen == [("add", 3)]


@each_way
@on_sqlite
def test_the_callable_sees_its_task_and_its_headers_where_it_is_delivered(way: Any, app: Deferq) -> None:
    application = plain()
    deferred.defer(note_headers, _url=PATH, _headers={"X-Shop": "7"}, _queue="mail")
    with way(app, application):
        assert all_ended(app) == [State.SUCCEEDED]
    assert counting.seen == [("mail", 1, "7")]


def note_headers() -> None:
    from deferq import current_task

    task = current_task()
    counting.seen.append((task.queue, task.attempt, task.headers["X-Shop"]))


# ---- routing


@pytest.mark.usefixtures("external")
@pytest.mark.parametrize(
    ("use_deferred", "path", "ours"),
    [
        (True, "/_ah/queue/deferred", True),
        (True, "/_ah/queue/deferred/", False),
        (True, "/_ah/queue/deferredx", False),
        (True, "/_ah/queue/default", False),
        (True, "/mount/_ah/queue/deferred", False),
        (True, "/", False),
        (False, "/_ah/queue/deferred", False),
    ],
)
def test_exactly_one_path_goes_to_the_library(app: Deferq, use_deferred: bool, path: str, ours: bool) -> None:
    wrapped = wrap_wsgi_app(says("the application"), use_deferred=use_deferred)
    answered = over_wsgi(wrapped, Sent("POST", path, "", (("Content-Length", "0"),), b""))
    assert (answered.status == 403) is ours
    assert (answered.body == b"the application") is not ours


@pytest.mark.usefixtures("external")
def test_the_query_is_of_no_concern_and_other_methods_are_405(app: Deferq) -> None:
    wrapped = wrap_wsgi_app(says("the application"), use_deferred=True)
    assert over_wsgi(wrapped, Sent("POST", "/_ah/queue/deferred", "a=b", (("Content-Length", "0"),), b"")).status == 403
    got = over_wsgi(wrapped, Sent("GET", "/_ah/queue/deferred", "", (), b""))
    assert (got.status, got.headers["allow"], got.body) == (405, "POST", b"")


def says(text: str) -> Any:
    def application(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.encode()]

    return application


@pytest.mark.usefixtures("external")
@pytest.mark.parametrize("mode", [True, False])
def test_the_second_argument_is_accepted_and_changes_nothing(app: Deferq, mode: bool) -> None:
    wrapped = wrap_wsgi_app(says("the application"), mode, True)
    assert over_wsgi(wrapped, Sent("GET", "/", "", (), b"")).body == b"the application"


@pytest.mark.usefixtures("external")
def test_a_response_streams_and_is_closed_by_the_server_alone(app: Deferq) -> None:
    """App Engine's wrapper collects it."""

    class Pieces:
        closed = False

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"one", b"two"])

        def close(self) -> None:
            self.closed = True

    pieces = Pieces()

    def application(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        return pieces

    answer = wrap_wsgi_app(application, use_deferred=True)({"PATH_INFO": "/", "REQUEST_METHOD": "GET"}, print)
    assert answer is pieces
    assert not pieces.closed


@pytest.mark.usefixtures("external")
def test_nothing_is_patched_and_the_request_is_handed_on_as_it_is(app: Deferq) -> None:
    before = (type(os.environ), threading.Thread.start, dict(os.environ))
    seen: list[Environ] = []

    def application(environ: Environ, start_response: Any) -> Any:
        seen.append(environ)
        start_response("200 OK", [])
        return []

    wrapped = wrap_wsgi_app(application, use_deferred=True)
    environ = {"PATH_INFO": "/", "REQUEST_METHOD": "GET", "REMOTE_ADDR": "192.0.2.1"}
    environ["HTTP_X_APPENGINE_USER_IP"] = "0.1.0.2"
    wrapped(environ, lambda *answer: None)
    assert seen[0] is environ
    assert environ["REMOTE_ADDR"] == "192.0.2.1"
    assert (type(os.environ), threading.Thread.start, dict(os.environ)) == before


def test_on_app_engine_the_address_is_what_its_front_end_says(
    monkeypatch: pytest.MonkeyPatch, configured: Making[..., Deferq]
) -> None:
    """There the application is behind a server that sees only the front end."""
    monkeypatch.setenv("DEFERQ_TRUST_APP_ENGINE_HEADERS", "1")
    monkeypatch.setenv("DEFERQ_WORKER", "external")
    configured()
    body = deferred.serialize(counting.note, 1)
    headers = (
        ("Content-Length", str(len(body))),
        ("X-AppEngine-TaskName", "task1"),
        ("X-AppEngine-User-IP", "0.1.0.2"),
    )
    sent = Sent("POST", "/_ah/queue/deferred", "", headers, body)
    wrapped = wrap_wsgi_app(says("the application"), use_deferred=True)
    assert over_wsgi(wrapped, sent, SERVER_SOFTWARE="gunicorn/23", REMOTE_ADDR="169.254.1.1").body == b"Success"
    other = sent.with_header("X-AppEngine-User-IP", "192.0.2.1")
    assert over_wsgi(wrapped, other, SERVER_SOFTWARE="gunicorn/23", REMOTE_ADDR="0.1.0.2").status == 403
    assert counting.seen == [(1,)]


@pytest.mark.usefixtures("external")
def test_a_single_handler_that_trusts_hears_it_too(app: Deferq) -> None:
    """The setting says no: nobody else does, and the address of the request stays what it is."""

    def application(environ: Environ, start_response: Any) -> Any:
        handler = deferred.Handler(trust_app_engine_headers=environ["PATH_INFO"] == PATH or None)
        text, status, headers = handler.post(environ)
        start_response(f"{status.value} {status.phrase}", headers)
        return [text.encode(), environ["REMOTE_ADDR"].encode()]

    body = deferred.serialize(counting.note, 1)
    headers = (
        ("Content-Length", str(len(body))),
        ("X-AppEngine-TaskName", "task1"),
        ("X-AppEngine-User-IP", "0.1.0.2"),
    )
    sent = Sent("POST", PATH, "", headers, body)
    server = {"SERVER_SOFTWARE": "gunicorn/23", "REMOTE_ADDR": "169.254.1.1"}
    wrapped = wrap_wsgi_app(application, use_deferred=True)
    assert over_wsgi(wrapped, sent, **server).body == b"Success169.254.1.1"
    assert over_wsgi(wrapped, sent._replace(path="/other"), **server).status == 403
    assert over_wsgi(wrapped, sent._replace(path="/_ah/queue/deferred"), **server).status == 403
    other = sent.with_header("X-AppEngine-User-IP", "192.0.2.1")
    assert over_wsgi(wrapped, other, SERVER_SOFTWARE="gunicorn/23", REMOTE_ADDR="0.1.0.2").status == 403
    assert counting.seen == [(1,)]


def test_an_error_of_the_callable_is_logged_and_left_to_the_server(
    monkeypatch: pytest.MonkeyPatch, configured: Making[..., Deferq], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DEFERQ_TRUST_APP_ENGINE_HEADERS", "1")
    monkeypatch.setenv("DEFERQ_WORKER", "external")
    configured()
    body = deferred.serialize(counting.fail, "any")
    headers = (("Content-Length", str(len(body))), ("X-AppEngine-TaskName", "task1"))
    wrapped = wrap_wsgi_app(says("the application"), use_deferred=True)
    with pytest.raises(ZeroDivisionError):
        over_wsgi(wrapped, Sent("POST", "/_ah/queue/deferred", "", headers, body), REMOTE_ADDR="0.1.0.2")
    last = caplog.records[-1]
    assert last.levelname == "ERROR"
    assert last.exc_info is not None


def test_the_first_request_starts_the_worker_and_wrapping_does_not(app: Deferq) -> None:
    wrapped = wrap_wsgi_app(says("the application"), use_deferred=True)
    deferred.defer(counting.note, 1)
    time.sleep(0.05)
    assert states(app) == [State.PENDING]
    with in_process(app, wrapped):
        assert all_ended(app) == [State.SUCCEEDED]
