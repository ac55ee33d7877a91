"""A simulated child: what `ChildThreads` does in threads it does step by step, and things go wrong between the steps.

It speaks with its parent in real frames and writes its starts into shared memory by the real `Place`. It may load the
application slowly or not at all, be deaf, hold its interpreter lock, hang up, and die between any two steps: before
it writes a start, after it, before it looks whether it may, before it reports, and in the middle of a frame.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from deferq.model.outcome import INTERRUPTED, Cancelled, Outcome
from deferq.model.task import Leased, decode_options
from deferq.runtime.children.starts import Place
from deferq.runtime.children.wire import CANCEL, DONE, HELLO, IN_LOOP, LET_GO, STOP, TASKS, Reader, pack, pack_outcome
from deferq.runtime.executor import timed_out
from deferq.testing.simulate.books import Books
from deferq.testing.simulate.plumbing import SimulatedSocket, SimulatedStarts

#: How a process may end that nobody asked to: SIGKILL, SIGSEGV, os._exit(0), sys.exit(1).
_CODES = (-9, -9, -11, 0, 1)
_TIMED_OUT = timed_out()


class Given(NamedTuple):
    """A task that the parent has sent."""

    task: Leased
    place: Place


@dataclass(slots=True)
class Attempt:
    """User code under way."""

    given: Given
    started: float
    ends_at: float
    outcome: Outcome
    in_loop: bool = False
    timeout_s: float | None = None
    #: When the parent came by first after its timeout was over.
    seen_late_at: float = math.inf


class Fortune(NamedTuple):
    """What a child asks of the world around it."""

    monotonic: Callable[[], float]
    chance: random.Random
    #: Whether a fault of that probability happens now.
    fault: Callable[[float], bool]
    #: The user's code begins: how many seconds it takes, and how it ends.
    begin: Callable[[Leased], tuple[float, Outcome]]
    books: Books


class _End(Exception):
    """The process ends."""

    def __init__(self, code: int) -> None:
        self.code = code


class SimulatedChild:
    """The other end of a parent's `ChildProcess`."""

    def __init__(
        self,
        fortune: Fortune,
        end: SimulatedSocket,
        starts: SimulatedStarts,
        hello: dict[str, Any],
        *,
        loads_s: float,
        healthy: bool = False,
    ) -> None:
        """It takes `loads_s` seconds to load the application; nothing happens to a healthy one before it has."""
        self._fortune = fortune
        self._chance, self._fault = fortune.chance, fortune.fault
        self._socket = end
        end.stirred = self._stir
        self._starts = starts
        self._hello = hello
        self._reader = Reader()
        self._outgoing = bytearray()
        #: Reports on their way: they are whole once so many bytes have been delivered.
        self._reports: deque[tuple[int, list[tuple[Leased, Outcome]]]] = deque()
        self._said = 0
        self._waiting: deque[Given] = deque()
        #: They have written their start, and have yet to look whether they may: when they look.
        self._marked: list[tuple[float, float, Given]] = []
        self._loop: deque[Given] = deque()
        self.attempts: list[Attempt] = []
        self._done: list[tuple[Given, int, Outcome]] = []
        self._hears_at = self._reports_at = self._deaf_until = -math.inf
        self._stuck_until = fortune.monotonic() + loads_s
        self._introduced = self._stopping = False
        self._healthy = healthy
        #: When it was sent tasks while it held its interpreter lock.
        self.fed_in_vain: list[float] = []
        #: Exit code; None: it lives.
        self.code: int | None = None
        self.dies_at = math.inf
        self.killed = False
        self._dies_of = -9
        #: Bytes of memory.
        self.rss = 50_000_000

    # ---- for the world

    def next_at(self) -> float:
        """Monotonic time at which it does something next."""
        if self.code is not None:
            return math.inf
        times = [attempt.ends_at for attempt in self.attempts]
        times += [looks_at for looks_at, _, _ in self._marked]
        if self._socket.unread and not self._outgoing:
            times.append(max(self._hears_at, self._deaf_until))
        if self._outgoing and self._socket.writable:
            times.append(self._hears_at)
        if self._done and not self._outgoing:
            times.append(self._reports_at)
        if not self._introduced or self._stopping:
            times.append(self._stuck_until)
        return min(self.dies_at, max(self._stuck_until, min(times, default=math.inf)))

    def step(self) -> None:
        """Do what is to be done now."""
        now = self._fortune.monotonic()
        if self.code is None and now >= self.dies_at:
            self.die(self._dies_of)
        if self.code is not None or now < self._stuck_until:
            return
        try:
            self._live(now)
        except _End as end:
            self.die(end.code)

    def die(self, code: int) -> None:
        """The process is gone, and with it all it held."""
        self.code = code
        self.attempts.clear()
        self._marked.clear()
        self._waiting.clear()
        self._loop.clear()
        self._starts.settle()
        self._socket.close()

    def kill(self) -> None:
        """SIGKILL: it may go on for a moment on another processor."""
        self.killed = True
        after_s = self._chance.choice((0.0, 0.0, 0.004))
        self.dies_at, self._dies_of = min(self.dies_at, self._fortune.monotonic() + after_s), -9
        if not after_s:
            self.die(-9)

    @property
    def stuck(self) -> bool:
        """Whether something holds its interpreter lock."""
        return self._introduced and not self._stopping and self._fortune.monotonic() < self._stuck_until

    def may_start(self) -> list[Given]:
        """What it has, and has not looked yet whether it may start it."""
        return [*self._waiting, *self._loop, *(given for _, _, given in self._marked)]

    def be_quick(self, seconds: float) -> None:
        """One of its threads becomes free now, or so much later."""
        if self.attempts:
            attempt = self._chance.choice(self.attempts)
            attempt.ends_at = min(attempt.ends_at, self._fortune.monotonic() + seconds)

    # ---- its life

    def _live(self, now: float) -> None:
        if not self._introduced:
            self._introduce(now)
        self._flush()
        if now >= max(self._hears_at, self._deaf_until) and not self._outgoing:
            self._hear(now)
        self._end_attempts(now)
        self._look(now)
        self._start(now)
        self._fill_loop(now)
        if self._done and now >= self._reports_at and not self._outgoing:
            self._report()
        if self._stopping and not self._outgoing:
            raise _End(0)

    def _introduce(self, now: float) -> None:
        self._introduced = True
        if self._healthy:
            self._outgoing += pack(HELLO, self._hello)
            self._said = len(self._outgoing)
            return
        self._perhaps_die(0.1)
        if self._fault(0.03):  # it was stopped, or the machine is slow
            self._deaf_until = now + self._chance.choice((0.3, 3.0))
        self._say(pack(HELLO, self._hello))

    def _perhaps_die(self, probability: float = 0.002) -> None:
        if self._fault(probability):
            raise _End(self._chance.choice(_CODES))

    def _stir(self) -> None:
        """The parent has said or taken something."""
        if self.code is None:
            self._hears_at = self._fortune.monotonic() + self._chance.choice((0.0, 0.0001, 0.005))

    # ---- hearing

    def _hear(self, now: float) -> None:
        if not self._socket.unread:
            return
        try:
            data = self._socket.recv(256 * 1024)
        except OSError:
            data = b""
        if not data:
            raise _End(1)  # its parent is dead
        self._starts.settle()
        for kind, content in self._reader.feed(data):
            self._perhaps_die()
            self._obey(kind, content, now)
        if self._fault(0.01):
            self._deaf_until = now + self._chance.choice((0.05, 1.0, 5.0))

    def _obey(self, kind: str, content: Any, now: float) -> None:
        if kind == TASKS:
            given = (Given(Leased._make(row), Place(self._starts, index, now)) for index, row in content)
            self._waiting.extend(given)
        elif kind == CANCEL:
            self._cancel(set(content), now)
        elif kind == LET_GO:
            for waiting in (self._waiting, self._loop):
                self._put_aside(waiting, lambda given: given.place.until == 0.0, INTERRUPTED, now)
        elif kind == STOP:
            self._stopping = True
            self._stuck_until = now + self._chance.choice((0.0, 0.01, 0.5)) + 20.0 * self._fault(0.02)

    def _cancel(self, indexes: set[int], now: float) -> None:
        given = [*self.may_start(), *(attempt.given for attempt in self.attempts)]
        ids = {one.task.id for one in given if one.place.index in indexes}
        for waiting in (self._waiting, self._loop):
            self._put_aside(waiting, lambda one: one.task.id in ids, Cancelled(), now)
        for attempt in self.attempts:
            if attempt.given.task.id in ids and (attempt.in_loop or attempt.given.task.id % 2):
                attempt.ends_at, attempt.outcome = now, Cancelled()

    def _put_aside(self, waiting: deque[Given], unwanted: Callable[[Given], bool], how: Outcome, now: float) -> None:
        for given in [given for given in waiting if unwanted(given)]:
            waiting.remove(given)
            self._end(given, 0, how, now)

    # ---- running

    def _start(self, now: float) -> None:
        """Each free thread takes a task: it writes the start, and then looks whether it may."""
        while self._waiting and self._busy() < self._hello["threads"] and not self._stopping:
            given = self._waiting.popleft()
            self._perhaps_die()
            self._starts.started[given.place.index] = now
            self._fortune.books.mark(given.task)
            self._perhaps_die(0.005)
            pause = self._chance.choice((0.0005, 0.0015, 0.1, 3.0)) if self._fault(0.1) else 0.0
            self._marked.append((now + pause, now, given))
            self._look(now)

    def _busy(self) -> int:
        return len(self._marked) + sum(not attempt.in_loop for attempt in self.attempts)

    def _look(self, now: float) -> None:
        for entry in [entry for entry in self._marked if entry[0] <= now]:
            self._marked.remove(entry)
            _, marked_at, given = entry
            if not given.place.begin(marked_at) or now >= given.place.until:
                self._end(given, 0, INTERRUPTED, now)
            elif given.task.id % 3 == 0:
                self._send_to_loop(given)
            else:
                self._begin(given, now, in_loop=False)

    def _send_to_loop(self, given: Given) -> None:
        """It is a coroutine."""
        given.place.put_off()
        self._perhaps_die()
        self._say(pack(IN_LOOP, [given.place.index]))
        self._loop.append(given)

    def _fill_loop(self, now: float) -> None:
        while self._loop and sum(attempt.in_loop for attempt in self.attempts) < self._hello["async_slots"]:
            given = self._loop.popleft()
            if given.place.begin(now):
                self._fortune.books.mark(given.task)
                self._perhaps_die()
                self._begin(given, now, in_loop=True)
            else:
                self._end(given, 0, INTERRUPTED, now)

    def _begin(self, given: Given, now: float, *, in_loop: bool) -> None:
        """The user's code runs, and does what it likes."""
        seconds, outcome = self._fortune.begin(given.task)
        timeout_s = decode_options(given.task.options).timeout_s
        if in_loop and timeout_s is not None and timeout_s < seconds and not self._fault(0.3):
            seconds, outcome = timeout_s, _TIMED_OUT
        self.attempts.append(Attempt(given, now, now + seconds, outcome, in_loop, timeout_s))
        if self._fault(0.1):
            self._misbehave(now, now + seconds)
        elif given.task.id % 3 == 1 and self._fault(0.2):
            self._say(pack(IN_LOOP, [given.place.index]))  # what a plain function began goes on in the loop
            self.attempts[-1].in_loop = True

    def _misbehave(self, now: float, ends_at: float) -> None:
        match self._chance.randrange(5):
            case 0:
                self.dies_at, self._dies_of = self._chance.uniform(now, ends_at), self._chance.choice(_CODES)
            case 1:
                self._stuck_until = ends_at  # it holds the interpreter lock
                self.fed_in_vain = []
            case 2:
                self.rss += 10**9
            case 3:
                self._deaf_until = ends_at
            case _:
                self._socket.close()  # it closes descriptors that are not its own
                self._hears_at = now + self._chance.choice((0.0, 1.0, 30.0))

    # ---- reporting

    def _end_attempts(self, now: float) -> None:
        for attempt in [attempt for attempt in self.attempts if attempt.ends_at <= now]:
            self.attempts.remove(attempt)
            self._end(attempt.given, int((now - attempt.started) * 1e6), attempt.outcome, now)
            self._perhaps_die()

    def _end(self, given: Given, duration_us: int, outcome: Outcome, now: float) -> None:
        if not self._done:
            self._reports_at = now + self._chance.choice((0.0, 0.0, 0.01))
        self._done.append((given, duration_us, outcome))

    def _report(self) -> None:
        done, self._done = self._done, []
        self._perhaps_die()
        frame = pack(DONE, [(given.place.index, us, pack_outcome(outcome)) for given, us, outcome in done])
        self._reports.append((self._said + len(frame), [(given.task, outcome) for given, _, outcome in done]))
        self._say(frame)
        self._perhaps_die(0.02)

    def _say(self, frame: bytes) -> None:
        self._said += len(frame)
        self._outgoing += frame
        if self._fault(0.003):
            del self._outgoing[self._chance.randrange(len(self._outgoing)) :]
            self._flush()
            raise _End(self._chance.choice(_CODES))
        self._flush()

    def _flush(self) -> None:
        if self._outgoing:
            self._starts.settle()
            try:
                del self._outgoing[: self._socket.send(self._outgoing)]
            except BlockingIOError:
                pass
            except OSError:
                raise _End(1) from None
        while self._reports and self._reports[0][0] <= self._socket.delivered:
            for task, outcome in self._reports.popleft()[1]:
                self._fortune.books.report(task, outcome)
