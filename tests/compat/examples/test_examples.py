"""The examples for those who leave App Engine: their own tests, and two minutes of their life over real HTTP."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import deferq
from deferq.engines.base import Filter
from tests.compat.examples.sites import EXAMPLES, PUSHER, WORKER, Example, Site

BY_FOLDER = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.folder)
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "deferq.testing.plugin")
OWN_TESTS = {
    "appengine_flask": PYTEST,
    "appengine_wsgi": PYTEST,
    "appengine_django": ("manage.py", "test"),
}
MINUTE_S = 1.0


@pytest.fixture(scope="module")
def testing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """The tests of all of them, side by side."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DEFERQ_", "PYTEST_"))}
    path = str(Path(deferq.__file__).parent.parent)
    running = {}
    for example in EXAMPLES:
        folder = tmp_path_factory.mktemp(example.folder) / "site"
        shutil.copytree(example.path, folder, ignore=shutil.ignore_patterns("__pycache__", "*.db*"))
        (folder / "pytest.ini").write_text("[pytest]\n")
        running[example.folder] = subprocess.Popen(
            [sys.executable, *OWN_TESTS[example.folder]],
            cwd=folder,
            env={**kept, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    yield running
    for process in running.values():
        process.kill()
        process.communicate()


@BY_FOLDER
def test_its_own_tests_pass(example: Example, testing: dict[str, subprocess.Popen[str]]) -> None:
    output, _ = testing[example.folder].communicate(timeout=100)
    assert testing[example.folder].returncode == 0, output
    number = sum(path.read_text().count("def test_") for path in example.path.rglob("*test*.py"))
    assert f"{number} passed" in output or f"Ran {number} tests" in output


@pytest.mark.slow
@pytest.mark.parametrize(
    "example", [one for one in EXAMPLES if one.prepare is None], ids=lambda example: example.folder
)
def test_several_processes_may_load_it_at_once(tmp_path: Path, example: Example) -> None:
    """The first ones make its table: as the processes of a web server do when it is started for the first time."""
    with Site(example, tmp_path) as site:
        for number in range(3):
            env = {**site.environment(), "DEFERQ_URL": f"sqlite:///{tmp_path}/{number}.db"}
            loading = [
                subprocess.Popen(
                    [sys.executable, "-c", "import main"], cwd=site.folder, env=env, stderr=subprocess.PIPE
                )
                for _ in range(6)
            ]
            said = [process.communicate(timeout=60)[1].decode() for process in loading]
            assert [process.returncode for process in loading] == [0] * 6, "\n".join(said)


@BY_FOLDER
def test_its_readme_names_the_commands_by_which_it_is_tried(example: Example) -> None:
    wanted = {example.serve, WORKER, PUSHER, *([example.prepare] if example.prepare else [])}
    assert wanted <= set(example.commands())


@pytest.mark.slow
@pytest.mark.parametrize("worker", ["embedded", "external", "push"])
@BY_FOLDER
def test_over_http_the_counter_shows_10_then_20_then_30(tmp_path: Path, example: Example, worker: str) -> None:
    where = "embedded" if worker == "embedded" else "external"
    with Site(example, tmp_path, MINUTE_S=str(MINUTE_S), DEFERQ_WORKER=where) as site:
        site.serve()
        if worker == "external":
            site.work()
        elif worker == "push":
            site.push()
        assert site.count() == 0
        began = time.monotonic()
        assert site.increment()
        seen = {0}
        while 30 not in seen:
            seen.add(count := site.count())
            took_s = time.monotonic() - began
            assert count in (0, 10, 20, 30)
            assert count <= 10 or took_s >= MINUTE_S
            assert count <= 20 or took_s >= 2 * MINUTE_S
            assert all(task.attempts <= 1 for task in site.store.engine.find(Filter()).tasks), site.output()
            assert took_s < 60, site.output()
            time.sleep(0.02)
        site.wait_for_tasks()
        tasks = site.store.engine.find(Filter()).tasks
        assert sorted((task.url or "", task.attempts) for task in tasks) == [("", 1), ("", 1), ("/custom/path", 1)]
        assert site.count() == 30


class Evil:
    """Leaves a mark where it is restored."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


SPOOFED = {
    "X-AppEngine-TaskName": "task1",
    "X-AppEngine-QueueName": "default",
    "X-AppEngine-User-IP": "0.1.0.2",
    "X-Forwarded-For": "0.1.0.2",
    "X-CloudTasks-TaskName": "task1",
    "Content-Type": "application/octet-stream",
}


@pytest.mark.slow
@BY_FOLDER
def test_a_hand_made_pickle_with_spoofed_headers_runs_nothing(tmp_path: Path, example: Example) -> None:
    body = pickle.dumps((len, (Evil(tmp_path / "mark"),), {}))
    with Site(example, tmp_path / "site") as site:
        site.serve()
        statuses = {path: site.post(path, body, SPOOFED) for path in ("/_ah/queue/deferred", "/custom/path")}
        assert statuses == {"/_ah/queue/deferred": 403, "/custom/path": 403}
        assert site.post("/_deferq/run", body, SPOOFED) == 403
        assert site.count() == 0
    assert not (tmp_path / "mark").exists()
    pickle.loads(body)
    assert (tmp_path / "mark").exists()
