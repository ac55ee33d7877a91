"""A child as its parent sees it, played by the test: a real socket and real shared memory, and no process."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from typing import Any

from deferq.model.outcome import Outcome
from deferq.model.task import Leased
from deferq.runtime.children.channel import Channel
from deferq.runtime.children.process import ChildProcess
from deferq.runtime.children.starts import SEEN_AFTER_S, Place, Starts, shared_memory
from deferq.runtime.children.wire import DONE, HELLO, IN_LOOP, Frame, Reader, pack, pack_outcome
from deferq.runtime.pools import Lease

#: A little more than the time after which a withdrawal is certain.
SOON_S = 1.5 * SEEN_AFTER_S


def leased(number: int, lease_id: int = 1, **changes: Any) -> Leased:
    task = Leased(
        id=number, queue="default", target="app:work", priority=0, eta=0, attempts=0, starts=1, parks=0,
        expires_at=None, name=None, route=None, url=None, options=None, payload=b"", first_due=0,
        lease_id=lease_id, leased_until=0, cancel_requested=False,
    )  # fmt: skip
    return task._replace(**changes)


class FakeProcess:
    """What `subprocess.Popen` would be. Its pid is ours: it must belong to something alive."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.pidfd: int | None = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else None
        self.returncode: int | None = None
        self.waits_in_vain = 0

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.waits_in_vain += 1
            raise subprocess.TimeoutExpired("child", timeout or 0.0)
        return self.returncode

    def kill(self) -> None:
        self.returncode = -9

    def send_signal(self, sig: int) -> None: ...

    def rss(self) -> int:
        return 0

    def close(self) -> None:
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None


class FakeChild:
    """The other end. `parents` is the object under test."""

    def __init__(self, now: float = 100.0, *, threads: int = 2, async_slots: int = 2, store: str = "store") -> None:
        ours, self.end = socket.socketpair()
        self.end.setblocking(False)
        memory = shared_memory()
        self.process = FakeProcess()
        self.parents = ChildProcess(self.process, Channel(ours), Starts(memory), now)
        self.starts = Starts(memory)
        os.close(memory)
        self._reader = Reader()
        self._hello = {"threads": threads, "async_slots": async_slots, "store": store}

    def introduce(self, now: float = 100.0) -> FakeChild:
        self.say(HELLO, self._hello)
        self.parents.receive(now)
        return self

    def say(self, kind: str, content: Any) -> None:
        self.parents.channel.readable = True  # as whoever polls would notice
        self.end.setblocking(True)
        self.end.sendall(pack(kind, content))
        self.end.setblocking(False)

    def hear(self) -> list[Frame]:
        """What the parent has sent since the last call."""
        frames: list[Frame] = []
        try:
            while data := self.end.recv(1 << 20):
                frames += self._reader.feed(data)
        except BlockingIOError:
            pass
        return frames

    def places(self) -> dict[tuple[int, int], int]:
        """Where the tasks of the frames just heard stand, by task and lease."""
        rows = [row for kind, content in self.hear() if kind == "tasks" for row in content]
        return {(Leased._make(task).id, Leased._make(task).lease_id): place for place, task in rows}

    def start(self, place: int, now: float) -> bool:
        """What a thread of the child does first."""
        return Place(self.starts, place, now).begin(now)

    def done(self, place: int, outcome: Outcome, duration_us: int = 0) -> None:
        self.say(DONE, [(place, duration_us, pack_outcome(outcome))])

    def in_loop(self, *places: int) -> None:
        self.say(IN_LOOP, list(places))

    def die(self, code: int = -9) -> None:
        self.hang_up()
        self.process.returncode = code

    def hang_up(self) -> None:
        self.parents.channel.readable = True
        self.end.close()


def give(child: FakeChild, tasks: Sequence[Leased], now: float = 100.0, until: float = 130.0) -> dict[int, int]:
    """Send tasks to a child; returns their places by id."""
    child.parents.send(tasks, Lease(now, until), now)
    return {task_id: place for (task_id, _), place in child.places().items()}
