"""The memory that a child shares with its parent: which of its tasks have started, and until when each may.

Each task that is sent to a child gets a place in it. The child writes the time of the start into the place before
anything of the user's runs; so after its death the parent knows what had started, and gives back the rest unspent.

The parent takes back what has not started without asking, since a child whose interpreter lock is held could not
answer. It forbids the start first, waits a moment, and looks then. The child does both in the other order: it writes
the start and then looks whether it is allowed. Whichever comes first, they agree.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Protocol

#: Tasks that one child can hold at a time.
PLACES = 16_384
#: Seconds after which what one process wrote is seen by the other; in truth it is far less than a microsecond.
SEEN_AFTER_S = 0.002


class Numbers(Protocol):
    """Numbers in shared memory, by place."""

    def __getitem__(self, index: int, /) -> float:
        """What stands there, as this process sees it."""

    def __setitem__(self, index: int, number: float, /) -> None:
        """Write it."""


class Starts:
    """Two numbers for each place, as monotonic seconds, which all processes of a machine share."""

    started: Numbers
    until: Numbers

    def __init__(self, descriptor: int) -> None:
        """Map what `shared_memory` made. The descriptor may be closed afterwards."""
        self._memory = mmap.mmap(descriptor, 2 * PLACES * 8)
        numbers = memoryview(self._memory).cast("d")
        #: When the task at a place started; 0: it has not.
        self.started = numbers[:PLACES]
        #: When it must not be started any more. The child only reads it.
        self.until = numbers[PLACES:]


def shared_memory() -> int:
    """A descriptor of new memory, all zeros, that a child can inherit."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("deferq-starts", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, 2 * PLACES * 8)
    return descriptor


class Place:
    """The place of one task, as the child's threads see it: what they know of the task's lease."""

    __slots__ = ("_starts", "index", "since")

    def __init__(self, starts: Starts, index: int, since: float) -> None:
        self._starts = starts
        self.index = index
        #: Monotonic time at which the task arrived.
        self.since = since

    @property
    def until(self) -> float:
        """Monotonic time after which the task must not be started."""
        return self._starts.until[self.index]

    def begin(self, now: float) -> bool:
        """Write down that it starts, then look whether it may: the order matters."""
        self._starts.started[self.index] = now
        if now < self._starts.until[self.index]:
            return True
        self.put_off()  # or it would count as started if the process died now
        return False

    def put_off(self) -> None:
        """It has not started after all: it waits for a slot."""
        self._starts.started[self.index] = 0.0
