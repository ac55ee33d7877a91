"""`deferq worker APP` and `deferq dev APP` deliver tasks with an url to the application they are given."""

from __future__ import annotations

import json
import signal
import textwrap
import time
from pathlib import Path

import pytest

from deferq import Deferq, State
from tests.cli.conftest import Run
from tests.cli.processes import PATIENCE_S, Running

PLAIN = """
    def view(environ, start_response):
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        print("delivered", environ["PATH_INFO"], environ["HTTP_X_APPENGINE_TASKNAME"], len(body) > 40)
        start_response("204 No Content", [])
        return []
"""
ASGI = """
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["pool"] = "the pool"
            print("lifespan started")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            print("lifespan stopped")
            await send({"type": "lifespan.shutdown.complete"})
            return
        await receive()
        print("delivered", scope["path"], "with", scope["state"]["pool"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})
"""


def put(run: Run, *words: str) -> int:
    Path("shop_jobs.py").write_text("def add(a, b=0):\n    return a + b\n")
    said = run("defer", "shop_jobs:add", "1", *words)
    assert said.code == 0, said.err
    return int(said.out)


def record_of_worker(deferq: Deferq) -> dict[str, object]:
    """As others see it; it is written with the first beat."""
    ends = time.monotonic() + PATIENCE_S
    while not (records := deferq.engine.records("worker")):
        assert time.monotonic() < ends
        time.sleep(0.01)
    document: dict[str, object] = json.loads(records[0].document)
    return document


def write(folder: Path, text: str, name: str = "shop_web.py") -> None:
    (folder / name).write_text(textwrap.dedent(text))


def test_a_wsgi_application_that_is_named_gets_them(folder: Path, url: str, run: Run, deferq: Deferq) -> None:
    write(folder, PLAIN)
    delivered, called = put(run, "--path", "/tasks/mail?x=1", "--name", "once"), put(run)
    with Running(folder, "worker", "shop_web:view", "--url", url) as worker:
        assert "tasks with an url, to shop_web:view (WSGI)" in worker.wait_for("tasks with an url")
        worker.wait_for("delivered /tasks/mail once True")
        assert record_of_worker(deferq)["delivers"] is True
        assert deferq.task(called).wait(20) == 1
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 0
    assert deferq.task(delivered).state is State.SUCCEEDED


@pytest.mark.slow
def test_one_that_the_module_wraps_need_not_be_named(folder: Path, url: str, run: Run) -> None:
    write(folder, PLAIN + "\n    import deferq\n    app = deferq.wrap_wsgi(view)\n")
    put(run, "--path", "/tasks/mail", "--name", "once")
    with Running(folder, "worker", "shop_web", "--url", url, "--once") as worker:
        assert "the wrapped application (WSGI)" in worker.wait_for("tasks with an url")
        worker.wait_for("delivered /tasks/mail once True")
        assert worker.exit_code() == 0


def test_an_asgi_application_lives_as_long_as_the_child(folder: Path, url: str, run: Run) -> None:
    write(folder, ASGI)
    put(run, "--path", "/tasks/one")
    put(run, "--path", "/tasks/two")
    with Running(folder, "worker", "shop_web:app", "--url", url, "--once") as worker:
        assert "shop_web:app (ASGI)" in worker.wait_for("tasks with an url")
        assert worker.exit_code() == 0
        worker.wait_for_silence()
        assert sorted(line for line in worker.lines if line.startswith(("delivered", "lifespan"))) == [
            "delivered /tasks/one with the pool",
            "delivered /tasks/two with the pool",
            "lifespan started",
            "lifespan stopped",
        ]


@pytest.mark.slow
def test_an_asgi_application_that_cannot_start_ends_the_worker_with_its_reason(folder: Path, url: str) -> None:
    write(
        folder,
        """
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})
        """,
    )
    with Running(folder, "worker", "shop_web:app", "--url", url) as worker:
        worker.wait_for("The application did not start: no database.")
        assert worker.exit_code() == 2


@pytest.mark.slow
def test_without_an_application_they_stay_where_they_are(folder: Path, url: str, run: Run, deferq: Deferq) -> None:
    waiting, called = put(run, "--path", "/tasks/mail"), put(run)
    with Running(folder, "worker", "--url", url, "--once") as worker:
        assert worker.exit_code() == 0
        assert "tasks with an url" not in worker.output
    assert deferq.task(called).state is State.SUCCEEDED
    assert deferq.task(waiting).state is State.PENDING


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--no-reload",)])
def test_dev_delivers_too(folder: Path, url: str, run: Run, words: tuple[str, ...]) -> None:
    write(folder, PLAIN)
    put(run, "--path", "/tasks/mail", "--name", "once")
    with Running(folder, "dev", "shop_web:view", "--url", url, *words) as dev:
        assert "shop_web:view (WSGI)" in dev.wait_for("tasks with an url")
        dev.wait_for("delivered /tasks/mail once True")


@pytest.mark.slow
def test_an_application_that_is_wrapped_in_new_code_is_delivered_to_after_the_reload(
    folder: Path, url: str, run: Run
) -> None:
    write(folder, PLAIN)
    put(run, "--path", "/tasks/mail", "--name", "once")
    with Running(folder, "dev", "shop_web", "--url", url) as dev:
        dev.wait_for("reload")
        put(run)
        dev.wait_for("succeeded")
        write(folder, PLAIN + "\n    import deferq\n    app = deferq.wrap_wsgi(view)\n")
        dev.wait_for("delivered /tasks/mail once True")


def test_an_url_is_checked_by_the_command(run: Run) -> None:
    said = run("defer", "tests.cli.jobs:add", "1", "--path", "http://169.254.169.254/")
    assert said.code == 2
    assert "deferq push" in said.err
    assert "169.254" not in said.err
