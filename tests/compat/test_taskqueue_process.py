"""Requests are delivered by every command that delivers, and shown by those that look."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from deferq import Deferq
from deferq import default as default_module
from deferq.cli.main import main
from deferq.compat.appengine import taskqueue
from tests.cli.processes import Running
from tests.support.pushing import until

APP = """
    import sys
    import deferq

    def application(environ, start_response):
        body = environ["wsgi.input"].read()
        genuine = deferq.handler().is_genuine(deferq.Request.from_wsgi(environ))
        said = (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"], body,
                environ["HTTP_X_APPENGINE_QUEUENAME"], environ["REMOTE_ADDR"], genuine)
        sys.stdout.write(f"{' '.join(map(str, said))}\\n")  # in one piece: others write at the same time
        sys.stdout.flush()
        start_response("204 No Content", [])
        return []
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "shop.py").write_text(textwrap.dedent(APP))
    return tmp_path


@pytest.fixture
def app(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Deferq:
    made = Deferq(f"sqlite:///{shop}/jobs.db")
    monkeypatch.setattr(default_module, "_default", made)
    taskqueue.add("grüße", url="/tasks/mail", queue_name="mail")
    taskqueue.add(url="/look", method="GET", params={"a": 1})
    taskqueue.add("x", method="PULL", queue_name="pull", name="pulled")
    made.close()
    return made


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["worker", "dev"])
def test_a_worker_with_the_application_delivers_them(app: Deferq, shop: Path, verb: str) -> None:
    with Running(shop, verb, "shop:application", "--url", f"sqlite:///{shop}/jobs.db") as worker:
        worker.wait_for(r"POST /tasks/mail  b'gr\xc3\xbc\xc3\x9fe' mail 0.1.0.2 True")
        worker.wait_for("GET /look a=1 b'' default 0.1.0.2 True")


def test_tasks_show_shows_the_request(app: Deferq, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from deferq.engines.base import Filter

    found = {task.queue: task.id for task in app.engine.find(Filter()).tasks}
    app.close()
    for queue, words in {"mail": "POST b'gr", "pull": "PULL b'x'", "default": "GET without a body"}.items():
        assert main(["tasks", "show", str(found[queue]), "--url", f"sqlite:///{shop}/jobs.db"]) == 0
        printed = capsys.readouterr().out
        assert words in printed
        assert "signature fits" in printed
        assert ("/tasks/mail" in printed) == (queue == "mail")


def test_doctor_misses_no_function_for_them(
    app: Deferq, shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop)
    main(["doctor", "shop:application", "--url", f"sqlite:///{shop}/jobs.db"])
    printed = capsys.readouterr().out
    assert "doctor" in printed or "wrong" in printed
    assert "unknown-target" not in printed


def test_queues_ls_says_which_are_pulled(app: Deferq, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queues", "ls", "--url", f"sqlite:///{shop}/jobs.db"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "pull" in lines["pull"].split()[1:]
    assert "pull" not in lines["mail"].split()[1:]


PULLER = """
    import sys, time
    import deferq
    from deferq.compat.appengine import taskqueue

    deferq.configure(sys.argv[1])
    queue = taskqueue.Queue("work")
    print("ready", flush=True)
    while True:
        for task in queue.lease_tasks(0.5, 5):
            with open(sys.argv[2], "a") as done:
                done.write(task.payload.decode() + "\\n")
            time.sleep(0.01)
            queue.delete_tasks(task)
        time.sleep(0.01)
"""


@pytest.mark.slow
def test_nothing_is_lost_although_those_who_pull_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, done = f"sqlite:///{tmp_path}/jobs.db?synchronous=OFF", tmp_path / "done"
    app = Deferq(url)
    monkeypatch.setattr(default_module, "_default", app)
    (tmp_path / "puller.py").write_text(textwrap.dedent(PULLER))
    queue = taskqueue.Queue("work")
    for start in range(0, 300, 100):
        queue.add([taskqueue.Task(str(start + number), method="PULL") for number in range(100)])

    def begin() -> subprocess.Popen[str]:
        command = [sys.executable, str(tmp_path / "puller.py"), url, str(done)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    pullers = [begin() for _ in range(3)]
    try:
        for kills in range(12):
            victim = pullers.pop(0)
            assert victim.stdout is not None
            assert victim.stdout.readline() == "ready\n"
            time.sleep(0.02 * (kills % 5))
            victim.kill()
            victim.wait()
            pullers.append(begin())
        until(lambda: queue.fetch_statistics().tasks == 0, "some were never finished")
    finally:
        for puller in pullers:
            puller.kill()
            puller.wait()
        app.close()
    assert {int(line) for line in done.read_text().split()} == set(range(300))
