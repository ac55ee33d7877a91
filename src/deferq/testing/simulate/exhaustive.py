"""All interleavings of two workers and one task, with the faults that a scope allows, at the granularity of effects.

A path is the list of choices that were made in it. It is replayed from the beginning, since a dispatcher in the middle
of its work cannot be copied, and goes on where it has not been yet. Where two paths come to the same moment (see
`fingerprint`) the second one ends: from there on it would only repeat the first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from deferq.engines.base import LeasingEngine
from deferq.engines.memory import MemoryEngine
from deferq.runtime.dispatcher import dispatch
from deferq.testing.simulate.broken import Broken
from deferq.testing.simulate.clock import SimulatedClock
from deferq.testing.simulate.scope import Scope
from deferq.testing.simulate.smallworld import SmallWorld
from deferq.testing.simulate.stores import MakeEngine
from deferq.testing.simulate.worker import Dispatching


class Explored(NamedTuple):
    """What was tried."""

    #: Interleavings, those that were not repeated included.
    paths: int
    #: Different moments at which there was a choice.
    moments: int
    #: How often the world was made anew.
    runs: int
    seconds: float
    #: Whether that was all of them.
    complete: bool

    def __str__(self) -> str:
        paths = f"all {self.paths:,}" if self.complete else "some"
        tried = f"{self.moments:,} moments, {self.runs:,} runs, {self.seconds:.1f} s"
        return f"{paths} paths, {tried}"


class _Known(Exception):
    """From here on the path would repeat another one."""


@dataclass(slots=True)
class _Point:
    """A moment with a choice, on the path that is being tried."""

    state: bytes
    options: int
    what: str
    chosen: int = 0
    #: Interleavings from here to the end, as far as they have been tried.
    paths: int = 0


@dataclass(slots=True)
class _Search:
    """Depth first, each moment once."""

    repeat: bool = False
    #: Moments that have been tried to the end, with the number of paths from there.
    known: dict[bytes, int] = field(default_factory=dict)
    trail: list[_Point] = field(default_factory=list)
    paths: int = 0
    _at: int = 0

    def begin(self) -> None:
        self._at = 0

    def choose(self, options: Sequence[str], state: Callable[[], bytes]) -> int:
        """Along the trail, and then the first of what there is."""
        if self._at == len(self.trail):
            key = state()
            if key in self.known and not self.repeat:
                self._count(self.known[key])
                raise _Known
            self.known[key] = 0  # should it come to itself again, no path from there is new
            self.trail.append(_Point(key, len(options), ""))
        point = self.trail[self._at]
        point.what = options[point.chosen]
        self._at += 1
        return point.chosen

    def end(self) -> None:
        """A path has come to its end."""
        self._count(1)

    def back(self) -> bool:
        """To the last moment at which something else could happen; False: there is none."""
        while self.trail:
            point = self.trail[-1]
            point.chosen += 1
            if point.chosen < point.options:
                return True
            self.trail.pop()
            self.known[point.state] = point.paths
            self._count(point.paths)
        return False

    def _count(self, paths: int) -> None:
        if self.trail:
            self.trail[-1].paths += paths
        else:
            self.paths += paths


def explore(
    scope: Scope,
    *,
    dispatching: Dispatching = dispatch,
    make_engine: MakeEngine | None = None,
    also: MakeEngine | None = None,
    seconds: float | None = None,
    repeat: bool = False,
) -> Explored:
    """Try all interleavings of a scope.

    Args:
        scope: what may happen.
        dispatching: what each worker runs in place of the real dispatcher, to see whether a bug in it is caught.
        make_engine: makes a memory engine, for the same purpose.
        also: makes another engine, on which each run is done again, with the same choices as far as they fit.
        seconds: stop after so long; None: try all.
        repeat: go on where paths meet, so that every path is tried by itself.

    Returns what was tried. Raises Broken at the first path that breaks a promise: its `replay` says what was chosen.
    """
    began = time.monotonic()
    search = _Search(repeat=repeat)
    runs = 0
    complete = False
    while not complete and (seconds is None or time.monotonic() - began < seconds):
        _run(scope, make_engine or _memory, search, dispatching)
        if also is not None:
            _run_also(scope, also, search, dispatching)
        runs += 1
        complete = not search.back()
    return Explored(search.paths, len(search.known), runs, time.monotonic() - began, complete)


def _run(scope: Scope, make_engine: MakeEngine, search: _Search, dispatching: Dispatching) -> None:
    """One path, until it ends or meets another one."""
    search.begin()
    world = SmallWorld(scope, make_engine, search.choose, dispatching)
    try:
        world.run()
    except _Known:
        return
    except Broken as broken:
        raise _told(broken, world, search) from None
    search.end()


def _run_also(scope: Scope, make_engine: MakeEngine, search: _Search, dispatching: Dispatching) -> None:
    """The same path on another engine, to its very end."""
    world = SmallWorld(scope, make_engine, _Follow([point.chosen for point in search.trail]), dispatching)
    try:
        world.run()
    except Broken as broken:
        raise _told(broken, world, search) from None


def _told(broken: Broken, world: SmallWorld, search: _Search) -> Broken:
    broken.history = world.history.tell(broken.message)
    broken.replay = "\n".join(point.what for point in search.trail)
    return broken


class _Follow:
    """Makes the choices it is given as far as they fit, and then the first: an engine may take more turns, or fewer."""

    def __init__(self, choices: Sequence[int]) -> None:
        self._choices = iter(choices)

    def __call__(self, options: Sequence[str], state: Callable[[], bytes]) -> int:
        return min(next(self._choices, 0), len(options) - 1)


def _memory(clock: SimulatedClock) -> LeasingEngine:
    return MemoryEngine(clock=clock)
