"""Views of web applications that take deliveries with our handler: three adds, one of them at a path of the view's own.

That is what Google's samples for the deferred library do (Flask, Django, no framework), and here in ASGI as well.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest

from deferq import (
    Deferq,
    PermanentTaskFailure,
    Request,
    RetryPolicy,
    RetryTask,
    State,
    TaskCancelled,
    TaskFailed,
    current_task,
)
from deferq.http.refusals import refuse
from deferq.model.task import SUSPECT_FROM
from deferq.runtime.worker import Worker
from tests.support import sample_tasks

WAIT_S = 10
NEVER_AGAIN = RetryPolicy(max_attempts=1)
PATH = "/custom/path"
Start = Callable[..., Worker]


class Counter:
    """What the sample counts, and where its views ran."""

    def __init__(self) -> None:
        self.value = 0
        self.paths: list[str] = []


counter = Counter()


def increase(by: int) -> int:
    counter.value += by
    return counter.value


async def increase_async(by: int) -> int:
    await asyncio.sleep(0)
    return increase(by)


def wait_for_cancellation() -> None:
    task = current_task()
    sample_tasks.begun.set()
    ends = time.monotonic() + WAIT_S
    while not task.cancelled:
        assert time.monotonic() < ends
        time.sleep(0.01)
    sample_tasks.gate.set()


def raises(kind: str) -> None:
    raise {"permanent": PermanentTaskFailure("no user"), "again": RetryTask(after=3600), "any": ValueError("broken")}[
        kind
    ]


# ---- the applications


def plain(deferq: Deferq) -> Any:
    def view(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        counter.paths.append(environ["PATH_INFO"])
        response = deferq.handler().handle(Request.from_wsgi(environ))
        start_response(response.status_line, response.headers)
        return [response.body]

    return deferq.wrap_wsgi(view)


def flask(deferq: Deferq) -> Any:
    flask = pytest.importorskip("flask")
    app = flask.Flask(__name__)

    @app.post(PATH)  # type: ignore[untyped-decorator, unused-ignore]
    def custom() -> tuple[bytes, int, list[tuple[str, str]]]:
        counter.paths.append(flask.request.path)
        response = deferq.handler().handle(Request.from_wsgi(flask.request.environ))
        return response.body, response.status, response.headers

    app.wsgi_app = deferq.wrap_wsgi(app.wsgi_app)
    return app


def flask_that_says_ok(deferq: Deferq) -> Any:
    """As App Engine's contract wants it: whatever came of it, the view is content."""
    flask = pytest.importorskip("flask")
    app = flask.Flask(__name__)

    @app.post(PATH)  # type: ignore[untyped-decorator, unused-ignore]
    def custom() -> str:
        counter.paths.append(flask.request.path)
        deferq.handler().handle(Request.from_wsgi(flask.request.environ))
        return "Success"

    app.wsgi_app = deferq.wrap_wsgi(app.wsgi_app)
    return app


def django(deferq: Deferq) -> Any:
    pytest.importorskip("django")
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import path
    from django.views.decorators.csrf import csrf_exempt

    @csrf_exempt
    def custom(request: HttpRequest) -> HttpResponse:
        counter.paths.append(request.path)
        response = deferq.handler().handle(Request.from_wsgi(request.META))
        return HttpResponse(response.body, status=response.status, headers=dict(response.headers))

    urls: Any = ModuleType("urls")
    urls.urlpatterns = [path(PATH.lstrip("/"), custom)]
    if not settings.configured:
        settings.configure(
            SECRET_KEY="not a secret",
            ALLOWED_HOSTS=["localhost"],
            MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
            LOGGING_CONFIG=None,
        )
    settings.ROOT_URLCONF = urls
    from django.urls import clear_url_caches, set_urlconf

    clear_url_caches()
    set_urlconf(None)
    return deferq.wrap_wsgi(get_wsgi_application())


def plain_asgi(deferq: Deferq) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        counter.paths.append(scope["path"])
        body = (await receive())["body"]
        response = await deferq.handler().handle_async(Request.from_asgi(scope, body))
        headers = [(name.encode(), value.encode()) for name, value in response.headers]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    return deferq.wrap_asgi(app)


def starlette(deferq: Deferq) -> Any:
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.requests import Request as StarletteRequest
    from starlette.responses import Response
    from starlette.routing import Mount, Route

    async def custom(request: StarletteRequest) -> Response:
        counter.paths.append(request.url.path)
        response = await deferq.handler().handle_async(Request.from_asgi(request.scope, await request.body()))
        return Response(response.body, response.status, dict(response.headers))

    routes = [Mount("/custom", routes=[Route("/path", custom, methods=["POST"])])]
    return deferq.wrap_asgi(Starlette(routes=routes))


