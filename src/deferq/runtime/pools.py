"""Where attempts run, as a dispatcher sees it: threads, child processes, or a simulation of either."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from deferq.codec.codec import Invocation
from deferq.model.outcome import Outcome
from deferq.model.task import Leased


class Permit(Protocol):
    """What a pool knows of a task's lease, and asks before it starts the task."""

    @property
    def since(self) -> float:
        """Monotonic time before the turn was sent."""

    @property
    def until(self) -> float:
        """Monotonic time after which a task of this lease must not be started."""

    def begin(self, now: float) -> bool:
        """The task is about to start; whether it may."""

    def put_off(self) -> None:
        """It has not started after all: it waits for a slot."""


class Lease:
    """What a dispatcher believes about the tasks of one turn."""

    __slots__ = ("since", "until")

    def __init__(self, since: float, until: float) -> None:
        #: Monotonic time before the turn was sent.
        self.since = since
        #: Monotonic time after which a task of this lease must not be started; renewal moves it.
        self.until = until

    def begin(self, now: float) -> bool:
        return now < self.until

    def put_off(self) -> None:
        """Nobody has written its start down."""


class Finished(NamedTuple):
    """A task that left the pool."""

    task: Leased
    outcome: Outcome
    #: How long user code ran.
    duration_us: int = 0
    #: It may still run where this pool does not see it. Whoever runs it settles it; the outcome counts only if nobody
    #: has when the lease is over.
    let_go: bool = False


class Reports:
    """What has finished in a pool, and the dispatcher, who may be asleep when something does."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._done: deque[Finished] = deque()
        #: Whether the dispatcher found nothing finished, and may be asleep.
        self._dispatcher_rests = False

    def _report(self, finished: Finished) -> None:
        self._done.append(finished)
        self._call_dispatcher()

    def _call_dispatcher(self) -> None:
        if self._dispatcher_rests:
            self._dispatcher_rests = False
            self._wake()

    def _finished(self) -> list[Finished]:
        done = self._drain()
        if not done:
            self._dispatcher_rests = True
            done = self._drain()  # something may have finished before its thread could see the flag
        return done

    def _drain(self) -> list[Finished]:
        done = []
        with suppress(IndexError):
            while True:
                done.append(self._done.popleft())
        return done

    def _wake_nobody(self) -> None:
        """What ends later, a thread that was abandoned say, finds no dispatcher and no bell any more."""
        self._wake = _nobody


def _nobody() -> None:
    """There is no dispatcher to wake any more."""


class Pool(Protocol):
    """What a dispatcher asks for. Only the dispatcher calls these methods, from one thread, and none of them waits."""

    def start(self, tasks: Sequence[Leased], lease: Lease) -> None:
        """Take tasks over and start each as soon as a slot is free, unless the lease is over by then."""

    def finished(self) -> list[Finished]:
        """What has finished since the last call. After an empty answer the next one to finish wakes the dispatcher."""

    def accepts(self) -> bool:
        """Whether it could run anything at all now."""

    def free(self) -> int:
        """How many more tasks would start at once."""

    def unstarted(self) -> int:
        """How many tasks wait for a slot."""

    def running(self) -> int:
        """How many tasks have started and not finished."""

    def abandoned(self) -> int:
        """How many attempts could not be ended at their timeout and still run."""

    def withdraw(self, leased_before: float | None = None) -> list[Leased]:
        """Take back what has not started: what was leased before that monotonic time, or all of it.

        What comes back only a moment later is among the next `finished`, as interrupted.
        """

    def overdue(self, now: float) -> list[Finished]:
        """Give up on what runs past its timeout, and return it as timed out, or soon among the next `finished`."""

    def next_overdue(self) -> float | None:
        """Monotonic time at which `finished` or `overdue` has something to do by itself; None: only if a task ends."""

    def cancel(self, ids: Collection[int]) -> None:
        """Do not start these tasks, cancel them if they are coroutines, and tell them if they are not."""

    def kill(self) -> list[Finished]:
        """End by force what still runs, where that can be done, and return it. The last call before `close`."""

    def close(self, timeout_s: float) -> None:
        """End what can be ended within `timeout_s`. The only method that waits."""


#: A task that waits for a slot; it has its invocation once it is decoded. A bare tuple: there is one for every task.
Waiting = tuple[Leased, Permit, Invocation | None]


def take_back(waiting: deque[Waiting], leased_before: float) -> list[Leased]:
    """Remove what was leased before that time from a deque, in order of leasing, that threads take from meanwhile."""
    back = []
    with suppress(IndexError):
        while waiting[0][1].since < leased_before:
            entry = waiting.popleft()
            if entry[1].since >= leased_before:  # a thread took the one we looked at
                waiting.appendleft(entry)
                break
            back.append(entry[0])
    return back


def remove(waiting: deque[Waiting], unwanted: Callable[[Waiting], bool]) -> list[Leased]:
    """Remove what is unwanted from a deque that threads take from meanwhile."""
    removed = []
    with suppress(IndexError):
        for _ in range(len(waiting)):  # each passes once; those that stay keep their order
            entry = waiting.popleft()
            if unwanted(entry):
                removed.append(entry[0])
            else:
                waiting.append(entry)
    return removed


def end_if_forked(pid: int) -> None:
    """End a child that user code forked and let come back: what waits here, it would run a second time."""
    if os.getpid() != pid:
        os._exit(1)
