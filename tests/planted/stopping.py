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
        50,
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
        300,
        "was left behind",
        children=True,
    ),
    Bug(
        "A worker that stops keeps what has not started",
        FILE,
        "            self._announce(EventName.WORKER_STOPPING)\n        self._give_back()\n",
        "            self._announce(EventName.WORKER_STOPPING)\n",
        "memory",
        300,
        "",
    ),
    Bug(
        "A worker that stops does not wait for what runs",
        FILE,
        "return settled or self._world.monotonic() >= self._drained_at() + CUT_OFF_S",
        "return settled or self._world.monotonic() >= self._drain_since",
        "memory",
        300,
        "",
    ),
    Bug(
        "A worker that stops renews nothing any more",
        FILE,
        "        if now >= self._renew_at:\n            yield from self._renew(now)\n",
        "        if now >= self._renew_at and not self._stop.requested:\n            yield from self._renew(now)\n",
        "memory",
        300,
        "",
    ),
    Bug(
        "At its end a worker gives back what still runs",
        FILE,
        "            self._pool.cancel(set(self._held))\n",
        "            self._settle_all(Finished(task, INTERRUPTED) for task in list(self._held.values()))\n",
        "memory",
        50,
        "was settled as",
    ),
]
