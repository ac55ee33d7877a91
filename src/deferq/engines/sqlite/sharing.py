"""Which of the tasks that are due are leased, told from the heads of the lanes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from typing import NamedTuple

from deferq.model import sharing
from deferq.model.sharing import Slots, limited

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


class Line(NamedTuple):
    """One queue: its lanes from high to low priority."""

    lanes: Sequence[Lane]
    #: How many of its tasks its limits allow; None: it is not limited.
    allowance: int | None = None

    def count(self, ids: Iterable[int]) -> int:
        """How many of these tasks are its own."""
        return len(self._seen().intersection(ids))

    def has_more(self, ids: Iterable[int]) -> bool:
        """Whether there may be due tasks beside these."""
        return any(lane.horizon is not None for lane in self.lanes) or not self._seen().issubset(ids)

    def _seen(self) -> set[int]:
        return {task_id for lane in self.lanes for half in (lane.ordinary, lane.at_most_once) for _, task_id in half}


class Picked(NamedTuple):
    """A task that is leased."""

    id: int
    #: It was taken for a free slot, and must have it.
    needs_slot: bool


def share_out(lines: Iterable[Line], free: int, room: int) -> list[int]:
    """The ids of up to `room` tasks, in the order in which to start them.

    `lines` stand in the order in which they are served. Every queue gets an equal share, and again of what some left
    over. Tasks of a single start, and those of limited queues, are taken for `free` slots alone, and so they stand in
    front of the answer. Raises CutShort if the lanes were not looked at deeply enough to tell.
    """
    slots = Slots(free)
    picked = sharing.share_out([_line(line, slots, room) for line in lines], room)
    picked.sort(key=lambda task: not task.needs_slot)
    return [task.id for task in picked]


def _line(line: Line, slots: Slots, room: int) -> Iterator[Picked]:
    """The tasks of one queue in the order in which they are served."""
    if line.allowance is None:
        return _in_lanes(line.lanes, slots, room)
    tasks = limited(_in_lanes(line.lanes, None, room), line.allowance, slots)
    return (Picked(task.id, True) for task in tasks)


def _in_lanes(lanes: Sequence[Lane], slots: Slots | None, room: int) -> Iterator[Picked]:
    """`slots` are for tasks of a single start; None: whoever draws takes one for each task."""
    for lane in lanes:
        yield from _in_lane(lane, slots, None if lane.limit >= room else lane.horizon)


def _in_lane(lane: Lane, slots: Slots | None, horizon: Due | None) -> Iterator[Picked]:
    if not lane.at_most_once:
        yield from (Picked(task_id, False) for _, task_id in lane.ordinary)
        if horizon is not None:
            raise CutShort
        return
    ordinary = ((due, task_id, False) for due, task_id in lane.ordinary)
    at_most_once = ((due, task_id, True) for due, task_id in lane.at_most_once)
    for _, task_id, once in merge(ordinary, at_most_once):
        if not once or slots is None or slots.take():
            yield Picked(task_id, once)
        if horizon is not None and task_id == horizon[1]:
            raise CutShort
