"""The simulated workers share one memory engine."""

from __future__ import annotations

from deferq.engines.base import LeasingEngine
from deferq.engines.memory import MemoryEngine
from deferq.testing.simulate.clock import SimulatedClock


class MemoryEngines:
    """Makes memory engines."""

    def __init__(self, kind: type[MemoryEngine] = MemoryEngine, *, tombstone_s: float = 12.0) -> None:
        """The name of a finished task stays taken for `tombstone_s` simulated seconds."""
        self.kind = kind
        self.tombstone_s = tombstone_s

    def __call__(self, clock: SimulatedClock) -> LeasingEngine:
        """A new engine."""
        return self.kind(clock=clock, tombstone_s=self.tombstone_s)


memory = MemoryEngines()
