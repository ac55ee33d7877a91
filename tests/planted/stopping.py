"""Bugs in coming to an end."""

from __future__ import annotations

from tests.planted.bug import Bug

FILE = "runtime/dispatcher.py"

BUGS = [
    Bug(
        "A worker that was asked to stop goes on leasing",
        FILE,
        "        if self._stop.requested or not (self._unsettled",
        "        if not (self._unsettled",
        "memory",
        100,
        "although it was asked to stop",
    ),
    Bug(
        "At its end a worker gives back what still runs",
        FILE,
        "            self._pool.cancel(set(self._held))\n",
        "            self._settle_all(Finished(task, INTERRUPTED) for task in list(self._held.values()))\n",
        "memory",
        100,
        "was settled as",
    ),
]
