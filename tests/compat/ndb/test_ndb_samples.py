"""Applications that keep their data in `ndb`, on the stubs of Google's SDK: with Google's import, and with ours."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

import deferq
from deferq import Deferq, State
from deferq.engines.base import Filter
from tests.cli.processes import Running
from tests.process.farm import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
HERE = Path(__file__).parent
SAMPLES = ("flask_main", "django_main", "wsgi_main")
#: All that changes.
GOOGLES = "from google.appengine.api import wrap_wsgi_app\nfrom google.appengine.ext import deferred, ndb\n"
OURS = "from deferq.compat.appengine import deferred, wrap_wsgi_app\nfrom google.appengine.ext import ndb\n"
MINUTE_S = 1.0


class Served(Running):
    """A sample that is served."""

    @property
    def port(self) -> int:
        return int(self.wait_for("port ").split()[-1])

    def get(self, path: str) -> str:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
        assert answer.status == 200, self.output
        return text


@pytest.fixture
def serve(tmp_path: Path, sdk_python: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Served]]:
    """`serve("flask_main", "ours")` is a sample with our import, at work."""
    served: list[Served] = []
    monkeypatch.setenv("MINUTE_S", str(MINUTE_S))
    monkeypatch.setenv("PYTHONPATH", str(Path(deferq.__file__).parent.parent))
    monkeypatch.setattr("sys.executable", sdk_python)

    def start(sample: str, whose: str) -> Served:
        source = (HERE / f"{sample}.py").read_text()
        assert source.count(GOOGLES) == 1
        (tmp_path / "main.py").write_text(source.replace(GOOGLES, OURS) if whose == "ours" else source)
        served.append(Served(tmp_path, whose, command=(str(HERE / "serve.py"),)))
        return served[-1]

    yield start
    for one in served:
        one.__exit__()


@pytest.mark.parametrize("whose", ["google", "ours"])
@pytest.mark.parametrize("sample", SAMPLES)
def test_the_counter_shows_10_then_20_then_30(
    sample: str, whose: str, tmp_path: Path, serve: Callable[[str, str], Served]
) -> None:
    site = serve(sample, whose)
    assert site.get("/counter/get") == "0"
    began = time.monotonic()
    assert site.get("/counter/increment") == "Deferred counter increment."
    seen = {0}
    while 30 not in seen:
        seen.add(count := int(site.get("/counter/get")))
        took_s = time.monotonic() - began
        assert count in (0, 10, 20, 30)
        assert count <= 10 or took_s >= MINUTE_S
        assert count <= 20 or took_s >= 2 * MINUTE_S
        assert took_s < 60, site.output
        time.sleep(0.02)
    site.wait_for("on the custom path")
    assert site.output.count("on the custom path") == 1
    if whose == "ours":
        check_the_store(tmp_path)


def check_the_store(folder: Path) -> None:
    """All three tasks are in it and have ended well."""
    with closing(Deferq(f"sqlite:///{folder}/.deferq/deferq.db")) as store:
        until(lambda: all(task.state.finished for task in store.engine.find(Filter()).tasks), "they have not ended")
        tasks = store.engine.find(Filter()).tasks
    assert [(task.state, task.attempts) for task in tasks] == [(State.SUCCEEDED, 1)] * 3
    assert [task.url for task in tasks if task.url] == ["/custom/path"]


def test_nothing_else_of_the_samples_is_changed() -> None:
    for sample in SAMPLES:
        lines = (HERE / f"{sample}.py").read_text().splitlines()
        assert [line for line in lines if "google" in line] == GOOGLES.splitlines()


def test_a_thread_that_runs_many_tasks_and_requests_reads_what_others_have_written(
    sdk_python: str, tmp_path: Path
) -> None:
    path = os.pathsep.join([str(Path(deferq.__file__).parent.parent), str(HERE)])
    ran = subprocess.run(
        [sdk_python, "-m", "contexts"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stdout == "[1, 2, 3, 4]\n", ran.stderr
