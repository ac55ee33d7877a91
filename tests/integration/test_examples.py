"""The examples run as their docstrings say."""

from __future__ import annotations

import ast
import asyncio
import importlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

import deferq
import deferq.default
from deferq.engines.base import Filter

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
NEVER = 30.0

#: A worker that imports the example, as `deferq dev hello.py` does, and runs what there is.
WORK_OFF = """
import hello
from deferq.default import default
from deferq.engines.base import Filter
own = default()
worker = own.worker()
worker.start()
for task in own.engine.find(Filter()).tasks:
    own.task(task.id).wait(timeout=30)
worker.stop()
"""

Load = Callable[[str], ModuleType]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, store: str) -> Iterator[Load]:
    """Imports an example, with a store of the test's own behind the functions of the package."""
    monkeypatch.setattr(deferq.default, "_default", None)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with closing(deferq.configure(store, worker="embedded")):
        yield importlib.import_module
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def run(tmp_path: Path, store: str) -> Callable[..., str]:
    """Runs Python in an empty folder and returns what it prints."""

    def run(*arguments: str) -> str:
        source = Path(deferq.__file__).parent.parent
        environment = {**os.environ, "DEFERQ_URL": store, "PYTHONPATH": f"{source}{os.pathsep}{EXAMPLES}"}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    return run


def finish(capsys: pytest.CaptureFixture[str], words: str) -> None:
    """Wait for the one task there is, and see that it printed `words`."""
    own = deferq.default.default()
    (task,) = own.engine.find(Filter()).tasks
    own.task(task.id).wait(timeout=NEVER)
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_every_example_says_how_to_run_it(name: str) -> None:
    assert name in (ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text())) or "")


def test_hello_is_stored_by_one_process_and_run_by_another(run: Callable[..., str]) -> None:
    assert run(str(EXAMPLES / "hello.py")) == ""
    assert run("-c", WORK_OFF) == "hello world\n"


def test_bulk_stores_all_its_tasks_at_once(load: Load) -> None:
    bulk = load("bulk")
    handles = bulk.defer_all(300)
    deferq.default.default().embedded.ensure_started()
    assert [handle.wait(timeout=NEVER) for handle in handles] == [2 * picture for picture in range(300)]


def test_plain_wsgi_answers_and_its_worker_runs_the_task(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    body = b"ada@example.org"
    environ = {
        "REQUEST_METHOD": "POST",
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    setup_testing_defaults(environ)
    statuses: list[str] = []
    response = validator(load("plain_wsgi").application)(
        environ, lambda status, headers, _=None: statuses.append(status)
    )
    with closing(response):
        assert b"stored as task" in b"".join(response)
    assert statuses == ["202 Accepted"]
    finish(capsys, "welcome, ada@example.org")


def test_flask_app_answers_and_its_worker_runs_the_task(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("flask")
    response = load("flask_app").app.test_client().post("/signup", data={"address": "ada@example.org"})
    assert response.status_code == 202
    assert response.json["task"].isdigit()
    finish(capsys, "welcome, ada@example.org")


def test_asgi_app_answers_and_its_worker_runs_the_coroutine(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    sent = asyncio.run(
        talk(
            load("asgi_app").app,
            {"type": "http", "method": "POST", "path": "/"},
            {"type": "http.request", "body": b"ada@", "more_body": True},
            {"type": "http.request", "body": b"example.org", "more_body": False},
        )
    )
    assert sent[0]["status"] == 202
    finish(capsys, "welcome, ada@example.org")


def test_asgi_app_takes_part_in_the_server_s_start_and_end(load: Load) -> None:
    sent = asyncio.run(
        talk(load("asgi_app").app, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    )
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def talk(app: Any, scope: dict[str, Any], *received: dict[str, Any]) -> list[dict[str, Any]]:
    """What an ASGI application sends when it receives these messages."""
    waiting, sent = list(received), []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent
