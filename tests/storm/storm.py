"""A storm: somebody kills, freezes and stops workers, children and producers as fast as they rise."""

from __future__ import annotations

import heapq
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tests.storm.crowd import Crowd
from tests.storm.processes import Producer, Worker, strike

#: What happens, and how often among a hundred.
MIX = {"kill": 60, "freeze": 15, "stop": 15, "stop twice": 5, "kill parent": 5}
#: Whom a kill, or a freeze, hits.
KILLED = {"child": 80, "producer": 20}
FROZEN = {"child": 50, "parent": 25, "tree": 15, "producer": 10}
#: The same where leases are to run out: a child that is frozen loses none, since its parent renews them.
FROZEN_LONG = {"child": 10, "parent": 40, "tree": 45, "producer": 5}
#: The share of blows to children that may hit one that still loads the application.
UNBORN = 0.1
#: Seconds between two blows, at most.
BREATH_S = 0.03

Choice = TypeVar("Choice")
Act = Callable[[], bool]


class Storm(Crowd):
    """A crowd in trouble. The veteran is frozen and its children are killed, but nobody ends it."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        frozen: Mapping[str, int] = FROZEN,
        frozen_s: tuple[float, float] = (0.02, 1.0),
        frozen_most: int = 2,
        **crowd: Any,
    ) -> None:
        """Who is frozen, how often, and for how many seconds at least and at most; `crowd`: see Crowd.

        `frozen_most`: how many are frozen at a time. Who has the write lock of the store then holds up all others.
        """
        super().__init__(folder, seed, **crowd)
        self._whom_to_freeze = frozen
        self._frozen_most = frozen_most
        #: What was done, by its name.
        self.done: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._frozen_s = frozen_s
        #: When who is to be thawed, and how.
        self._frozen: list[tuple[float, int, Callable[[], object]]] = []

    def __exit__(self, *raised: object) -> None:
        self._thaw(all_of_them=True)
        super().__exit__(*raised)

    @property
    def kills(self) -> int:
        return self.done["kill child"] + self.done["kill producer"] + self.done["kill parent"]

    def calm(self) -> None:
        self._thaw(all_of_them=True)
        super().calm()

    def rage(self, kills: int, seconds: float) -> None:
        """Until there were so many kills, or the time is over."""
        ends = time.monotonic() + seconds
        while self.kills < kills and time.monotonic() < ends:
            (what,) = self._chance.choices(list(MIX), list(MIX.values()))
            act = getattr(self, f"_{what.replace(' ', '_')}")()
            self._until_it_can(act, ends)
            self._pause(self._chance.uniform(0, BREATH_S))

    def _until_it_can(self, act: Act, ends: float) -> None:
        while not act() and time.monotonic() < ends:
            self._pause(0.005)

    def _pause(self, seconds: float) -> None:
        time.sleep(seconds)
        self._thaw()
        self.fill_up()
        self.see_off()

    # Each of these says whom it shall hit, and returns what does it: true if there was somebody to hit.

    def _kill(self) -> Act:
        (whom,) = self._chance.choices(list(KILLED), list(KILLED.values()))
        return self._kill_producer if whom == "producer" else partial(self._strike_child, signal.SIGKILL, "kill child")

    def _stop(self) -> Act:
        """A child leaves that to its parent."""
        if self._chance.random() < 0.3:
            return partial(self._strike_child, signal.SIGTERM, "stop child")
        return partial(self._end_one, {0}, "stop", signal.SIGTERM)

    def _stop_twice(self) -> Act:
        codes = {0, 128 + signal.SIGTERM}
        return partial(self._end_one, codes, "stop twice", signal.SIGTERM, self._chance.uniform(0, 0.1))

    def _kill_parent(self) -> Act:
        return partial(self._end_one, {-signal.SIGKILL}, "kill parent", signal.SIGKILL)

    def _freeze(self) -> Act:
        (whom,) = self._chance.choices(list(self._whom_to_freeze), list(self._whom_to_freeze.values()))
        return partial(self._freeze_for, whom, self._chance.uniform(*self._frozen_s))

    def _kill_producer(self) -> bool:
        producer = self._pick([one for one in self.producers if one.ready])
        if producer is None:
            return False
        self.hit(producer.pid, signal.SIGKILL, producer)
        self.producers.remove(producer)
        self.dead.append(producer)
        self.done["kill producer"] += 1
        return True

    def _strike_child(self, number: int, name: str) -> bool:
        worker = self._pick([one for one in self.workers if one.works and one.ready()])
        if worker is None:
            return False
        unborn_too = self._chance.random() < UNBORN
        pid = self._pick(worker.children() if unborn_too else worker.ready())
        hit = strike(pid, number, worker.pid) if pid else None
        if hit is None:
            return False
        if number == signal.SIGKILL:
            worker.forget(hit.pid)
            self.hits.append(hit)
        self.done[name] += 1
        return True

    def _end_one(self, codes: set[int], name: str, number: int, again_after: float | None = None) -> bool:
        worker = self._pick([one for one in self.workers[1:] if one.works])
        if worker is None:
            return False
        self.workers.remove(worker)
        self.leaving.append(worker)
        worker.codes = codes
        self.hit(worker.pid, number, worker)
        if again_after is not None:
            time.sleep(again_after)
            self.hit(worker.pid, number, worker)
        self.done[name] += 1
        return True

    def _freeze_for(self, whom: str, seconds: float) -> bool:
        thaw = self._freeze_one(whom) if len(self._frozen) < self._frozen_most else None
        if thaw is None:
            return False
        self.done[f"freeze {whom}"] += 1
        heapq.heappush(self._frozen, (time.monotonic() + seconds, self.done.total(), thaw))
        return True

    def _freeze_one(self, whom: str) -> Callable[[], object] | None:
        """Returns how to thaw it; None: there is nobody to freeze."""
        if whom == "producer":
            producer = self._pick([one for one in self.producers if one.ready])
            return _stopped(producer.pid, producer) if producer else None
        worker = self._pick([one for one in self.workers if one.works and one.ready()])
        if worker is None:
            return None
        if whom == "parent":
            return _stopped(worker.pid, worker)
        children = worker.ready() if whom == "tree" else [self._chance.choice(worker.ready())]
        for pid in children:
            strike(pid, signal.SIGSTOP, worker.pid)
        thaw_parent = _stopped(worker.pid, worker) if whom == "tree" else None

        def thaw(children: tuple[int, ...] = tuple(children), worker: Worker = worker) -> None:
            for pid in children:
                strike(pid, signal.SIGCONT, worker.pid)
            if thaw_parent is not None:
                thaw_parent()

        return thaw

    def _thaw(self, *, all_of_them: bool = False) -> None:
        while self._frozen and (all_of_them or self._frozen[0][0] <= time.monotonic()):
            heapq.heappop(self._frozen)[2]()

    def _pick(self, among: list[Choice]) -> Choice | None:
        return self._chance.choice(among) if among else None


def _stopped(pid: int, running: Worker | Producer) -> Callable[[], None]:
    running.send(signal.SIGSTOP)

    def thaw() -> None:
        with suppress(ProcessLookupError):
            running.send(signal.SIGCONT)

    return thaw
