"""Bugs of a parent: what it makes of what its children say, and of their deaths."""

from __future__ import annotations

from tests.planted.bug import Bug

PROCESS, POOL, NURSERY, STARTS = (
    "runtime/children/process.py",
    "runtime/children/pool.py",
    "runtime/children/nursery.py",
    "runtime/children/starts.py",
)

BUGS = [
    Bug(
        "What had started in a child that died is given back",
        PROCESS,
        "            if not started[place]:\n"
        "                finished.append(Finished(task, INTERRUPTED))\n"
        "            else:",
        "            if place not in self._late:\n"
        "                finished.append(Finished(task, INTERRUPTED))\n"
        "            else:",
        "memory",
        100,
        "given back unspent",
        children=True,
    ),
    Bug(
        "What a child reported just before it died is not read any more",
        PROCESS,
        "        self.channel.readable = True\n        return self.receive(now)\n\n    def bury",
        "        return []\n\n    def bury",
        "memory",
        250,
        "was reported as",
        children=True,
    ),
    Bug(
        "A place that is used again still says that its task has started",
        PROCESS,
        "            started[place] = 0.0\n            until[place]",
        "            until[place]",
        "memory",
        100,
        "never started and is spent",
        children=True,
    ),
    Bug(
        "The parent takes back what it has not forbidden",
        PROCESS,
        "                self._starts.until[place] = 0.0\n",
        "",
        "memory",
        100,
        "may be attempted | is held by | given back unspent",
        children=True,
    ),
    Bug(
        "The parent does not look whether what it takes back has started",
        PROCESS,
        "            if not self._starts.started[place]:\n"
        "                finished.append(Finished(self._tasks.pop(place), INTERRUPTED))",
        "            if True:\n                finished.append(Finished(self._tasks.pop(place), INTERRUPTED))",
        "memory",
        100,
        "given back unspent",
        children=True,
    ),
    Bug(
        "The place of what was taken back is free before the child has passed over it",
        PROCESS,
        "                self._taken_back.add(place)\n",
        "                self._free_places.append(place)\n",
        "memory",
        100,
        "no child has said so | is held by",
        children=True,
    ),
    Bug(
        "The tasks of a child that died are forgotten",
        NURSERY,
        "                finished += self._bury(child, now)\n",
        "                self._bury(child, now)\n",
        "memory",
        100,
        "was left behind | did not end within",
        children=True,
    ),
    Bug(
        "Tasks of children that are killed at the end count as unstarted",
        NURSERY,
        "            finished += child.bury(now, WORKER_STOPPED)\n",
        "            finished += child.bury(now, INTERRUPTED)\n",
        "memory",
        250,
        "given back unspent",
        children=True,
    ),
]
