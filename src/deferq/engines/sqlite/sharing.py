"""Which of the tasks that are due are leased: pure arithmetic over the heads of the lanes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import NamedTuple

#: When it is due, and its id.
Due = tuple[int, int]


class CutShort(Exception):
    """The answer depends on tasks behind the ones that were looked at. Look at more of each lane."""


class Lane(NamedTuple):
    """The first due tasks of one queue at one priority, in due order."""

    ordinary: Sequence[Due]
    at_most_once: Sequence[Due]
    #: How many of each were asked for; as many as that means there may be more.
    limit: int

    @property
    def horizon(self) -> Due | None:
        """The task behind which there may be some that are not seen here; None: this is all."""
        return min((half[-1] for half in (self.ordinary, self.at_most_once) if len(half) >= self.limit), default=None)


class Picked(NamedTuple):
    """A task that is leased."""

    id: int
    at_most_once: bool


def share_out(queues: Iterable[Sequence[Lane]], free: int, room: int) -> list[int]:
    """The ids of up to `room` tasks, in the order in which to start them.

    `queues` stand in the order in which they are served, their lanes from high to low priority. Every queue gets an
    equal share, and again of what some left over. Tasks of a single start are taken for `free` slots alone, and so they
    stand in front of the answer. Raises CutShort if the lanes were not looked at deeply enough to tell.
    """
    permits = iter(range(free))
    lines = [_line(lanes, permits, room) for lanes in queues]
    picked: list[Picked] = []
    while room and lines:
        share = max(1, room // len(lines))
        hungry = []
        for line in lines:
            taken = list(islice(line, min(share, room)))
            picked += taken
            room -= len(taken)
            if len(taken) == share:
                hungry.append(line)
        lines = hungry
    picked.sort(key=lambda task: not task.at_most_once)
    return [task.id for task in picked]


def _line(lanes: Sequence[Lane], permits: Iterator[int], room: int) -> Iterator[Picked]:
    """The tasks of one queue in the order in which they are served."""
    for lane in lanes:
        yield from _in_lane(lane, permits, None if lane.limit >= room else lane.horizon)


def _in_lane(lane: Lane, permits: Iterator[int], horizon: Due | None) -> Iterator[Picked]:
    if not lane.at_most_once:
        yield from (Picked(task_id, False) for _, task_id in lane.ordinary)
        if horizon is not None:
            raise CutShort
        return
    ordinary = ((due, task_id, False) for due, task_id in lane.ordinary)
    at_most_once = ((due, task_id, True) for due, task_id in lane.at_most_once)
    for _, task_id, once in merge(ordinary, at_most_once):
        if not once or next(permits, None) is not None:
            yield Picked(task_id, once)
        if horizon is not None and task_id == horizon[1]:
            raise CutShort
