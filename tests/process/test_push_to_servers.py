"""`deferq push` as it is started, to real servers whose application is wrapped."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from deferq import State
from deferq.cli.main import main
from deferq.cli.snapshot import take
from tests.cli.processes import Running
from tests.process import farm
from tests.process.farm import Farm, until
from tests.process.servers.running import free_port

import child_tasks  # isort: skip  # by the name that the application knows it by

APP = """
import sys
sys.path.append({tasks!r})
from deferq import Deferq

queue = Deferq({url!r}, worker="external")


def plain(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"hi"]


async def plain_async(scope, receive, send):
    if scope["type"] == "http":
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": b"hi"}})


app = queue.wrap_wsgi(plain)
api = queue.wrap_asgi(plain_async)
"""
#: Each command, and whether it stops and starts fast enough to be used in every test.
SERVERS = {
    "waitress": ("waitress", "--listen", "127.0.0.1:{port}", "--threads", "8", "site_app:app"),
    "gunicorn": ("gunicorn", "--bind", "127.0.0.1:{port}", "--threads", "8", "site_app:app"),
    "granian": ("granian", "--interface", "wsgi", "--port", "{port}", "--blocking-threads", "8", "site_app:app"),
    "uvicorn": ("uvicorn", "--port", "{port}", "site_app:api"),
}
QUICK = "waitress"
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")


class Yard(Farm):
    """A farm with a web server beside it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        (folder / "site_app.py").write_text(APP.format(tasks=str(farm.APP.parent), url=self.url))

    def serve(self, name: str = QUICK) -> Running:
        words = [word.format(port=self.port) for word in SERVERS[name]]
        pytest.importorskip(words[0])
        return Running(self.folder, *words[1:], command=("-m", words[0]))

    def push(self, *words: str) -> Running:
        return Running(self.folder, "push", "--url", self.url, *words)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    yard = Yard(tmp_path)
    yield yard
    yard.deferq.close()


each_client = pytest.mark.parametrize("client", ["threads", pytest.param("aiohttp", marks=pytest.mark.slow)])


def need(client: str) -> str:
    if client == "aiohttp":
        pytest.importorskip("aiohttp")
    return client


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == QUICK else pytest.mark.slow) for name in SERVERS]
)
@each_client
def test_a_thousand_tasks_run_once_each(yard: Yard, name: str, client: str) -> None:
    handles = yard.put_many(child_tasks.nap, [(0.0,)] * 1000)
    with yard.serve(name), yard.push("--to", yard.base, "--client", need(client), "--concurrency", "16"):
        yard.wait_all(handles)
    assert yard.states(handles) == {State.SUCCEEDED: 1000}
    assert yard.times_run() == Counter({str(handle.id): 1 for handle in handles})


@pytest.mark.slow
@each_client
def test_every_kind_of_end_arrives(yard: Yard, client: str) -> None:
    fails = yard.put(child_tasks.fails, "no such thing", attempts=2)
    again, later = yard.put(child_tasks.asks_for_retry), yard.put(child_tasks.snoozes)
    gives = yard.put(child_tasks.give, "x" * 100_000)
    slow = yard.put(child_tasks.async_hold, timeout=0.5, attempts=1)
    with yard.serve(), yard.push("--to", yard.base, "--client", need(client)):
        yard.wait_all([fails, again, later, gives, slow])
    assert (fails.task.state, yard.kinds(fails)) == (State.DEAD, ["failed", "failed"])
    assert "no such thing" in fails.details().failures[0].traceback
    assert {one.task.state for one in (again, later)} == {State.SUCCEEDED}
    assert gives.wait(1) == "x" * 100_000
    assert (slow.task.state, yard.kinds(slow)) == (State.DEAD, ["timed out"])


@pytest.mark.slow
@each_client
def test_a_handler_that_is_slower_than_the_deadline_finishes_and_settles_by_itself(yard: Yard, client: str) -> None:
    handle = yard.put(child_tasks.hold, attempts=1)
    with yard.serve(), yard.push("--to", yard.base, "--client", need(client), "--deadline", "1"):
        yard.wait_for_run(handle)
        time.sleep(3)
        (yard.folder / "go").touch()
        yard.wait_all([handle])
    assert (handle.task.state, handle.wait(1), len(yard.runs(handle))) == (State.SUCCEEDED, "through", 1)


