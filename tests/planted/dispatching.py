"""Bugs in the dispatcher: what it believes, what it keeps, whom it rescues."""

from __future__ import annotations

from tests.planted.bug import Bug

FILE = "runtime/dispatcher.py"

BUGS = [
    Bug(
        "A lease is believed in for longer than it lasts",
        FILE,
        "BELIEVED = 0.95\n",
        "BELIEVED = 1.05\n",
        "memory",
        200,
        "is held by",
    ),
    Bug(
        "A lease is reckoned from when the answer came, not from when it was asked for",
        FILE,
        "        if want is not None:\n            self._take(turn, want, asked_at)\n",
        "        if want is not None:\n            self._take(turn, want, self._world.monotonic())\n",
        "memory",
        150,
        "is held by",
    ),
    Bug(
        "A renewal is reckoned from when the answer came",
        FILE,
        "            lease.until = now + BELIEVED * self._config.lease_s\n",
        "            lease.until = self._world.monotonic() + BELIEVED * self._config.lease_s\n",
        "memory",
        1000,
        "is held by",
    ),
    Bug(
        "A renewal without an answer counts as one",
        FILE,
        "        if answer is None:\n"
        "            self._renew_at = now\n"
        "            return\n"
        "        lost_now, to_cancel = answer\n",
        "        lost_now, to_cancel = answer or ((), ())\n",
        "memory",
        600,
        "is held by",
    ),
    Bug(
        "Leases are renewed when they are over",
        FILE,
        "        self._renew_at = now + self._config.lease_s / 3 if renewed else math.inf\n",
        "        self._renew_at = now + self._config.lease_s if renewed else math.inf\n",
        "memory",
        100,
        "was lost by",
    ),
    Bug(
        "What is lost is not told to stop",
        FILE,
        "            self._announce_lost(task)\n"
        "        if tasks:\n"
        "            self._pool.cancel({task.id for task in tasks})\n"
        "\n"
        "    def _cancel",
        "            self._announce_lost(task)\n\n    def _cancel",
        "memory",
        200,
        "is held by",
    ),
    Bug(
        "What is lost is told to stop, and renewed all the same",
        FILE,
        "            self._held.pop(task.id, None)\n            self._announce_lost(task)\n",
        "            self._announce_lost(task)\n",
        "memory",
        300,
        "was cut off by",
    ),
    Bug(
        "The end of an older run is taken for the end of the newer one",
        FILE,
        "            if held is None or held.lease_id != task.lease_id:\n",
        "            if held is None:\n",
        "memory",
        600,
        "was cut off by | was settled as",
    ),
    Bug(
        "Outcomes count as stored as soon as they are sent",
        FILE,
        "        turn = yield from self._ask(TakeTurn(group, want))\n"
        "        if turn is None:\n"
        "            return\n"
        "        del self._unsettled[: len(group)]\n",
        "        del self._unsettled[: len(group)]\n"
        "        turn = yield from self._ask(TakeTurn(group, want))\n"
        "        if turn is None:\n"
        "            return\n",
        "memory",
        100,
        "was settled as",
    ),
    Bug(
        "A worker buries what still runs in its own hands",
        FILE,
        "            if held is not None and held.lease_id == task.lease_id:\n"
        "                continue  # it still runs here: the clock has jumped, or we slept\n",
        "",
        "memory",
        100,
        "was settled as",
    ),
    Bug(
        "Whatever is found stalled counts as never started",
        FILE,
        "        return fate_of_stalled(task, now)\n",
        "        return INTERRUPTED\n",
        "memory",
        100,
        "was settled as",
        quick=True,
    ),
    Bug(
        "A lease is buried although it was renewed since somebody looked",
        FILE,
        "            self._unsettled.append(buried._replace(only_if_over=True))\n",
        "            self._unsettled.append(buried)\n",
        "memory",
        600,
        "has buried it",
    ),
    Bug(
        "Nobody looks for stalled tasks",
        FILE,
        "            yield from self._rescue()\n",
        "            pass\n",
        "memory",
        100,
        "did not end within",
    ),
    Bug(
        "A coroutine that was cut off at the end of draining counts as cancelled",
        FILE,
        "            outcome = self._unless_cut_off(held, outcome)\n",
        "",
        "memory",
        100,
        "nobody asked for it",
    ),
    Bug(
        "A request to cancel reaches the task and is forgotten",
        FILE,
        "            self._held[task.id] = self._held[task.id]._replace(cancel_requested=True)\n",
        "            pass\n",
        "memory",
        900,
        "was cut off by",
    ),
    Bug(
        "What was leased ahead is never given back",
        FILE,
        "        self._give_back(now - UNSTARTED_S)\n",
        "",
        "memory",
        100,
        "has waited for",
    ),
    Bug(
        "What was withdrawn is not settled",
        FILE,
        "        self._settle_all(Finished(task, INTERRUPTED) for task in back)\n",
        "",
        "memory",
        100,
        "did not end within | was left behind",
    ),
]
