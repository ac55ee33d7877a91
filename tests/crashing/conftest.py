from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deferq import default
from tests.crashing import shop

Rows = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(autouse=True)
def _own_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default Deferq of each test knows nothing of this repository's project file."""
    monkeypatch.setattr(default, "_default", None)
    monkeypatch.setenv("DEFERQ_URL", f"sqlite:///{tmp_path}/deferq.db")


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "shop.db"
    shop.make_database(path)
    monkeypatch.setenv("SHOP_DB", str(path))
    yield path
    if shop.kept_connection.cache_info().currsize:
        shop.kept_connection().close()
        shop.kept_connection.cache_clear()


@pytest.fixture
def rows(database: Path) -> Rows:
    def read(sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(database)) as connection:
            return connection.execute(sql).fetchall()

    return read
