"""What people who look after the database file want to know."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from deferq.engines.sqlite import migrations


def info(connection: sqlite3.Connection, path: Path, synchronous: str) -> dict[str, int | str]:
    """Sizes in bytes, versions and modes."""
    return {
        "path": str(path),
        "bytes": _size(path),
        "wal_bytes": _size(Path(f"{path}-wal")),
        "schema": migrations.schema_version(connection),
        "newest_schema": migrations.newest_version(),
        "sqlite": sqlite3.sqlite_version,
        "synchronous": synchronous,
        "journal_mode": connection.execute("pragma journal_mode").fetchone()[0],
        "page_size": connection.execute("pragma page_size").fetchone()[0],
    }


def check(connection: sqlite3.Connection, full: bool) -> list[str]:
    """Complaints of SQLite's own check; an empty list if there are none."""
    pragma = "pragma integrity_check" if full else "pragma quick_check"
    return [row[0] for row in connection.execute(pragma) if row[0] != "ok"]


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
