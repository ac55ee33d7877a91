"""What simulations on SQLite need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deferq.testing.simulate.sqlite import SqliteFiles


@pytest.fixture
def sqlite() -> Iterator[SqliteFiles]:
    """Makes the stores of simulated worlds, each a file."""
    files = SqliteFiles()
    yield files
    files.close()
