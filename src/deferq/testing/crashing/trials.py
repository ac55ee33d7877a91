"""The trials of one task: undisturbed twice, then killed at one point after the other."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from deferq.model.state import State
from deferq.testing.crashing.children import CannotTell
from deferq.testing.crashing.points import Point
from deferq.testing.crashing.scene import Left, Scene

#: Seconds after which somebody who waits at a terminal is told how far it is.
_SILENCE_S = 2.0


class Broke(NamedTuple):
    """A point at which the task must not die."""

    point: Point
    #: What is different afterwards, a line each.
    lines: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is tried."""

    only: int | None
    points_max: int
    seed: int
    seconds: float


@dataclass(slots=True)
class Trials:
    """What was tried, and what came of it."""

    #: The points of an undisturbed run.
    points: list[Point]
    #: Numbers of those at which the task was killed.
    killed_at: list[int] = field(default_factory=list)
    #: Numbers of those to which it did not come a second time.
    not_reached: list[int] = field(default_factory=list)
    broke: list[Broke] = field(default_factory=list)
    #: Why not every point was tried; empty: all were.
    cut_short: str = ""

    def __str__(self) -> str:
        tried = f"killed at {len(self.killed_at)} of {len(self.points)} points"
        missed = f"; {len(self.not_reached)} were not reached again" if self.not_reached else ""
        return f"{tried}{missed}{f'; {self.cut_short}' if self.cut_short else ''}"


def try_all(scene: Scene, limits: Limits, what: str) -> Trials:
    """Kill the task at every point within the limits. Raises CannotTell."""
    before = scene.before()
    undisturbed = scene.undisturbed()
    _check_ending(undisturbed, what)
    if undisturbed.changed_nothing_since(before):
        raise CannotTell(
            f"An undisturbed run of {what} leaves nothing to compare: no row, no deferred task, no effect. Give the"
            " database it works on as database=, in the state in which the task has something to do."
        )
    _check_alike(scene, undisturbed, scene.undisturbed(), what)
    trials = Trials(undisturbed.points)
    for number in _within_time(_chosen(trials, limits), trials, limits.seconds):
        point, left = scene.killed_at(number)
        if point is None:
            trials.not_reached.append(number)
            continue
        trials.killed_at.append(number)
        _, lines = scene.compare(undisturbed, left)
        if lines:
            trials.broke.append(Broke(point, lines))
    return trials


def _check_ending(left: Left, what: str) -> None:
    ending = left.ending
    if ending.state is State.SUCCEEDED or ending.decided:
        return
    raise CannotTell(
        f"An undisturbed run of {what} ended as {ending.state.name.lower()}: {ending.why}\n{ending.traceback}".rstrip()
    )


def _check_alike(scene: Scene, first: Left, second: Left, what: str) -> None:
    found, lines = scene.compare(first, second)
    if not lines:
        return
    names = sorted({difference.where for difference in found})
    advice = f" Name what may differ, such as a time or a random number: ignore={names!r}." if names else ""
    raise CannotTell(
        f"Two undisturbed runs of {what} end differently, so a difference after a kill would prove nothing.{advice}\n"
        + "\n".join(f"  {line}" for line in lines)
    )


def _chosen(trials: Trials, limits: Limits) -> Sequence[int]:
    """The numbers of the points to try."""
    count = len(trials.points)
    if limits.only is not None:
        if not 1 <= limits.only <= count:
            raise CannotTell(f"only={limits.only}: an undisturbed run has the points 1 to {count}.")
        trials.cut_short = f"only={limits.only}"
        return [limits.only]
    if count <= limits.points_max:
        return range(1, count + 1)
    trials.cut_short = f"chosen with seed={limits.seed}, since points_max={limits.points_max}"
    return sorted(random.Random(limits.seed).sample(range(1, count + 1), limits.points_max))


def _within_time(numbers: Sequence[int], trials: Trials, seconds: float) -> Iterator[int]:
    began = time.monotonic()
    shown = False
    for index, number in enumerate(numbers):
        took = time.monotonic() - began
        if took > seconds:
            trials.cut_short = f"the {seconds:g} s of seconds= were over"
            break
        if took > _SILENCE_S and sys.stderr.isatty():
            shown = True
            sys.stderr.write(f"\rassert_idempotent: {index} of {len(numbers)} points tried")
        yield number
    if shown:
        sys.stderr.write("\n")