@pytest.mark.slow
@each_client
def test_a_server_that_is_killed_and_started_again_loses_nothing(yard: Yard, client: str) -> None:
    handles = yard.put_many(child_tasks.nap, [(0.02,)] * 200)
    with yard.push("--to", yard.base, "--client", need(client)) as pusher:
        pusher.wait_for("is in trouble")
        with yard.serve() as server:
            until(lambda: len(yard.runs()) > 40, "they do not run")
            server.send_to_all(signal.SIGKILL)
        ran = len(yard.times_run())
        assert ran < 200
        with yard.serve():
            yard.wait_all(handles, timeout_s=90)
    assert yard.states(handles) == {State.SUCCEEDED: 200}
    assert set(yard.times_run()) == {str(handle.id) for handle in handles}
    assert len(pusher.output.splitlines()) < 60  # no line for each task


@pytest.mark.slow
def test_once_pushes_what_is_due_and_says_by_its_exit_code_whether_it_could(yard: Yard) -> None:
    handles = yard.put_many(child_tasks.nap, [(0.0,)] * 10)
    with yard.push("--to", yard.base, "--once") as pusher:
        assert pusher.exit_code() == 1
    assert yard.states(handles) == {State.PENDING: 10}
    with yard.serve() as server:
        server.wait_for("Serving")
        with yard.push("--to", yard.base, "--once") as pusher:
            assert pusher.exit_code() == 0
    assert yard.states(handles) == {State.SUCCEEDED: 10}


@pytest.mark.slow
def test_a_signal_stops_it_when_the_answers_are_there(yard: Yard) -> None:
    holding = yard.put(child_tasks.hold)
    waiting = yard.put_many(child_tasks.nap, [(0.0,)] * 3)
    with yard.serve(), yard.push("--to", yard.base, "--concurrency", "1") as pusher:
        yard.wait_for_run(holding)
        pusher.send(signal.SIGTERM)
        pusher.wait_for("stopping")
        (yard.folder / "go").touch()
        assert pusher.exit_code() == 0
    assert holding.task.state is State.SUCCEEDED
    assert yard.states(waiting) == {State.PENDING: 3}


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once_and_what_runs_goes_on(yard: Yard) -> None:
    handle = yard.put(child_tasks.hold)
    with yard.serve(), yard.push("--to", yard.base) as pusher:
        yard.wait_for_run(handle)
        pusher.send(signal.SIGTERM)
        pusher.wait_for("stopping")
        pusher.send(signal.SIGTERM)
        assert pusher.exit_code() == 143
        with yard.push("--to", yard.base) as another:
            another.wait_for("worker started")
            time.sleep(2)
        assert len(yard.runs(handle)) == 1  # it was taken up, so it is nobody else's yet
        (yard.folder / "go").touch()


@pytest.mark.slow
def test_the_banner_says_what_goes_where_and_status_knows_the_pusher(yard: Yard) -> None:
    eu = f"eu={yard.base}/eu"
    with yard.push("--to", yard.base, "--route", eu, "--queue", "mail", "--client", "threads") as pusher:
        pusher.wait_for("requests 64 at a time, by threads")
        assert f"{yard.base}  tasks without a route" in pusher.output
        assert f"{yard.base}/eu  route eu" in pusher.output
        until(lambda: len(take(yard.deferq.engine).alive) == 2, "it has not said that it lives")
        seen = sorted(take(yard.deferq.engine).alive, key=lambda one: one.base or "")
    assert [(one.base, one.routes, one.queues) for one in seen] == [
        (yard.base, (None,), ["mail"]),
        (f"{yard.base}/eu", ("eu",), ["mail"]),
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Where to?"),
        (["--to", "ftp://host"], "must begin with http"),
        (["--to", "http://169.254.169.254"], "--allow-host 169.254.169.254"),
        (["--route", "eu"], "--route takes NAME=BASE"),
        (["--to", "http://host", "--ca", "nowhere.pem"], "no certificates can be read"),
        (["--to", "http://host", "--deadline", "0"], "--deadline"),
        (["--to", "http://host", "--url", "memory://"], "memory://"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    tmp_path: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = [] if "--url" in words else ["--url", f"sqlite:///{tmp_path}/jobs.db"]
    assert main(["push", *url, *words]) == 2
    assert says in capsys.readouterr().err
