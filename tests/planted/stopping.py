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
        "What is killed at the very end is not settled",
        FILE,
        "        self._settle_all(self._pool.kill())\n"
        "        while self._unsettled and not self._outage:\n"
        "            yield from self._take_turn()\n",
        "        self._pool.kill()\n",
        "memory",
        400,
        "was left behind | left the pool | did not end",
        children=True,
    ),
    Bug(
        "A worker that stops takes back what has not started, and tells nobody",
        FILE,
        "            self._announce(EventName.WORKER_STOPPING)\n        self._give_back()\n",
        "            self._announce(EventName.WORKER_STOPPING)\n        self._pool.withdraw()\n",
        "memory",
        200,
        "was left behind | did not end within",
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
