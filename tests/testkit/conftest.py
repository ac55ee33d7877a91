"""A default Deferq of the test's own, on a file that no test may make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import deferq
from deferq import Deferq
from deferq import default as default_module
from tests.testkit import jobs


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    jobs.done.clear()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture(autouse=True)
def default_app(database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deferq]:
    """The application's own settings; its store must never be opened."""
    monkeypatch.setattr(default_module, "_default", None)
    own = deferq.configure(f"sqlite:///{database}")
    yield own
    opened = database.exists()
    default_module.default().close()
    own.close()
    assert not opened, "a test mode was left for the application's own store"
