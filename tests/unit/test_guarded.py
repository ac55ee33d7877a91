"""Suspects in threads of a process that has no other to lose: one at a time, and not for ever."""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deferq.model.outcome import INTERRUPTED, SUCCEEDED, Cancelled, Failed, Interrupted, Parked
from deferq.model.task import Leased
from deferq.runtime.executor import Executor
from deferq.runtime.guarded import LEFT_FROM, TAKEN, GuardedThreads
from deferq.runtime.pools import Lease
from deferq.runtime.turns import AWAY_MAX_S, EARLY, TURN_MAX_S, TURN_MIN_S, Turns
from tests.unit.test_pool import ALWAYS, Bench, until

NEVER = Lease(0.0, 0.0)


class GuardedBench(Bench):
    """As every pool of threads, with suspects."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = GuardedThreads(Executor(self._codec), threads=2, async_slots=2, wake=self._wake)

    def suspect(self, fn: Callable[..., Any], crashes: int = 2, **options: Any) -> Leased:
        return self.task(fn, **options)._replace(crashes=crashes)

    def outcomes(self, number: int) -> dict[int, object]:
        return {one.task.id: one.outcome for one in self.collect(number)}


@pytest.fixture
def bench() -> Iterator[GuardedBench]:
    bench = GuardedBench()
    yield bench
    bench.pool.close(1.0)


def nothing() -> None: ...


def test_the_others_do_not_notice(bench: GuardedBench) -> None:
    tasks = [bench.task(nothing)._replace(crashes=number % 2) for number in range(50)]
    bench.pool.start(tasks, ALWAYS)
    assert set(bench.outcomes(50).values()) == {SUCCEEDED}


def test_one_suspect_runs_and_the_next_comes_back_later(bench: GuardedBench) -> None:
    gate = threading.Event()
    first, second, third, other = bench.suspect(gate.wait), *(bench.suspect(nothing) for _ in "ab"), bench.task(nothing)
    bench.pool.start([first, second, third, other], ALWAYS)
    outcomes = bench.outcomes(3)
    waits = [outcomes[task.id] for task in (second, third)]
    assert all(isinstance(one, Interrupted) and one.reason == TAKEN for one in waits)
    assert waits[0].after_s < waits[1].after_s  # type: ignore[attr-defined]
    assert outcomes[other.id] == SUCCEEDED
    gate.set()
    bench.collect(1)
    bench.pool.start([second], ALWAYS)
    assert bench.outcomes(1) == {second.id: SUCCEEDED}


def test_what_has_killed_its_worker_three_times_is_left_to_others(bench: GuardedBench) -> None:
    task = bench.suspect(nothing, crashes=LEFT_FROM)
    bench.pool.start([task], ALWAYS)
    outcome = bench.outcomes(1)[task.id]
    assert isinstance(outcome, Parked)
    assert "died 3 times" in outcome.error.message
    assert "deferq worker" in outcome.error.message


@pytest.mark.parametrize("how", ["raised", "cancelled", "lease over", "timed out", "withdrawn"])
def test_however_it_leaves_it_makes_room_for_the_next(bench: GuardedBench, how: str) -> None:
    gate = threading.Event()
    busy = [gate.wait] * 2

    def fails() -> None:
        raise ValueError

    if how in ("cancelled", "withdrawn"):
        bench.start(*busy)  # so that it waits for a thread
        until(lambda: bench.pool.running() == 2)
    task = bench.suspect(fails if how == "raised" else gate.wait, timeout_s=0.01 if how == "timed out" else None)
    bench.pool.start([task], NEVER if how == "lease over" else ALWAYS)
    if how == "raised":
        assert isinstance(bench.outcomes(1)[task.id], Failed)
    elif how == "lease over":
        assert bench.outcomes(1)[task.id] == INTERRUPTED
    elif how == "cancelled":
        bench.pool.cancel({task.id})
        assert bench.outcomes(1)[task.id] == Cancelled()
    elif how == "withdrawn":
        assert bench.pool.withdraw() == [task]
    else:
        while not (late := bench.pool.overdue(bench.pool._monotonic())):
            pass
        assert late[0].task == task
    gate.set()
    bench.pool.start([following := bench.suspect(nothing)], ALWAYS)
    finished: dict[int, object] = {}
    while following.id not in finished:
        finished |= bench.outcomes(1)
    assert finished[following.id] == SUCCEEDED


# ---- turns


def turns_of(seconds: float) -> Turns:
    """As after many that took so long."""
    turns = Turns()
    for _ in range(100):
        turns.took(seconds)
    return turns


def test_whoever_waits_comes_back_after_a_quarter_of_the_turns_before_it() -> None:
    turns = turns_of(2.0)
    assert [turns.next_in(100.0) for _ in range(3)] == pytest.approx([0.5, 1.0, 1.5])
    assert turns.next_in(101.0) == pytest.approx(1.0), "half a second of what was promised is over, and one more"
    assert turns.next_in(200.0) == pytest.approx(0.5)


def test_one_long_turn_does_not_keep_all_away_that_come_after_it() -> None:
    turns = turns_of(0.4)
    turns.took(4.4)
    assert turns.next_in(0.0) == pytest.approx(EARLY * 1.4)


def test_a_place_that_all_wait_for_is_seldom_empty() -> None:
    """Of a hundred tasks of some length each, two places do one after the other; whoever comes in vain comes again."""
    chance = random.Random(1)
    places = [Place(Turns()), Place(Turns())]
    coming = [(0.0, number) for number in range(100)]
    while coming:
        now, number = heapq.heappop(coming)
        again = chance.choice(places).visit(now, chance.choice([0.5, 0.6, 0.7, 3.0]))
        if again is not None:
            heapq.heappush(coming, (now + again, number))
    busy = [place.busy_s / place.until for place in places]
    assert min(busy) > 0.7, busy


class Place:
    """Somewhere where one can be at a time."""

    def __init__(self, turns: Turns) -> None:
        self.turns, self.until, self.busy_s, self.takes_s = turns, 0.0, 0.0, 0.0

    def visit(self, now: float, seconds: float) -> float | None:
        """Take the place for so long; returns when to come again if it is taken."""
        if now < self.until:
            return self.turns.next_in(now)
        if self.takes_s:
            self.turns.took(self.takes_s)
        self.until, self.takes_s = now + seconds, seconds
        self.busy_s += seconds
        return None


@pytest.mark.parametrize(("took", "turn_s"), [(0.0, TURN_MIN_S), (3600.0, TURN_MAX_S)])
def test_a_turn_is_never_taken_for_very_short_or_very_long(took: float, turn_s: float) -> None:
    assert turns_of(took).next_in(0.0) == pytest.approx(EARLY * turn_s)


def test_nobody_is_sent_away_for_longer_than_ten_minutes() -> None:
    turns = Turns()
    assert [turns.next_in(0.0) for _ in range(10_000)][-1] == AWAY_MAX_S
