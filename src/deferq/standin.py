"""What takes the place of every store while tests run; see `deferq.testing`. Otherwise nothing does."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from deferq.engines.base import LeasingEngine


class StandIn(Protocol):
    """Whoever opens stores in place of those that the settings name."""

    def open(self, owner: Any) -> LeasingEngine:
        """The store of a Deferq."""

    def somebody_waits(self, owner: Any, task_id: int) -> None:
        """Somebody waits for a task and is about to look at it once more: run it, or say why nobody will."""


class Exchangeable(Protocol):
    """A Deferq, as this module knows it."""

    def set_aside(self) -> Callable[[], None]:
        """Forget the open store without closing it; the answer brings it back."""


#: None: stores are what the settings say.
current: StandIn | None = None
_living: weakref.WeakSet[Exchangeable] = weakref.WeakSet()


def know(owner: Exchangeable) -> None:
    """A Deferq was made: its store can be exchanged."""
    _living.add(owner)


def exchange(stand_in: StandIn) -> Callable[[], None]:
    """Let every Deferq use `stand_in` for its store, those that are made later too; the answer undoes it."""
    global current
    former, current = current, stand_in
    put_aside = [owner.set_aside() for owner in list(_living)]

    def undo() -> None:
        global current
        current = former
        for owner in list(_living):
            owner.set_aside()
        for bring_back in put_aside:
            bring_back()

    return undo
