"""Real servers: the worker beside an application delivers tasks with an url to it, where the server runs it."""

from __future__ import annotations

import importlib.util
import signal
import textwrap
from pathlib import Path

import pytest

from tests.cli.processes import Running

ASGI = """
    import asyncio, contextlib, threading
    import deferq
    from fastapi import FastAPI, Request

    def work(): ...

    @contextlib.asynccontextmanager
    async def lifespan(app):
        pool = object()
        loop = asyncio.get_running_loop()
        await deferq.call(work).defer_async(url="/tasks/mail?x=1")
        yield {"pool": pool, "loop": loop}
        print("the lifespan has ended")

    api = FastAPI(lifespan=lifespan)

    @api.post("/tasks/mail")
    async def mail(request: Request, x: int):
        task = deferq.current_task()
        same = asyncio.get_running_loop() is request.state.loop
        print(f"delivered x={x} of {task.target} attempt {task.attempt}, in the loop of the server: {same}", flush=True)
        return {}

    app = deferq.wrap_asgi(api)
"""
WSGI = """
    import deferq
    from flask import Flask, request

    def work(): ...

    app = Flask(__name__)
    app.wsgi_app = deferq.wrap_wsgi(app.wsgi_app)

    @app.post("/tasks/mail")
    def mail():
        task = deferq.current_task()
        print(f"delivered x={request.args['x']} of {task.target} attempt {task.attempt}", flush=True)
        return "", 204
"""
GUNICORN = """
    import deferq

    def post_worker_init(worker):
        import shop
        deferq.start()
        deferq.call(shop.work).defer(url="/tasks/mail?x=1")

    def worker_exit(server, worker):
        deferq.stop()
"""


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{missing} not installed")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("-m", "uvicorn", "shop:app", "--port", "0"), marks=needs("uvicorn", "fastapi"), id="uvicorn"),
        pytest.param(
            ("-m", "granian", "--interface", "asgi", "--port", "0", "shop:app"),
            marks=needs("granian", "fastapi"),
            id="granian",
        ),
    ],
)
def test_an_asgi_server(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "shop.py").write_text(textwrap.dedent(ASGI))
    with Running(tmp_path, command=command) as server:
        server.wait_for("delivered x=1 of shop:work attempt 1, in the loop of the server: True")
        server.send(signal.SIGTERM)
        server.exit_code()
        server.wait_for("the lifespan has ended")


@pytest.mark.slow
@needs("gunicorn", "flask")
def test_a_wsgi_server(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "shop.py").write_text(textwrap.dedent(WSGI))
    (tmp_path / "gunicorn.conf.py").write_text(textwrap.dedent(GUNICORN))
    with Running(tmp_path, command=("-m", "gunicorn", "shop:app", "--bind", "127.0.0.1:0")) as server:
        server.wait_for("delivered x=1 of shop:work attempt 1")
        server.send(signal.SIGTERM)
        assert server.exit_code() == 0
