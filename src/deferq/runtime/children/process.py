"""One child as its parent sees it: what it was sent, what it said, and what its memory shows."""

from __future__ import annotations

import math
import select
import signal
import subprocess
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any, NamedTuple

from deferq.model.outcome import INTERRUPTED, SUCCEEDED, Outcome
from deferq.model.task import Leased, decode_options
from deferq.runtime.children.channel import Channel
from deferq.runtime.children.starts import PLACES, SEEN_AFTER_S, Starts
from deferq.runtime.children.system import NewPoll, Poll, Process
from deferq.runtime.children.wire import CANCEL, DONE, HELLO, IN_LOOP, LET_GO, STOP, TASKS, WORN, unpack_outcome
from deferq.runtime.coroutines import GRACE_S
from deferq.runtime.executor import timed_out
from deferq.runtime.pools import Finished, Lease
from deferq.runtime.settling import WORKER_DIED

#: Seconds after which a child is stuck that has a free thread and a task that has not started.
STUCK_S = 0.5


class Condition(StrEnum):
    """How a child fares."""

    #: It loads the application.
    STARTING = "starting"
    RUNNING = "running"
    #: It starts nothing although it could: something holds its interpreter lock, or it was stopped.
    STUCK = "stuck"
    #: It runs one suspect task, and takes no other.
    QUARANTINE = "quarantine"
    #: It gets no more tasks, and ends when those it has have ended.
    RETIRING = "retiring"


class _Sent(NamedTuple):
    """Tasks that were sent together."""

    at: float
    since: float
    tasks: Sequence[Leased]
    places: Sequence[int]


