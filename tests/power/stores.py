"""Stores upon which recordings begin: what stands in the folder, and what an engine makes of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from deferq.engines.sqlite import SqliteEngine, migrations
from deferq.engines.sqlite.statements import schema_scripts
from tests.power.images import Image, write
from tests.power.noting import FILE
from tests.power.places import folder
from tests.power.promises import Content, content
from tests.support import FakeClock, TaskMaker

Store = tuple[Image, Content]


def application(seed: int) -> Store:
    """A database that an application has made for itself, in the usual form: pages of 4,096 bytes and no log."""
    with folder() as place:
        write(place / FILE, b"")
        with closing(sqlite3.connect(place / FILE)) as connection:
            connection.execute("pragma page_size = 4096")
            connection.execute("create table app (x)")
            connection.execute("insert into app values (?)", (seed,))
            connection.commit()
        return _store(place)


def older(seed: int) -> Store:
    """A store that the first schema was made for, with some tasks in it."""
    with folder() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "schema_scripts", lambda: schema_scripts()[:1])
        clock = FakeClock()
        with closing(SqliteEngine(place / FILE, clock=clock)) as engine:
            engine.put(TaskMaker(clock).many(5, "mail"))
        patch.undo()
        return _store(place)


def _store(place: Path) -> Store:
    image = {FILE: (place / FILE).read_bytes()}
    with closing(SqliteEngine(place / FILE)) as engine:
        return image, engine._read(content)
