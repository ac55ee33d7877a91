"""No seed may break a promise; and a dispatcher, or an engine, with a bug in it must be caught by some seed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pytest

from deferq.engines.answers import PutAnswer
from deferq.engines.base import Retention, Settlement, Swept, Turn, Want
from deferq.engines.memory import MemoryEngine
from deferq.model.outcome import INTERRUPTED
from deferq.model.settings import SetLimits, changed
from deferq.model.standing import Bucket
from deferq.model.task import NewTask
from deferq.runtime import dispatcher
from deferq.runtime.dispatcher import Dispatch
from deferq.runtime.pools import Finished
from deferq.runtime.settling import settle
from deferq.testing.simulate import Broken, MakeEngine, simulate
from deferq.testing.simulate.command import replay_command
from deferq.testing.simulate.memory import MemoryEngines, memory
from deferq.testing.simulate.sqlite import SqliteFiles
from deferq.testing.simulate.worker import Dispatching
from tests.support import tried


def first_caught(
    make_engine: MakeEngine,
    dispatching: Dispatching = dispatcher.dispatch,
    most: int = 1_000,
    *,
    children: bool = False,
) -> str:
    """What the first seed says that notices something."""
    try:
        simulate(make_engine, seeds=range(most), children=children, dispatching=dispatching)
    except Broken as broken:
        return broken.message
    return "nothing"


def test_no_promise_is_broken_in_memory() -> None:
    report = simulate(memory, seeds=range(150), replay=lambda seed: replay_command("memory", seed))
    tried("seeds on memory", report.seeds)


def test_no_promise_is_broken_on_sqlite(sqlite: SqliteFiles) -> None:
    report = simulate(sqlite, seeds=range(25), replay=lambda seed: replay_command("sqlite", seed))
    tried("seeds on sqlite", report.seeds)


def test_no_promise_is_broken_with_children() -> None:
    report = simulate(
        memory, seeds=range(25), children=True, replay=lambda seed: replay_command("memory", seed, children=True)
    )
    tried("seeds on memory with children", report.seeds)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_no_promise_is_broken_where_tasks_are_pushed(sqlite: SqliteFiles, kind: str) -> None:
    make_engine, seeds = (memory, 8) if kind == "memory" else (sqlite, 2)
    report = simulate(
        make_engine, seeds=range(seeds), pushed=True, replay=lambda seed: replay_command(kind, seed, pushed=True)
    )
    tried(f"seeds on {kind}, pushed", report.seeds)


# ---- planted bugs


class NoFence(MemoryEngine):
    """Settles whatever it is given: as most task queues do."""

    def turn(self, settlements: Sequence[Settlement], want: Want | None) -> Turn:
        forged = [one._replace(task=one.task._replace(lease_id=self._lease_of(one))) for one in settlements]
        return super().turn(forged, want)

    def _lease_of(self, settlement: Settlement) -> int:
        [stored] = self.get([settlement.task.id])
        return settlement.task.lease_id if stored.lease_id is None else stored.lease_id


class CountsPlacesBeforeItLeases(MemoryEngine):
    """Looks at how many are leased in one stroke, and leases in another: as a queue that is asked first does."""

    def turn(self, settlements: Sequence[Settlement], want: Want | None) -> Turn:
        before = {queue: queue.settings for queue in self._tasks.queues.values()}
        free = [queue.name for queue in before if queue.leased < (queue.limits.max_concurrent or 10**6)]
        for queue, settings in before.items():
            queue.set_up(changed(settings, SetLimits({"max_concurrent": None})))
        turn = super().turn(settlements, want and want._replace(queues=tuple(free)))
        for queue, settings in before.items():
            queue.set_up(settings)
        return turn


class ForgetsItsBuckets(MemoryEngine):
    """Begins each turn with a full bucket."""

    def turn(self, settlements: Sequence[Settlement], want: Want | None) -> Turn:
        for queue in self._tasks.queues.values():
            queue._bucket = Bucket()
        return super().turn(settlements, want)


class IgnoresLostLeases(dispatcher._Dispatcher):
    """Goes on as if nothing had happened."""

    def _forget(self, tasks: object) -> None:
        pass


class ReckonsTooLate(dispatcher._Dispatcher):
    """Counts a lease from when the answer arrived, not from when the question was sent."""

    def _take(self, turn: Turn, want: Want, asked_at: float) -> None:
        super()._take(turn, want, self._world.monotonic())


class DropsOutcomesInAnOutage(dispatcher._Dispatcher):
    """Thinks that what it has sent is stored."""

    def _ask(self, effect: dispatcher.Effect) -> Dispatch:
        if isinstance(effect, dispatcher.TakeTurn):
            self._unsettled = []
        return super()._ask(effect)


class GivesBackWhatWasLost(dispatcher._Dispatcher):
    """Takes every stalled task for one that never started."""

    def _rescue(self) -> Dispatch:
        for task in (yield from self._ask(dispatcher.FindStalled(100))) or ():
            if task.id not in self._held:
                self._unsettled.append(settle(task, INTERRUPTED, 0, self._world.now_us(), 0.0))


class GivesBackWhatDiedWithItsChild(dispatcher._Dispatcher):
    """Takes what a dead child had started for what it had not."""

    def _settle_all(self, finished: Iterable[Finished]) -> None:
        super()._settle_all(
            one._replace(outcome=INTERRUPTED) if getattr(one.outcome, "reason", "") == "worker lost" else one
            for one in finished
        )


class PurgesTooEarly(MemoryEngine):
    """Keeps nothing that has ended."""

    def sweep(self, retention: Retention, *, limit: int = 1_000) -> Swept:
        return super().sweep(Retention(succeeded_s=0.0, cancelled_s=0.0, dead_s=0.0), limit=limit)


class AcceptsTwice(MemoryEngine):
    """Takes a task that is put again for a new one, if the first has ended meanwhile."""

    def put(self, tasks: Sequence[NewTask]) -> list[PutAnswer]:
        for row in list(self._tasks.existing(task.id for task in tasks)):
            if row.state.finished:
                self._tasks.delete(row, self.now())
        return super().put(tasks)


class ForgetsTombstones(MemoryEngine):
    """Frees a name with the end of its task."""

    def put(self, tasks: Sequence[NewTask]) -> list[PutAnswer]:
        self._tasks.names.drop_tombstones(10**18, 1_000)
        return super().put(tasks)


class NeverLooksForTheLost(dispatcher._Dispatcher):
    """Leaves the tasks of dead workers to somebody else."""

    def _rescue(self) -> Dispatch:
        yield from ()


class KnowsNoPatience(dispatcher._Dispatcher):
    """Asks a store that is out of reach again and again."""

    def _pause(self) -> float:
        self._outage.until = 0.0
        return min(0.01, super()._pause())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (PurgesTooEarly, "is missing"),
        (AcceptsTwice, "task "),
        (ForgetsTombstones, "got the name of"),
    ],
)
def test_an_engine_that_forgets_is_caught(kind: type[MemoryEngine], words: str) -> None:
    assert words in first_caught(MemoryEngines(kind))


def test_an_engine_without_a_fence_is_caught() -> None:
    caught = first_caught(MemoryEngines(NoFence))
    assert re.search("stale lease|whose lease was over", caught)


@pytest.mark.parametrize(
    ("kind", "words"), [(CountsPlacesBeforeItLeases, "at a time and"), (ForgetsItsBuckets, "its rate is")]
)
def test_an_engine_that_lets_a_queue_exceed_its_limits_is_caught(kind: type[MemoryEngine], words: str) -> None:
    assert words in first_caught(MemoryEngines(kind))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (IgnoresLostLeases, "is held by"),
        (ReckonsTooLate, "is held by|before it was to come again"),
        (GivesBackWhatWasLost, "was started|was settled as interrupted"),
        (DropsOutcomesInAnOutage, "was started|was settled as interrupted"),
        (NeverLooksForTheLost, "did not end within"),
        (KnowsNoPatience, "more than 40 times within a second"),
    ],
)
def test_a_dispatcher_with_a_bug_is_caught(kind: type[dispatcher._Dispatcher], words: str) -> None:
    assert re.search(words, first_caught(memory, lambda *arguments: kind(*arguments).run()))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        pytest.param(IgnoresLostLeases, "is held by", marks=(pytest.mark.slow, pytest.mark.programme)),
        (DropsOutcomesInAnOutage, "was started|was settled as interrupted"),
        (GivesBackWhatDiedWithItsChild, "was started|was settled as interrupted|given back"),
    ],
)
def test_a_parent_with_a_bug_is_caught(kind: type[dispatcher._Dispatcher], words: str) -> None:
    assert re.search(words, first_caught(memory, lambda *arguments: kind(*arguments).run(), children=True))
