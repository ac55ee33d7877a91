"""`deferq worker` for an application that has a queue.yaml beside it."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path

import pytest

from deferq.engines.sqlite import SqliteEngine
from tests.cli.conftest import Run
from tests.cli.processes import Running

MAIN = "from deferq.compat.appengine import taskqueue\n\ndef work():\n    print('worked')\n"


@pytest.fixture
def application(folder: Path) -> Path:
    """A folder that is not the current one: the file is found beside what the worker is given."""
    (folder / "site").mkdir()
    (folder / "site" / "main.py").write_text(MAIN)
    (folder / "site" / "queue.yaml").write_text("queue:\n- name: mail\n  rate: 2/s\n- name: stopped\n  rate: 0\n")
    return folder / "site"


@pytest.mark.slow
def test_a_worker_brings_what_the_file_declares_to_the_store(folder: Path, application: Path, url: str) -> None:
    with Running(folder, "worker", "site/main.py", "--url", url) as worker:
        worker.wait_for("threads")
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 0
    with closing(SqliteEngine(folder / "jobs.db")) as engine:
        assert {queue.name: (queue.limits.rate, queue.paused) for queue in engine.queues()} == {
            "default": ("5/s", False),
            "mail": ("2/s", False),
            "stopped": (None, True),
        }


@pytest.mark.slow
def test_a_worker_does_not_start_with_a_file_that_has_mistakes(folder: Path, application: Path, url: str) -> None:
    (application / "queue.yaml").write_text("queue:\n- name: mail\n  rate: fast\n")
    with Running(folder, "worker", "site/main.py", "--url", url) as worker:
        worker.wait_for("queue.yaml:3:9: rate: expected")
        assert worker.exit_code() == 2


@pytest.mark.slow
def test_queue_yaml_may_be_left_out_for_a_worker(folder: Path, application: Path, url: str, run: Run) -> None:
    (folder / "pyproject.toml").write_text("[tool.deferq]\nqueue_yaml = 'none'\n")
    with Running(folder, "worker", "site/main.py", "--url", url) as worker:
        worker.wait_for("threads")
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 0
    assert run("queues", "ls").err == "No queue has been used yet.\n"
