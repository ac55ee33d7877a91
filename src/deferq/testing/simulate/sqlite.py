"""The simulated workers share an SQLite file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from deferq.engines.base import LeasingEngine
from deferq.engines.sqlite import SqliteEngine
from deferq.testing.simulate.clock import SimulatedClock


class SqliteFiles:
    """Makes SQLite engines, each on a new file of a temporary folder, which goes when this is closed."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="deferq-simulate-")
        self._made = 0

    def __call__(self, clock: SimulatedClock) -> LeasingEngine:
        """An engine on an empty file. No power is cut in a simulation, so it does not wait for the disk."""
        self._made += 1
        path = Path(self._folder.name, f"{self._made}.db")
        return SqliteEngine(path, clock=clock, synchronous="OFF")

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()
