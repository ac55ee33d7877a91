"""What lies between a simulated parent and its children: sockets that clog, descriptors to poll, and shared memory."""

from __future__ import annotations

import errno
import select
from collections.abc import Callable, Iterator
from itertools import count
from typing import Protocol

from deferq.runtime.children.starts import Starts

#: Seconds until one process sees what another has written, at the most.
LAG_S = 0.0008

POLLIN, POLLOUT, POLLHUP = select.POLLIN, select.POLLOUT, select.POLLHUP


class Descriptor(Protocol):
    """Something to be polled."""

    def events(self) -> int:
        """What `poll` would say of it now."""


class Descriptors:
    """The descriptors of one process, by number. None of them is known to the operating system."""

    def __init__(self) -> None:
        self._numbers: Iterator[int] = count(3)
        self._open: dict[int, Descriptor] = {}

    def open(self, what: Descriptor) -> int:
        """Give it a number."""
        number = next(self._numbers)
        self._open[number] = what
        return number

    def close(self, number: int) -> None:
        """Forget it. Raises KeyError if that was done before."""
        del self._open[number]

    def events(self, number: int) -> int:
        """What happens there."""
        return self._open[number].events()

    def new_poll(self) -> SimulatedPoll:
        """In place of `select.poll`."""
        return SimulatedPoll(self)


class SimulatedPoll:
    """Says what is ready now. It never waits: simulated time does not pass in here."""

    def __init__(self, descriptors: Descriptors) -> None:
        self._descriptors = descriptors
        self._masks: dict[int, int] = {}

    def register(self, fd: int, eventmask: int, /) -> None:
        self._masks[fd] = eventmask | POLLHUP

    def poll(self, timeout: float = 0.0, /) -> list[tuple[int, int]]:
        seen = ((fd, self._descriptors.events(fd) & mask) for fd, mask in self._masks.items())
        return [(fd, events) for fd, events in seen if events]


class SimulatedSocket:
    """One end of a pair, non-blocking. What the other end has not read takes room."""

    def __init__(self, descriptors: Descriptors, room: int) -> None:
        self._descriptors = descriptors
        self._fileno = descriptors.open(self)
        self._room = room
        self._incoming = bytearray()
        self._reset = False
        self.closed = False
        self.peer: SimulatedSocket = self
        #: Called when there is something to read, or room to write.
        self.stirred: Callable[[], None] = _nothing
        #: Bytes that the other end has taken for good.
        self.delivered = 0

    def setblocking(self, flag: bool, /) -> None:
        """It never blocks."""

    def fileno(self) -> int:
        return self._fileno

    def events(self) -> int:
        readable = POLLIN if self._incoming or self.peer.closed else 0
        writable = POLLOUT if self.peer.closed or self._free() > 0 else 0
        return readable | writable | (POLLHUP if self.peer.closed else 0)

    def send(self, data: bytes | bytearray, /) -> int:
        if self.closed:
            raise OSError(errno.EBADF, "this end is closed")
        if self.peer.closed:
            raise BrokenPipeError("the other end is closed")
        if not (sent := min(len(data), self._free())):
            raise BlockingIOError("the other end does not read")
        self.peer._incoming += data[:sent]
        self.delivered += sent
        self.peer.stirred()
        return sent

    def recv(self, size: int, /) -> bytes:
        if self.closed:
            raise OSError(errno.EBADF, "this end is closed")
        if self._incoming:
            data = bytes(self._incoming[:size])
            del self._incoming[:size]
            self.peer.stirred()
            return data
        if self._reset:  # the other end was closed before it had read everything, which is told once
            self._reset = False
            raise ConnectionResetError("the other end has gone")
        if self.peer.closed:
            return b""
        raise BlockingIOError("there is nothing to read")

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._descriptors.close(self._fileno)
            self.peer._reset = bool(self._incoming)
            self.peer.stirred()

    @property
    def unread(self) -> bool:
        """Whether something can be read, be it the end."""
        return bool(self._incoming) or self.peer.closed or self.closed

    @property
    def writable(self) -> bool:
        """Whether there is room for a byte, or sending fails at once."""
        return self._free() > 0 or self.peer.closed or self.closed

    def _free(self) -> int:
        return self._room - len(self.peer._incoming)


def socket_pair(ours: Descriptors, theirs: Descriptors, room: int) -> tuple[SimulatedSocket, SimulatedSocket]:
    """Two ends, each in its own process. `room` bytes fit into either direction."""
    first, second = SimulatedSocket(ours, room), SimulatedSocket(theirs, room)
    first.peer, second.peer = second, first
    return first, second


class _Cells:
    """Numbers in memory that several processes see: whoever writes one sees it at once, the others a little later."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._numbers: dict[int, float] = {}
        #: What others still see, until when, and who does not.
        self._before: dict[int, tuple[float, float, object]] = {}

    def read(self, index: int, who: object) -> float:
        if index in self._before:
            old, until, writer = self._before[index]
            if writer is not who and self._monotonic() < until:
                return old
        return self._numbers.get(index, 0.0)

    def write(self, index: int, number: float, who: object) -> None:
        self._before[index] = (self._numbers.get(index, 0.0), self._monotonic() + LAG_S, who)
        self._numbers[index] = number

    def settle(self) -> None:
        self._before.clear()


class View:
    """The same numbers as one process sees them."""

    def __init__(self, cells: _Cells, who: object) -> None:
        self._cells = cells
        self._who = who

    def __getitem__(self, index: int, /) -> float:
        return self._cells.read(index, self._who)

    def __setitem__(self, index: int, number: float, /) -> None:
        self._cells.write(index, number, self._who)

    def settle(self) -> None:
        """All see the same."""
        self._cells.settle()


class SimulatedStarts(Starts):
    """One process's view of which tasks have started, and until when each may."""

    def __init__(self, started: View, until: View) -> None:
        self.started: View = started
        self.until: View = until

    def settle(self) -> None:
        """A system call: what was written before it is seen by all who hear of it."""
        self.started.settle()
        self.until.settle()


def shared_starts(monotonic: Callable[[], float]) -> tuple[SimulatedStarts, SimulatedStarts]:
    """The memory that a parent shares with a child, as each of them sees it."""
    started, until = _Cells(monotonic), _Cells(monotonic)
    parents, childs = (SimulatedStarts(View(started, who), View(until, who)) for who in ("parent", "child"))
    return parents, childs


def _nothing() -> None:
    """Nobody waits for it."""
