"""Running seeds, one world after another, until one breaks a promise."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from typing import NamedTuple

from deferq.engines.base import TOMBSTONE_S
from deferq.runtime.dispatcher import dispatch
from deferq.testing.simulate.broken import Broken
from deferq.testing.simulate.stores import MakeEngine, StoreMaker
from deferq.testing.simulate.worker import Dispatching
from deferq.testing.simulate.world import SimulatedWorld


class Report(NamedTuple):
    """What was tried, and nothing was found."""

    seeds: int
    #: How often a dispatcher was let run.
    steps: int
    #: How much went wrong on purpose.
    faults: int
    seconds: float

    def __str__(self) -> str:
        rate = self.seeds / self.seconds if self.seconds else 0.0
        return f"{self.seeds:,} seeds, {self.steps:,} steps, {self.faults:,} faults, {rate:.0f} seeds/s: nothing broken"


def simulate(
    make_engine: MakeEngine | StoreMaker,
    *,
    seeds: Iterable[int],
    children: bool = False,
    pushed: bool = False,
    seconds: float | None = None,
    replay: Callable[[int], str] | None = None,
    dispatching: Dispatching = dispatch,
    tombstone_s: float | None = None,
) -> Report:
    """Let a world run for each seed: several workers on one engine, and everything that can go wrong.

    Args:
        make_engine: makes an empty engine whose time is the clock it is given: `make_engine(clock)`. It is closed when
            its world ends.
        seeds: a world is made from each; the same seed gives the same world.
        children: tasks run as child processes run them, else as threads do.
        pushed: tasks run as handlers of an application run them, to which they are pushed; not together with children.
        seconds: begin no further seed after so long; None: try all of them.
        replay: the command line that tries one seed again, to be told with what it broke.
        tombstone_s: how long the name of a finished task stays taken in that engine, in seconds. None: what
            `make_engine.tombstone_s` says, or 24 hours if it says nothing.
        dispatching: what every worker runs in place of the real dispatcher, to see whether a bug in it is caught.

    Returns what was tried. Raises Broken at the first seed that breaks a promise: it holds the seed, the message, the
    history that led there, and the command that replays it.
    """
    began = time.monotonic()
    tried = Report(0, 0, 0, 0.0)
    for seed in seeds:
        world = run_seed(
            seed,
            make_engine,
            children=children,
            pushed=pushed,
            replay=replay,
            dispatching=dispatching,
            tombstone_s=tombstone_s,
        )
        tried = Report(tried.seeds + 1, tried.steps + world.steps, tried.faults + world.faults, 0.0)
        if seconds is not None and time.monotonic() - began >= seconds:
            break
    return tried._replace(seconds=time.monotonic() - began)


def run_seed(
    seed: int,
    make_engine: MakeEngine | StoreMaker,
    *,
    children: bool = False,
    pushed: bool = False,
    replay: Callable[[int], str] | None = None,
    dispatching: Dispatching = dispatch,
    tombstone_s: float | None = None,
) -> SimulatedWorld:
    """The world of one seed, after its end. Raises Broken like `simulate`."""
    world = None
    if tombstone_s is None:
        tombstone_s = getattr(make_engine, "tombstone_s", TOMBSTONE_S)
    try:
        world = SimulatedWorld(
            seed, make_engine, dispatching, children=children, pushed=pushed, tombstone_s=tombstone_s
        )
        world.run()
    except Exception as error:
        broken = error if isinstance(error, Broken) else Broken(f"{type(error).__name__}: {error}")
        broken.seed = seed
        broken.history = world.history.tell(broken.message) if world else ""
        broken.replay = replay(seed) if replay else ""
        if error is not broken:
            broken.history += "\n" + "".join(traceback.format_exception(error))
        raise broken from None
    return world
