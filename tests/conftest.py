"""Fixtures for tests of every level."""

from __future__ import annotations

import signal

import pytest

from tests.support import FakeClock, TaskMaker


def pytest_configure() -> None:
    """Whoever runs the tests in the background may have signals ignored, and every process we start inherits that."""
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still until the test advances it."""
    return FakeClock()


@pytest.fixture
def new(clock: FakeClock) -> TaskMaker:
    """`new("mail", in_s=60, name="welcome")` is a task, ready to be put."""
    return TaskMaker(clock)
