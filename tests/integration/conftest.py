"""An application on a file of its own, and a worker that runs its tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq
from deferq import default as default_module
from deferq.runtime.worker import Worker
from deferq.testing import inline
from tests.support import sample_tasks


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the store of `app` is, or will be."""
    return tmp_path / "jobs.db"


@pytest.fixture
def make_app(database: Path) -> Iterator[Callable[..., Deferq]]:
    """`make_app(queues={...})` is an application on `database`; all of them are closed in the end."""
    made: list[Deferq] = []

    def make(url: str | None = None, **options: Any) -> Deferq:
        made.append(Deferq(url or f"sqlite:///{database}?synchronous=OFF", **options))
        return made[-1]

    yield make
    sample_tasks.gate.set()
    for one in made:
        one.close()


@pytest.fixture
def app(make_app: Callable[..., Deferq]) -> Deferq:
    """An application without settings of its own."""
    sample_tasks.forget()
    return make_app()


@pytest.fixture
def start_worker() -> Iterator[Callable[..., Worker]]:
    """`start_worker(app)` runs its tasks until the test ends."""
    workers: list[Worker] = []

    def start(app: Deferq, **config: Any) -> Worker:
        worker = app.worker(**{"threads": 2, **config})
        worker.start()
        workers.append(worker)
        return worker

    yield start
    sample_tasks.gate.set()
    for worker in workers:
        worker.stop(2)


@pytest.fixture
def worker(app: Deferq, start_worker: Callable[..., Worker]) -> Worker:
    """Runs the tasks of `app`."""
    return start_worker(app)


@pytest.fixture
def at_once() -> Iterator[None]:
    """Tasks run as soon as they are deferred: for tests of what comes before and after the run, not of the worker."""
    with inline():
        yield


@pytest.fixture
def default_app(app: Deferq, monkeypatch: pytest.MonkeyPatch) -> Deferq:
    """`app` as the default one, behind the functions of the package."""
    monkeypatch.setattr(default_module, "_default", app)
    return app
