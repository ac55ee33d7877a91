"""Where nobody says that a transaction was committed: a thread that looks, for a while, whether the tasks are there.

The sqlite3 module has no hook for commits, and that of SQLAlchemy for a connection comes before the commit. The thread
looks often at first and less and less often, and ends when there is nothing left to look for. What it gives up on, or
does not live to see, a dispatcher finds when it polls.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deferq.locks import ProcessLock

if TYPE_CHECKING:
    from deferq.engines.within import Within

#: Seconds between two looks: at first, and at the most. The time is a part of how long has been waited already.
SOONEST_S, LATEST_S, PART = 0.0005, 0.1, 0.1
#: Seconds after which nobody looks any more.
GIVE_UP_S = 60.0


class _Looker:
    """Looks for what is to come; one for each process that needs it."""

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._sought: list[tuple[Within, Sequence[int], float]] = []
        self._thread: threading.Thread | None = None

    def look_for(self, within: Within, ids: Sequence[int]) -> None:
        with self._lock:
            self._sought.append((within, ids, time.monotonic()))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._look, name="deferq-commits", daemon=True)
                self._thread.start()
                atexit.unregister(self._look_once_more)
                atexit.register(self._look_once_more)

    def _look_once_more(self) -> None:
        """A program may end right after its commit, while the thread pauses."""
        for within, ids, _ in list(self._sought):
            within.ring(ids)

    def _look(self) -> None:
        while True:
            time.sleep(self._pause())
            with self._lock:
                sought = list(self._sought)
            now = time.monotonic()
            over = [one for one in sought if one[0].ring(one[1]) is not None or now - one[2] > GIVE_UP_S]
            with self._lock:
                self._sought = [one for one in self._sought if one not in over]
                if not self._sought:
                    self._thread = None
                    return

    def _pause(self) -> float:
        """The youngest says how soon."""
        with self._lock:
            youngest = max((since for _, _, since in self._sought), default=0.0)
        return min(LATEST_S, max(SOONEST_S, PART * (time.monotonic() - youngest)))


_looker = _Looker()
look_for = _looker.look_for
