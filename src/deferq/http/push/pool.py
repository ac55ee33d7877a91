"""A pool whose slots are requests under way: to start a task is to send it, its answer is what it came to.

Nothing runs in this process, so it cannot always know. A request that was sent and not answered may have run, or may
still. It is sent again until somebody says so: a handler takes a lease up once, in the store, and who comes second is
told that it is held. What is held elsewhere, and what nobody answers by its deadline, is let go: the lease is neither
ended here nor renewed any more.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from deferq.http.answers import Held
from deferq.http.push.exchange import Answer, Broken, Client, NotSent, Report, Request, Result, Take
from deferq.http.push.flow import Flow
from deferq.http.push.letters import Letters, Reading
from deferq.model.outcome import INTERRUPTED, Cancelled, ErrorText, Failed, Interrupted, Outcome
from deferq.model.task import Leased
from deferq.runtime.pools import Finished, Lease, Reports, Waiting, remove, take_back

_log = logging.getLogger("deferq")

Key = tuple[int, int]
#: While there is enough to send, answers are gathered for so many seconds: a turn costs the store as much for one task
#: as for many, and keeps handlers from taking leases up.
GATHER_S = 0.05
#: Seconds between two looks, at the least, at what is about to be taken.
LOOK_S = 0.001
#: A request whose connection broke so often is not sent again: it may be what breaks them, and while it is tried,
#: nothing else gets through.
BROKE_MAX = 5


class PushPool(Reports):
    """A Pool of requests to one base."""

    def __init__(
        self,
        name: str,
        letters: Letters,
        flow: Flow,
        make_client: Callable[[Take, Report], Client],
        *,
        wake: Callable[[], None],
        monotonic: Callable[[], float],
        on_start: Callable[[Leased], None] | None = None,
        on_trouble: Callable[[], None] | None = None,
    ) -> None:
        """`name` is what the log calls the base; `on_trouble` is called when the base begins to be in trouble."""
        super().__init__(wake)
        self._name = name
        self._letters = letters
        self._flow = flow
        self._monotonic = monotonic
        self._on_start = on_start
        self._on_trouble = on_trouble
        #: Held while the window, or what is under way, changes; never while anything waits.
        self._lock = threading.Lock()
        self._waiting: deque[Waiting] = deque()
        self._sent: dict[Key, Request] = {}
        #: Sent, not answered, and to be sent again.
        self._unsure: deque[Request] = deque()
        #: Places in the window of tasks whose requests are being written.
        self._writing = 0
        self._closed = False
        #: Monotonic time at which the dispatcher was last given what had finished.
        self._gathered_at = -math.inf
        self._client = make_client(self.take, self.report)

    # ---- for the dispatcher; see Pool

    def start(self, tasks: Sequence[Leased], lease: Lease) -> None:
        self._waiting.extend((task, lease, None) for task in tasks)
        self._client.wake(min(len(tasks), self._flow.window))

    def finished(self) -> list[Finished]:
        if self._gathers():
            self._dispatcher_rests = True
            return []
        return self._finished()

    def accepts(self) -> bool:
        return self._flow.open(self._monotonic()) and not self._flow.in_trouble

    def free(self) -> int:
        if not self._flow.open(self._monotonic()):
            return 0
        return max(0, self._flow.window - self.running() - self.unstarted())

    def unstarted(self) -> int:
        return len(self._waiting)

    def running(self) -> int:
        return len(self._sent) + len(self._unsure) + self._writing

    def abandoned(self) -> int:
        return 0

    def withdraw(self, leased_before: float | None = None) -> list[Leased]:
        return take_back(self._waiting, math.inf if leased_before is None else leased_before)

    def overdue(self, now: float) -> list[Finished]:
        if (self._waiting or self._unsure) and self._flow.open(now):
            self._client.wake(self._flow.window)  # those that found the base closed have gone to rest
        with self._lock:
            late = [request for request in (*self._sent.values(), *self._unsure) if request.let_go_at <= now]
            for request in late:
                self._forget(request)
        return [self._let_go(request, "nobody answered it by its deadline", now) for request in late]

    def next_overdue(self) -> float | None:
        now = self._monotonic()
        if not self._flow.open(now):
            return self._flow.until
        if self._unsure or self._waiting:
            return max(now + LOOK_S, self._gathered_at + GATHER_S)
        return None if not self._sent else self._next_let_go()

    def cancel(self, ids: Collection[int]) -> None:
        for task in remove(self._waiting, lambda entry: entry[0].id in ids):
            self._report(Finished(task, Cancelled()))
        with self._lock:
            unsure = [request for request in self._unsure if request.task.id in ids]
            for request in unsure:
                self._unsure.remove(request)
        now = self._monotonic()
        for request in unsure:  # whoever holds a lost one would run beside what is sent again
            self._report(self._let_go(request, "it was cancelled, or lost, before it was sent again", now))

    def kill(self) -> list[Finished]:
        with self._lock:
            self._closed = True
            under_way = [*self._sent.values(), *self._unsure]
            for request in under_way:
                self._forget(request)
        now = self._monotonic()
        return [self._let_go(request, "the process that pushed it has stopped", now) for request in under_way]

    def close(self, timeout_s: float) -> None:
        self._closed = True
        self._wake_nobody()
        self._client.close(timeout_s)

    # ---- for the client, in its threads

    def take(self) -> Request | None:
        """What to send next; None: nothing now."""
        while True:
            found = self._next()
            if found is None or isinstance(found, Request):
                return found
            request = self._written(found)
            if request is not None:
                return request

    def report(self, request: Request, result: Result) -> None:
        """What came of it."""
        now = self._monotonic()
        with self._lock:
            if self._sent.pop(_key(request.task), None) is None:
                return  # nobody waits for it any more
            finished, trouble, after_s = self._judged(request, result, now)
            changed = self._changed(request, trouble, after_s, now, answered=isinstance(result, Answer))
            if finished is None:
                self._unsure.append(request)
            else:
                self._done.append(finished)
            roused = self._flow.window - len(self._sent) - 1 if self._waiting else 0
        if changed:
            self._announce(trouble)
        if self._flow.recovering and roused > 0:
            self._client.wake(roused)
        self._call_dispatcher()

    # ---- inside

    def _next(self) -> Request | Waiting | None:
        now = self._monotonic()
        with self._lock:
            if self._closed or not self._flow.open(now) or len(self._sent) + self._writing >= self._flow.window:
                return None
            if self._unsure:
                request = self._unsure.popleft()
                self._sent[_key(request.task)] = request
                self._letters.renew(request, now)
                return request
            with suppress(IndexError):
                entry = self._waiting.popleft()
                self._writing += 1
                return entry
            return None

    def _written(self, entry: Waiting) -> Request | None:
        """The request of a task that may begin; None: it does not begin."""
        task, lease, _ = entry
        now = self._monotonic()
        written = self._letters.write(task, now) if lease.begin(now) else INTERRUPTED
        with self._lock:
            self._writing -= 1
            if isinstance(written, Request):
                self._sent[_key(task)] = written
        if not isinstance(written, Request):
            self._report(Finished(task, written))
            return None
        if self._on_start is not None:
            self._on_start(task)
        return written

    def _judged(self, request: Request, result: Result, now: float) -> tuple[Finished | None, str, float | None]:
        """What the task came to (None: nobody knows yet), what is wrong with the base, and when it may be asked."""
        if isinstance(result, NotSent):
            if request.unsure:
                return None, result.why, None
            back = Interrupted(reason=f"not reached: {result.why}")
            return Finished(request.task, back), result.why, None
        if isinstance(result, Broken):
            request.broke += 1
            return self._again(request, f"the connection broke: {result.why}", now), result.why, None
        try:
            reading = self._letters.read(request, result)
        except Exception as error:  # a thread that is struck here would take its task along
            reading = Reading(None, f"its answer cannot be read ({type(error).__name__})")
        if reading.outcome is None or (request.unsure and isinstance(reading.outcome, Interrupted) and reading.trouble):
            return self._again(request, reading.trouble, now), reading.trouble, reading.after_s
        if isinstance(reading.outcome, Held):
            return self._let_go(request, "its handler has taken it up, and died or was cut off", now), "", None
        return self._ended(request, reading.outcome, now), reading.trouble, reading.after_s

    def _ended(self, request: Request, outcome: Outcome, now: float) -> Finished:
        return Finished(request.task, outcome, int((now - request.started) * 1e6))

    def _again(self, request: Request, why: str, now: float) -> Finished | None:
        """Send it again, since only who takes the lease up runs it.

        Views that take deliveries by themselves do not. There, what may be started once is not sent twice.
        """
        once = request.task.url is not None and request.task.retry.max_attempts == 1
        if once or request.broke >= BROKE_MAX:
            return self._let_go(request, why, now)
        request.unsure = True
        return None

    def _let_go(self, request: Request, why: str, now: float) -> Finished:
        text = ErrorText(error_type="WorkerLost", message=f"It was pushed to {self._name}, and {why}.")
        outcome = Failed(error=text, reason="worker lost")
        return Finished(request.task, outcome, int((now - request.started) * 1e6), let_go=True)

    def _changed(self, request: Request, trouble: str, after_s: float | None, now: float, *, answered: bool) -> bool:
        """Whether the base has come into trouble, or out of it."""
        if not trouble:
            return self._flow.went_well()
        return self._flow.slow_down(request.sent_at, now, after_s, answered=answered)

    def _announce(self, trouble: str) -> None:
        if not trouble:
            _log.info("push: %s answers again", self._name)
            return
        _log.warning("push: %s is in trouble: %s; trying again, at least once a minute", self._name, trouble)
        if self._on_trouble is not None:
            self._on_trouble()

    def _forget(self, request: Request) -> None:
        if self._sent.pop(_key(request.task), None) is not None:
            self._client.drop(request)
        else:
            self._unsure.remove(request)

    def _next_let_go(self) -> float | None:
        with self._lock:
            return min((request.let_go_at for request in self._sent.values()), default=None)

    def _gathers(self) -> bool:
        """Whether the dispatcher may well wait for more answers."""
        now = self._monotonic()
        if len(self._waiting) > self._flow.window and now < self._gathered_at + GATHER_S:
            return True
        self._gathered_at = now
        return False

    def _call_dispatcher(self) -> None:
        if len(self._waiting) <= self._flow.window:
            super()._call_dispatcher()


def _key(task: Leased) -> Key:
    return task.id, task.lease_id