def mounted(deferq: Deferq) -> Any:
    """A router in front of the view moves the beginning of the path into SCRIPT_NAME."""
    inner = plain(deferq)

    def router(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        assert path.startswith("/custom/")
        return inner({**environ, "SCRIPT_NAME": "/custom", "PATH_INFO": path.removeprefix("/custom")}, start_response)

    return deferq.wrap_wsgi(router)


QUICK = [plain, flask, plain_asgi]
THOROUGH = [mounted, flask_that_says_ok, django, starlette]
KINDS = [*QUICK, *(pytest.param(kind, marks=pytest.mark.slow) for kind in THOROUGH)]


@pytest.fixture(params=KINDS, ids=[kind.__name__ for kind in (*QUICK, *THOROUGH)])
def served(request: pytest.FixtureRequest, app: Deferq, start_worker: Start) -> Deferq:
    """An application whose view at PATH takes deliveries, and a worker that delivers to it."""
    counter.__init__()  # type: ignore[misc]
    request.param(app)
    start_worker(app)
    return app


def ended(app: Deferq, task_id: int) -> State:
    handle = app.task(task_id)
    with suppress(TaskFailed, TaskCancelled):
        handle.wait(WAIT_S)
    return handle.state


def test_three_adds_of_which_one_goes_to_a_path_of_its_own(served: Deferq) -> None:
    handles = [
        served.defer(increase, 10),
        served.defer(increase, 10, _countdown=0.01),
        served.defer(increase, 10, _countdown=0.02, _url=PATH),
    ]
    assert sorted(handle.wait(WAIT_S) for handle in handles) == [10, 20, 30]
    assert counter.value == 30
    assert [path.removeprefix("/custom") for path in counter.paths] == ["/path"]


def test_a_coroutine_is_run_by_the_view_too(served: Deferq) -> None:
    assert served.call(increase_async, 5).defer(url=PATH).wait(WAIT_S) == 5


def test_a_task_that_can_never_succeed_is_dead_whatever_the_view_answers(served: Deferq) -> None:
    handle = served.call(raises, "permanent").defer(url=PATH)
    assert ended(served, handle.id) is State.DEAD
    (failure,) = served.engine.details(handle.id).failures
    assert (failure.kind, failure.error_type, failure.message) == (
        "permanent",
        "deferq.errors.PermanentTaskFailure",
        "no user",
    )


def test_what_a_task_raises_is_kept_with_its_own_traceback(served: Deferq) -> None:
    handle = served.call(raises, "any").defer(url=PATH, retry=NEVER_AGAIN)
    assert ended(served, handle.id) is State.DEAD
    (failure,) = served.engine.details(handle.id).failures
    assert (failure.error_type, failure.message) == ("ValueError", "broken")
    assert "in raises" in failure.traceback


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "state"), [(plain, State.SUCCEEDED), (plain_asgi, State.CANCELLED)])
def test_a_task_that_is_running_in_a_view_hears_of_its_cancellation(
    app: Deferq, start_worker: Start, kind: Callable[[Deferq], Any], state: State
) -> None:
    """The holder learns of it when it renews the lease. A view that is a coroutine is cancelled, as a client leaves."""
    kind(app)
    start_worker(app, lease_s=3.0)
    handle = app.call(wait_for_cancellation).defer(url=PATH)
    assert sample_tasks.begun.wait(WAIT_S)
    handle.cancel()
    assert ended(app, handle.id) is state
    assert sample_tasks.gate.wait(WAIT_S)


def test_a_suspect_in_quarantine_is_run_by_the_view_it_is_delivered_to(app: Deferq) -> None:
    """There the process is one that may die: what the handler refuses to a push it takes from its own worker."""
    counter.__init__()  # type: ignore[misc]
    plain(app)
    from deferq.engines.base import Want, new_lease_id
    from deferq.model.outcome import Succeeded
    from deferq.runtime.executor import Executor

    app.call(increase, 1).defer(url=PATH)
    (task,) = app.engine.turn((), Want(1, 0, new_lease_id(1, 1), 60_000_000, delivers=True)).leased
    executor = Executor(app.codec, now=app.engine.now, deliverer=app.deliverer())
    assert isinstance(executor.run(task._replace(crashes=SUSPECT_FROM + 1)), Succeeded)
    assert counter.value == 1


def test_a_task_that_the_handler_could_not_take_is_not_done_although_the_view_says_so(
    app: Deferq, start_worker: Start
) -> None:
    counter.__init__()  # type: ignore[misc]
    refused = threading.Event()

    def view(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        app.handler().handle(Request.from_wsgi(environ))
        start_response("200 OK", [])
        return [b"Success"]

    def refuse_first(request: Request) -> Any:
        if refused.is_set():
            return admit(request)
        refused.set()
        return refuse(503, "the store is away")

    app.wrap_wsgi(view)
    handler, admit = app.handler(), app.handler().admit
    handler.admit = refuse_first  # type: ignore[method-assign]
    handle = app.call(increase, 5).defer(url=PATH, retry=NEVER_AGAIN)
    start_worker(app)
    assert refused.wait(WAIT_S)
    ends = time.monotonic() + WAIT_S
    while (state := handle.refresh().state) is State.LEASED:
        assert time.monotonic() < ends
        time.sleep(0.01)
    assert (state, app.engine.get([handle.id])[0].attempts, counter.value) == (State.PENDING, 0, 0)
