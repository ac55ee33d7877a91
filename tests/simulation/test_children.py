"""The real parent with simulated children: no seed may break a promise, and a bug in the parent must be caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deferq.model.outcome import INTERRUPTED
from deferq.runtime.children import process
from deferq.runtime.children.channel import Channel
from deferq.runtime.children.nursery import Nursery
from deferq.runtime.children.process import ChildProcess
from deferq.runtime.children.wire import pack
from deferq.runtime.pools import Finished
from tests.simulation.test_simulation import first_caught, memory

Patch = Callable[[pytest.MonkeyPatch], None]
#: Each bug below is caught by one of so many seeds.
SEEDS = 300


def plants(owner: Any, name: str) -> Callable[[Callable[..., Any]], Patch]:
    """A method that stands in for the right one, which it is given first."""

    def planted(wrong: Callable[..., Any]) -> Patch:
        right = getattr(owner, name)

        def plant(patch: pytest.MonkeyPatch) -> None:
            patch.setattr(owner, name, lambda self, *given, **named: wrong(right, self, *given, **named))

        plant.__name__ = wrong.__name__
        return plant

    return planted


def takes_back_without_waiting(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(process, "SEEN_AFTER_S", 0.0)


@plants(ChildProcess, "_take_back")
def takes_back_what_has_started(right: Any, child: ChildProcess, now: float, finished: list[Finished]) -> None:
    for place in child._forbidden:
        if place in child._tasks and now - child._forbidden[place] > 0.0019:
            child._starts.started[place] = 0.0
    right(child, now, finished)


@plants(ChildProcess, "hear_last_words")
def buries_what_was_reported(right: Any, child: ChildProcess, *given: Any) -> Any:
    return []


@plants(ChildProcess, "bury")
def gives_back_what_died(right: Any, child: ChildProcess, *given: Any) -> Any:
    return [one._replace(outcome=INTERRUPTED) for one in right(child, *given)]


@plants(ChildProcess, "bury")
def spends_what_had_not_started(right: Any, child: ChildProcess, *given: Any) -> Any:
    for place in child._tasks:
        child._starts.started[place] = 1.0
    return right(child, *given)


@plants(ChildProcess, "_take_back")
def gives_places_away_too_early(right: Any, child: ChildProcess, now: float, finished: list[Finished]) -> None:
    before = set(child._taken_back)
    right(child, now, finished)
    child._free_places += child._taken_back - before


@plants(ChildProcess, "send")
def forgets_to_clear_the_start(right: Any, child: ChildProcess, *given: Any) -> None:
    starts = child._starts.started
    child._starts.started = _Deaf(starts)
    right(child, *given)
    child._starts.started = starts


class _Deaf:
    """Numbers that cannot be written."""

    def __init__(self, numbers: Any) -> None:
        self._numbers = numbers

    def __getitem__(self, index: int) -> float:
        return float(self._numbers[index])

    def __setitem__(self, index: int, number: float) -> None: ...


@plants(Nursery, "_room")
def knows_no_bound(right: Any, nursery: Nursery) -> int:
    return 1_000


@plants(Nursery, "condemn")
def lets_late_tasks_run(right: Any, nursery: Nursery, *given: Any) -> None:
    pass


@plants(Nursery, "condemn")
def kills_for_ever(right: Any, nursery: Nursery, child: ChildProcess, now: float) -> None:
    child.killed = False
    right(nursery, child, now)


@plants(Nursery, "kill_busy")
def leaves_what_runs(right: Any, nursery: Nursery, now: float) -> list[Finished]:
    return []


@plants(Channel, "flush")
def forgets_what_did_not_fit(right: Any, channel: Channel) -> None:
    channel._outgoing.clear()


@plants(Channel, "flush")
def sends_the_rest_twice(right: Any, channel: Channel) -> None:
    if channel.clogged:
        channel._send(pack("events", []))
    right(channel)


@plants(ChildProcess, "is_stuck")
def finds_nobody_stuck(right: Any, child: ChildProcess, now: float) -> bool:
    right(child, now)
    return False


PLANTED: dict[Patch, str] = {
    takes_back_without_waiting: "started and is given back",
    takes_back_what_has_started: "started and is given back",
    buries_what_was_reported: "was reported as",
    gives_back_what_died: "started and is given back",
    spends_what_had_not_started: "never started and is spent",
    gives_places_away_too_early: "task ",
    forgets_to_clear_the_start: "never started and is spent",
    knows_no_bound: "were asked for",
    lets_late_tasks_run: "past its timeout",
    kills_for_ever: "does not rest",
    leaves_what_runs: "runs on after its parent has ended",
    forgets_what_did_not_fit: "marshal",
    finds_nobody_stuck: "starts nothing for long",
    sends_the_rest_twice: "bad marshal data",
}


#: They take some seconds.
RARE = (leaves_what_runs, buries_what_was_reported, gives_places_away_too_early)
RARE += (knows_no_bound, spends_what_had_not_started, lets_late_tasks_run, kills_for_ever, finds_nobody_stuck)


def _marked(plant: Patch) -> Any:
    rare = (pytest.mark.slow, pytest.mark.programme) if plant in RARE else ()
    return pytest.param(plant, id=plant.__name__, marks=rare)


@pytest.mark.parametrize("plant", [_marked(plant) for plant in PLANTED])
def test_a_bug_in_the_parent_is_caught(plant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    caught = first_caught(memory, most=SEEDS, children=True)
    assert caught != "nothing"
    assert PLANTED[plant] in caught
