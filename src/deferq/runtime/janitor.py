"""Upkeep in slices: expire, bury, purge, fold.

A slice runs between two turns of the dispatcher. It is kept short by its number of rows, which follows the time that
the last slice took, so that on a slow disk too no task waits long for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from deferq.engines.base import LeasingEngine, Retention, Swept

SLICE_S = 0.02
ROWS_MIN, ROWS_MAX = 50, 1_000


class Janitor:
    """Sweeps one engine."""

    def __init__(
        self,
        engine: LeasingEngine,
        retention: Retention,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._retention = retention
        self._monotonic = monotonic
        self._rows = ROWS_MIN

    def run_once(self) -> Swept:
        """One slice; `more` says whether another has something to do."""
        began = self._monotonic()
        swept = self._engine.sweep(self._retention, limit=self._rows)
        took_s = self._monotonic() - began
        if took_s > SLICE_S:
            self._rows = max(ROWS_MIN, self._rows // 2)
        elif took_s < SLICE_S / 2:
            self._rows = min(ROWS_MAX, self._rows * 2)
        return swept
