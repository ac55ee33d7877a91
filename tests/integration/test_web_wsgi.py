"""A WSGI application with a worker beside it, driven by the standard validator."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

import deferq
from deferq import Deferq, default
from tests.support import threads_named
from tests.support.sample_tasks import add, begun, gate, wait_for_gate

WAIT_S = 10


class Application:
    """Defers an addition with each request, and answers with the task's id."""

    def __init__(self, app: Deferq) -> None:
        self._app = app
        self.closed = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = b"%d" % self._app.defer(add, 1, 2).id
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return self._pieces(body)

    def _pieces(self, body: bytes) -> Iterator[bytes]:
        try:
            yield body[:3]
            yield body[3:]
        finally:
            self.closed += 1


def request(app: Callable[..., Iterable[bytes]], *, read: bool = True, **more: Any) -> bytes:
    """One request through the validator, as a careful server sends it."""
    environ: dict[str, Any] = {key.replace("__", "."): value for key, value in more.items()}
    setup_testing_defaults(environ)
    environ["wsgi.input"] = io.BytesIO()
    environ["wsgi.errors"] = io.StringIO()
    environ["QUERY_STRING"] = ""
    answered: list[Any] = []
    response = validator(app)(
        environ, lambda status, headers, exc_info=None: answered.append(status) or (lambda _: None)
    )
    try:
        body = b"".join(response) if read else b""
    finally:
        response.close()  # type: ignore[attr-defined]
    assert not read or answered == ["200 OK"]
    return body


def workers() -> list[threading.Thread]:
    return threads_named("deferq-worker")


def test_the_first_request_starts_the_worker_that_runs_its_task(app: Deferq) -> None:
    web = app.wrap_wsgi(Application(app))
    assert workers() == []
    assert app.task(int(request(web))).wait(WAIT_S) == 3
    assert len(workers()) == 1
    request(web)
    assert len(workers()) == 1


def test_a_wrapped_application_stays_valid_and_its_response_is_closed(app: Deferq) -> None:
    inner = Application(app)
    request(app.wrap_wsgi(inner))
    assert inner.closed == 1


def test_many_first_requests_at_once_start_one_worker(app: Deferq) -> None:
    web = app.wrap_wsgi(Application(app))
    threads = [threading.Thread(target=request, args=(web,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(workers()) == 1


def test_wrapping_opens_and_starts_nothing(app: Deferq, database: Any) -> None:
    app.wrap_wsgi(Application(app))
    assert workers() == []
    assert not database.exists()


def test_with_an_external_worker_no_thread_is_started(
    make_app: Callable[..., Deferq], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFERQ_WORKER", "external")
    app = make_app()
    handle = app.task(int(request(app.wrap_wsgi(Application(app)))))
    assert workers() == []
    assert app.embedded is None
    assert handle.state is deferq.State.PENDING


def test_a_process_that_ends_with_its_request_has_no_worker(app: Deferq) -> None:
    """As under CGI: it would lease tasks and be gone before they have run."""
    handle = app.task(int(request(app.wrap_wsgi(Application(app)), wsgi__run_once=True)))
    assert workers() == []
    assert handle.state is deferq.State.PENDING


def test_what_the_application_raises_is_the_servers_business(app: Deferq) -> None:
    def broken(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise LookupError("of the application")

    with pytest.raises(LookupError, match="of the application"):
        request(app.wrap_wsgi(broken), read=False)


def test_closing_the_application_ends_the_worker_and_a_request_begins_anew(app: Deferq) -> None:
    web = app.wrap_wsgi(Application(app))
    request(web)
    app.close()
    assert workers() == []
    assert app.task(int(request(web))).wait(WAIT_S) == 3


def test_a_running_task_holds_up_the_end_and_then_finishes(app: Deferq) -> None:
    request(app.wrap_wsgi(Application(app)))
    handle = app.defer(wait_for_gate)
    assert begun.wait(WAIT_S)
    threading.Timer(0.05, gate.set).start()
    app.close()
    assert handle.wait(0) == "through"


def test_the_modules_wrapper_uses_whatever_is_configured_when_the_request_comes(
    make_app: Callable[..., Deferq], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default, "_default", None)
    served: list[int] = []

    def view(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        served.append(deferq.defer(add, 1).id)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    web = deferq.wrap_wsgi(view)
    app = make_app()
    monkeypatch.setattr(default, "_default", app)
    request(web)
    assert app.task(served[0]).wait(WAIT_S) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "after a request in the parent"])
def test_forked_after_the_import_each_process_has_a_worker_of_its_own(app: Deferq, warm: bool) -> None:
    web = app.wrap_wsgi(Application(app))
    if warm:
        request(web)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            before = app.embedded is not None and app.embedded.worker is None
            handle = app.task(int(request(web)))
            done = handle.wait(WAIT_S) == 3
            embedded = app.embedded
            own = embedded is not None and embedded.worker is not None and embedded.worker.running
            app.close()
            code = 0 if before and done and own else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert app.task(int(request(web))).wait(WAIT_S) == 3
    assert len(workers()) == 1
