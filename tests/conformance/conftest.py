"""The engines under test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deferq.engines.base import LeasingEngine
from tests.conformance.engines import ENGINES, EngineFactory
from tests.support import FakeClock, TaskMaker


@pytest.fixture(params=ENGINES)
def make_engine(request: pytest.FixtureRequest) -> EngineFactory:
    """How an engine of this kind is made: `make_engine(folder, clock)`."""
    factory: EngineFactory = request.param
    return factory


@pytest.fixture
def engine(make_engine: EngineFactory, tmp_path: Path, clock: FakeClock) -> Iterator[LeasingEngine]:
    """An empty engine whose time is `clock`."""
    engine = make_engine(tmp_path, clock)
    yield engine
    engine.close()


@pytest.fixture
def put(engine: LeasingEngine, new: TaskMaker) -> Callable[..., int]:
    """Make a task, store it, and return its id."""

    def put(queue: str = "default", **options: object) -> int:
        task = new(queue, **options)  # type: ignore[arg-type]
        engine.put([task])
        return task.id

    return put
