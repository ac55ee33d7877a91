"""What `deferq worker --once` does beyond an ordinary worker: it notices the end of the work, and tidies up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from deferq.engines.base import LeasingEngine, Retention, Settlement, Turn, Want
from deferq.model.task import Leased
from deferq.runtime.janitor import Janitor

#: Seconds between two looks, which otherwise could be the most of what a short run takes.
POLL_S = 0.05
SLICES_MAX = 100


def until_idle(engine: LeasingEngine, on_idle: Callable[[], object]) -> LeasingEngine:
    """`engine`, which calls `on_idle` after a turn that found nothing due while nothing was held."""
    return cast(LeasingEngine, _UntilIdle(engine, on_idle))


def tidy(engine: LeasingEngine, retention: Retention) -> None:
    """The janitor's work, which a long-running worker does in slices between its turns."""
    janitor = Janitor(engine, retention)
    for _ in range(SLICES_MAX):
        if not janitor.run_once().more:
            return


class _UntilIdle:
    """Everything goes to the engine as it is; turns, renewals and the search for stalled tasks are taken note of."""

    def __init__(self, engine: LeasingEngine, on_idle: Callable[[], object]) -> None:
        self._engine = engine
        self._on_idle = on_idle
        #: Leases that have neither been settled nor lost.
        self._held: set[tuple[int, int]] = set()
        #: Whether leases of dead workers were looked for: where only `--once` ever runs, nobody else does it.
        self._searched = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def turn(self, settlements: Sequence[Settlement], want: Want | None) -> Turn:
        turn = self._engine.turn(settlements, want)
        self._drop(settlement.task for settlement in settlements)
        self._held.update((task.id, task.lease_id) for task in turn.leased)
        if want is not None and self._searched and not self._held:
            self._on_idle()
        return turn

    def stalled(self, limit: int = 100) -> list[Leased]:
        self._searched = True
        return self._engine.stalled(limit)

    def renew(self, leases: Sequence[Leased], until: int) -> tuple[list[Leased], list[Leased]]:
        lost, to_cancel = self._engine.renew(leases, until)
        self._drop(lost)
        return lost, to_cancel

    def _drop(self, tasks: Any) -> None:
        self._held.difference_update((task.id, task.lease_id) for task in tasks)
