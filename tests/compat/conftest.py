"""The default Deferq on a store of its own, for what is written for App Engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq
from deferq import default as default_module
from deferq.runtime.worker import Worker


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """In memory, unless a test is run with `every_store`, or says `store_url` itself."""
    kind = getattr(request, "param", "memory")
    return f"sqlite:///{tmp_path}/jobs.db?synchronous=OFF" if kind == "sqlite" else "memory://"


#: For tests that are about what is stored.
every_store = pytest.mark.parametrize("store_url", ["memory", "sqlite"], indirect=True)


@pytest.fixture
def configured(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Deferq]]:
    """`configured(queues={...})` makes the default Deferq."""
    made: list[Deferq] = []

    def configure(**options: Any) -> Deferq:
        made.append(Deferq(store_url, **options))
        monkeypatch.setattr(default_module, "_default", made[-1])
        return made[-1]

    yield configure
    for one in made:
        one.close()


@pytest.fixture
def app(configured: Callable[..., Deferq]) -> Deferq:
    """The default Deferq without settings of its own."""
    return configured()


@pytest.fixture
def start_worker() -> Iterator[Callable[..., Worker]]:
    """`start_worker(app)` runs its tasks until the test ends."""
    workers: list[Worker] = []

    def start(app: Deferq, **config: Any) -> Worker:
        workers.append(app.worker(**{"threads": 2, **config}))
        workers[-1].start()
        return workers[-1]

    yield start
    for worker in workers:
        worker.stop(2)
