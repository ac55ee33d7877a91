"""How the engines under test are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pytest

from deferq.engines.base import Clock, LeasingEngine
from deferq.engines.memory import MemoryEngine
from deferq.engines.sqlite import SqliteEngine

TOMBSTONE_S = 3600
PAYLOAD_LIMIT = 100_000


class EngineFactory(Protocol):
    """Makes an empty engine that may keep files in `folder`."""

    def __call__(self, folder: Path, clock: Clock, **options: Any) -> LeasingEngine: ...


def memory(folder: Path, clock: Clock, **options: Any) -> LeasingEngine:
    return MemoryEngine(clock=clock, **{"tombstone_s": TOMBSTONE_S, "payload_limit": PAYLOAD_LIMIT} | options)


def sqlite(folder: Path, clock: Clock, **options: Any) -> LeasingEngine:
    settings = {"tombstone_s": TOMBSTONE_S, "payload_limit": PAYLOAD_LIMIT} | options
    return SqliteEngine(folder / "deferq.db", clock=clock, **settings)


ENGINES = [pytest.param(memory, id="memory"), pytest.param(sqlite, id="sqlite")]