class ChildProcess:
    """The parent's hold on one child. None of its methods waits."""

    #: Whether it is none of those that share the work; see quarantined.py.
    apart = False

    def __init__(
        self, process: Process, channel: Channel, starts: Starts, now: float, new_poll: NewPoll = select.poll
    ) -> None:
        self.process = process
        self.pid = process.pid
        self.channel = channel
        self.condition = Condition.STARTING
        self.started_at = now
        #: What it said of itself.
        self.hello: Mapping[str, Any] = {}
        self.threads = self.async_slots = 0
        #: How many tasks it has finished.
        self.finished = 0
        #: When it is killed; a child that does not end by itself must not stay.
        self.kill_at = math.inf
        #: Why its parent killed it, as people are told; empty: it has not.
        self.killed_since = ""
        #: Why it is to be replaced; empty: it is not.
        self.why_retired = ""
        #: Why it thinks that it should be replaced; empty: it does not.
        self.worn = ""
        #: Monotonic time at which something was last heard of it.
        self.said_at = now
        #: Monotonic time at which it was found stuck, and whether that was soon after the time before.
        self.stuck_at, self.stuck_again = -math.inf, False
        #: Its listeners know that it is there.
        self.announced = False
        #: A task ran past its timeout there, so its parent ends it.
        self.condemned = False
        #: It was told to end.
        self.stopping = False
        #: It was ended by force, and is dead soon.
        self.killed = False
        #: That came from its parent alone: it still spoke, and none of its tasks is to blame.
        self.cut_off = False
        self._look_for_stuck_at = math.inf
        self._new_poll = new_poll
        self._open_books(starts)

    def _open_books(self, starts: Starts) -> None:
        """Of what it is given, and of what it has started."""
        self._starts = starts
        #: What it holds, by place.
        self._tasks: dict[int, Leased] = {}
        self._in_loop: set[int] = set()
        #: When those that went on to the event loop, and had not started when somebody looked, were said to.
        self._in_loop_since: dict[int, float] = {}
        #: Places whose start was forbidden at that time: whether it came too late is not known yet.
        self._forbidden: dict[int, float] = {}
        #: Places of tasks that were taken back; the child has yet to pass over them.
        self._taken_back: set[int] = set()
        self._free_places: list[int] = []
        self._places_used = 0
        self._sent: deque[_Sent] = deque()
        #: Seconds that the task at a place may take.
        self._timeouts: dict[int, float] = {}
        self._look_for_overdue_at = math.inf
        #: Places of tasks that ran past their timeout.
        self._late: set[int] = set()

    # ---- room

    @property
    def free(self) -> int:
        """How many more tasks it would start at once."""
        return max(0, min(self._idle_threads(), self.room)) if self.condition is Condition.RUNNING else 0

    @property
    def unstarted(self) -> int:
        """How many of its tasks wait for a slot."""
        return max(0, -self._idle_threads()) if self.condition is Condition.RUNNING else 0

    @property
    def room(self) -> int:
        """How many more tasks it can hold at all."""
        return PLACES - len(self._tasks) - len(self._taken_back)

    @property
    def holds(self) -> int:
        """How many tasks it has."""
        return len(self._tasks)

    def _idle_threads(self) -> int:
        """Free threads; less than 0: so many tasks wait. What waits in the loop counts against them."""
        in_loop = len(self._in_loop)
        return self.threads - (len(self._tasks) - in_loop) - max(0, in_loop - self.async_slots)

    def running(self) -> int:
        """How many of its tasks have started."""
        started = self._starts.started
        return sum(1 for place in self._tasks if started[place])

    # ---- tasks

    def send(self, tasks: Sequence[Leased], lease: Lease, now: float) -> None:
        """Hand tasks over."""
        places = [self._new_place() for _ in tasks]
        started, until = self._starts.started, self._starts.until
        for place in places:
            started[place] = 0.0
            until[place] = lease.until
        self.channel.send(TASKS, list(zip(places, map(tuple, tasks), strict=True)))
        # The child begins while the books are kept: nothing of what it says is read before.
        self._tasks.update(zip(places, tasks, strict=True))
        while self._sent and not self._unstarted_of(self._sent[0]):
            self._sent.popleft()
        self._sent.append(_Sent(now, lease.since, tasks, places))
        self._look_for_stuck_at = min(self._look_for_stuck_at, now + STUCK_S)
        for place, task in zip(places, tasks, strict=True):
            if task.options is not None:
                self._note_timeout(place, task, now)

    def receive(self, now: float) -> list[Finished]:
        """What it has finished since the last call."""
        finished: list[Finished] = []
        for kind, content in self.channel.receive():
            self.said_at = now
            if kind == DONE:
                self._done(content, finished)
            elif kind == IN_LOOP:
                self._went_on(content, now)
            elif kind == WORN:
                self.worn = content
            elif kind == HELLO:
                self._introduce(content)
        self.finished += len(finished)
        if self._forbidden:
            self._take_back(now, finished)
        return finished

    def withdraw(self, leased_before: float, now: float) -> None:
        """Forbid the start of what was leased before; what has not started is among what `receive` returns soon."""
        while self._sent and self._sent[0].since < leased_before:
            for place in self._unstarted_of(self._sent.popleft()):
                self._starts.until[place] = 0.0
                self._forbidden[place] = now

    def cancel(self, ids: Collection[int]) -> None:
        """Pass a cancellation on."""
        places = [place for place, task in self._tasks.items() if task.id in ids]
        if places:
            self.channel.send(CANCEL, places)

    def overdue(self, now: float) -> bool:
        """Whether a task runs past its timeout now; it is remembered which."""
        if now < self._look_for_overdue_at:
            return bool(self._late)
        ends = {place: self._ends_at(place, now) for place in self._timeouts if place not in self._late}
        self._late |= {place for place, end in ends.items() if end <= now}
        self._look_for_overdue_at = min((end for end in ends.values() if end > now), default=math.inf)
        return bool(self._late)

    def runs_only_late(self) -> bool:
        """Whether nothing else has started than what ran past its timeout."""
        started = self._starts.started
        return bool(self._late) and all(place in self._late for place in self._tasks if started[place])

    def is_stuck(self, now: float) -> bool:
        """Whether a task waits for a while although a thread is free, or a slot of the event loop."""
        if now < self._look_for_stuck_at:
            return False
        waits = any(self._waits_for_thread(sent) for sent in self._sent)
        started = self._starts.started
        self._in_loop_since = {place: at for place, at in self._in_loop_since.items() if not started[place]}
        self._look_for_stuck_at = now + STUCK_S if waits or self._in_loop_since else math.inf
        return self._loop_is_stuck(now) or (waits and self._threads_are_stuck(now))

    def _threads_are_stuck(self, now: float) -> bool:
        if now - max(self._sent[0].at, self.said_at) < STUCK_S:
            return False
        started = self._starts.started
        busy = sum(1 for place in self._tasks if started[place] and place not in self._in_loop)
        return busy < self.threads

    def _loop_is_stuck(self, now: float) -> bool:
        """A coroutine that never awaits holds up all others."""
        if now - min(self._in_loop_since.values(), default=now) < STUCK_S:
            return False
        started = self._starts.started
        begun = [at for place in self._in_loop if (at := started[place])]
        return len(begun) < self.async_slots and now - max(begun, default=-math.inf) >= STUCK_S

    @property
    def wakes_at(self) -> float:
        """Monotonic time at which something has to be looked at, whatever the child says."""
        soon = min(self._forbidden.values()) + SEEN_AFTER_S if self._forbidden else math.inf
        stuck_at = self._look_for_stuck_at if self.condition is Condition.RUNNING else math.inf
        return min(soon, stuck_at, self._look_for_overdue_at, self.kill_at)

    @property
    def pidfd(self) -> int | None:
        """Can be read once it is dead, where the system has such a thing."""
        return self.process.pidfd

    def watch(self, poll: Poll) -> None:
        """Let `poll` notice what it says, when it can hear again, and its death."""
        if not self.channel.closed:  # it would be readable all the time
            poll.register(self.channel.fileno(), select.POLLIN | (select.POLLOUT if self.channel.clogged else 0))
        if self.pidfd is not None:
            poll.register(self.pidfd, select.POLLIN)

    def await_word(self, timeout_s: float) -> None:
        """Wait until it says something, dies, or the time is over."""
        poll = self._new_poll()
        self.watch(poll)
        self.channel.readable = bool(poll.poll(timeout_s * 1000))

    def describe(self) -> dict[str, Any]:
        """What people are shown of it."""
        running = self.running()
        return {
            "pid": self.pid,
            "state": str(self.condition),
            "running": running,
            "tasks": self.finished,
            "rss": self.rss(),
        }

    # ---- its end

    def retire(self, why: str, now: float) -> None:
        """It gets no more tasks; what has not started is taken back."""
        if self.condition is not Condition.RETIRING:
            self.condition, self.why_retired = Condition.RETIRING, why
            self.withdraw(math.inf, now)

    def stop(self) -> None:
        """Nothing is left to do: let it end."""
        self.stopping = True
        self.channel.send(STOP, None)

    def end(self, timeout_s: float) -> None:
        """Wait until it has ended, and kill it if it has not by then."""
        try:
            self.channel.flush()
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
        self._close()

    def show_stacks(self) -> None:
        """Have it print what its threads are doing."""
        self.process.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        """End it now."""
        self.cut_off = self.cut_off or not (self.killed or self.channel.closed)
        self.killed = True
        self.process.kill()

    def is_dead(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    def hear_last_words(self, now: float) -> list[Finished]:
        """After its death: what it had reported, and nobody has heard yet."""
        self.channel.readable = True
        return self.receive(now)

    def bury(self, now: float, lost: Outcome = WORKER_DIED) -> list[Finished]:
        """After its death: what it had reported, what had started and so is lost, and what goes back unspent."""
        finished = self.hear_last_words(now)
        started = self._starts.started
        for place, task in self._tasks.items():
            if not started[place]:
                finished.append(Finished(task, INTERRUPTED))
            else:
                how = timed_out() if place in self._late else lost
                finished.append(Finished(task, how, int(max(0.0, now - started[place]) * 1e6)))
        self._tasks.clear()
        self._close()
        return finished

    def rss(self) -> int:
        """Bytes of memory it has; 0 where the system does not tell."""
        return self.process.rss()

    # ---- inside

    def _close(self) -> None:
        self.channel.close()
        self.process.close()

    def _new_place(self) -> int:
        if self._free_places:
            return self._free_places.pop()
        self._places_used += 1
        return self._places_used - 1

    def _introduce(self, hello: Mapping[str, Any]) -> None:
        self.hello = hello
        self.threads, self.async_slots = hello["threads"], hello["async_slots"]
        if self.condition is Condition.STARTING:
            self.condition = Condition.RUNNING

    def _done(self, reports: Sequence[tuple[int, int, tuple[Any, ...] | None]], finished: list[Finished]) -> None:
        tasks = self._tasks
        for place, duration_us, outcome in reports:
            task = tasks.pop(place, None)
            if task is None:
                self._taken_back.discard(place)
            elif place in self._late:
                finished.append(Finished(task, timed_out(), duration_us))
            else:
                how = SUCCEEDED if outcome is None else unpack_outcome(outcome)
                finished.append(Finished(task, how, duration_us))
        places = [report[0] for report in reports]
        self._free_places += places
        self._forget(places)

    def _went_on(self, places: Sequence[int], now: float) -> None:
        """To the event loop; where it is free, they start there at once."""
        for place in places:
            if place in self._tasks:
                self._in_loop.add(place)
                self._in_loop_since[place] = now
                self._look_for_stuck_at = min(self._look_for_stuck_at, now + STUCK_S)

    def _forget(self, places: Sequence[int]) -> None:
        if self._in_loop or self._late:
            self._in_loop.difference_update(places)
            self._late.difference_update(places)
        for notes in (self._timeouts, self._forbidden, self._in_loop_since):
            if notes:
                for place in places:
                    notes.pop(place, None)

    def _take_back(self, now: float, finished: list[Finished]) -> None:
        """What was forbidden a moment ago and has not started is ours again. The child has yet to give up its place."""
        before = len(self._taken_back)
        for place, since in list(self._forbidden.items()):
            if now < since + SEEN_AFTER_S:
                continue
            del self._forbidden[place]
            if not self._starts.started[place]:
                finished.append(Finished(self._tasks.pop(place), INTERRUPTED))
                self._taken_back.add(place)
                self._timeouts.pop(place, None)
                self._in_loop.discard(place)
                self._in_loop_since.pop(place, None)
        if len(self._taken_back) > before:
            self.channel.send(LET_GO, None)  # else it would hold them, and their places, as long as its slots are busy

    def _unstarted_of(self, sent: _Sent) -> list[int]:
        """Places may have been given to other tasks since."""
        started, tasks = self._starts.started, self._tasks
        return [
            place
            for place, task in zip(sent.places, sent.tasks, strict=True)
            if tasks.get(place) is task and not started[place]
        ]

    def _waits_for_thread(self, sent: _Sent) -> bool:
        return any(place not in self._in_loop for place in self._unstarted_of(sent))

    def _note_timeout(self, place: int, task: Leased, now: float) -> None:
        with suppress(Exception):  # options that cannot be read are the executor's to refuse
            timeout_s = decode_options(task.options).timeout_s
            if timeout_s is not None:
                self._timeouts[place] = timeout_s
                self._look_for_overdue_at = min(self._look_for_overdue_at, now + timeout_s)

    def _ends_at(self, place: int, now: float) -> float:
        """When its timeout is over; a coroutine is cancelled by its loop, and has a little longer to end."""
        started = self._starts.started[place] or now
        grace_s = GRACE_S if place in self._in_loop else 0.0
        return started + self._timeouts[place] + grace_s


__all__ = ["ChildProcess", "Condition"]
