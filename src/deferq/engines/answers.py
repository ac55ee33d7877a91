"""What engines answer, one per task, never an exception: one caller's clash must not fail another's task."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Stored(NamedTuple):
    """The task is committed."""

    id: int
    #: The pending task that it replaced, if any.
    replaced: int | None = None


class Existing(NamedTuple):
    """A live task has the name; this is it. Nothing was stored."""

    id: int


class Tombstoned(NamedTuple):
    """A finished task used the name; it stays taken until `until`. Nothing was stored."""

    id: int
    until: int


class Clash(NamedTuple):
    """Another task has this id. Nothing was stored; take a new id, sign again, put again."""

    id: int


PutAnswer = Stored | Existing | Tombstoned | Clash


class TakeUp(Enum):
    """What `take_up` answers. Only the first lets anybody run the task."""

    #: The lease is taken up now, by this call.
    TAKEN = "taken"
    #: It was taken up before: somebody else runs the task, or did.
    TAKEN_BEFORE = "taken before"
    #: The task has ended, under whichever lease; there is nothing left to run.
    FINISHED = "finished"
    #: The lease is over, somebody else's, or of no task that is stored.
    NOT_HELD = "not held"
