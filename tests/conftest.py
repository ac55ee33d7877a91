"""Fixtures for tests of every level."""

from __future__ import annotations

import pytest

from tests.support import FakeClock, TaskMaker


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still until the test advances it."""
    return FakeClock()


@pytest.fixture
def new(clock: FakeClock) -> TaskMaker:
    """`new("mail", in_s=60, name="welcome")` is a task, ready to be put."""
    return TaskMaker(clock)
