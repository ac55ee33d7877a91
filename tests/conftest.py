"""Fixtures for tests of every level."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.support import FakeClock, TaskMaker, started, tiers, tried

#: Seconds that one test of the programme may take where it tries much.
PROGRAMME_TIMEOUT_S = {"proof": 1_200, "long": 8 * 3_600}


def pytest_configure() -> None:
    """Whoever runs the tests in the background may have signals ignored, and every process we start inherits that."""
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """What tries more takes longer."""
    if (timeout_s := PROGRAMME_TIMEOUT_S.get(tiers.TIER)) is not None:
        for item in items:
            if item.get_closest_marker("programme"):
                item.add_marker(pytest.mark.timeout(timeout_s), append=False)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """On a slow machine some of the programme does not begin any more, and it is told what."""
    if item.get_closest_marker("programme") and time.time() > float(os.environ.get("DEFERQ_UNTIL", "inf")):
        pytest.skip("there was no time left for it")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes leaves what it tried to the one that tells it."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["tried"] = tiers.counts()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What one of several processes tried counts as ours."""
    for what, count in getattr(node, "workeroutput", {}).get("tried", {}).items():
        tried(what, count)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was tried, and leave it to `scripts/proof`."""
    if lines := tiers.lines():
        terminalreporter.section(f"tried ({tiers.TIER})")
        for line in lines:
            terminalreporter.line(line)
    if path := os.environ.get("DEFERQ_TRIED"):
        tiers.save(path)


@pytest.fixture(autouse=True)
def _threads_of_others() -> None:
    """Those of an earlier test may live on for a while."""
    started.remember()


@pytest.fixture(autouse=True)
def _no_module_of_another_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Applications that a test has written are forgotten after it: another test may give its own the same name."""
    before = set(sys.modules)
    yield
    folder = str(tmp_path_factory.getbasetemp())
    for name in sys.modules.keys() - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(folder):
            del sys.modules[name]


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still until the test advances it."""
    return FakeClock()


@pytest.fixture
def new(clock: FakeClock) -> TaskMaker:
    """`new("mail", in_s=60, name="welcome")` is a task, ready to be put."""
    return TaskMaker(clock)
