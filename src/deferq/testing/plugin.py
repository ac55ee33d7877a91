"""Fixtures for pytest. It is found by itself where deferq is installed; nothing happens unless a test asks for one.

Nothing of deferq that costs time is loaded before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from deferq.testing.clock import FakeClock
    from deferq.testing.recorder import DeferredTasks


@pytest.fixture
def deferq_clock() -> FakeClock:
    """The time by which deferq goes in this test: `advance(60)`, `move_to(datetime)`, `freeze()`."""
    from deferq.testing import FakeClock

    return FakeClock()


@pytest.fixture
def deferq_inline(deferq_clock: FakeClock) -> Iterator[DeferredTasks]:
    """Whatever the test defers runs at once, before `defer` returns."""
    from deferq.testing import inline

    with inline(clock=deferq_clock) as tasks:
        yield tasks


@pytest.fixture
def deferq_tasks(request: pytest.FixtureRequest) -> Iterator[DeferredTasks]:
    """What the test defers waits in memory: `assert_deferred(fn, ...)`, `drain()`, `deferred_tasks()`.

    With `deferq_inline` beside it, tasks run at once, and this tells what was deferred.
    """
    if "deferq_inline" in request.fixturenames:
        yield request.getfixturevalue("deferq_inline")
        return
    from deferq.testing import recording

    with recording(clock=request.getfixturevalue("deferq_clock")) as tasks:
        yield tasks
