"""The pool of threads in this process.

Threads take tasks from one shared deque, so a slow task holds up nobody, and a hand-over costs no lock, no future and
no system call: a lock is taken where tasks arrive and where a thread has nothing to do. Coroutines go to an event loop
beside the threads.

No thread can be killed. One that runs past its task's timeout is abandoned: the attempt counts as timed out, another
thread takes its place, and whatever it still brings is dropped.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from threading import Thread  # by its name: tasks patch modules

from deferq.codec.codec import Invocation
from deferq.current import CurrentTask
from deferq.errors import ForkedEngineError
from deferq.model.outcome import INTERRUPTED, Cancelled
from deferq.model.task import Leased
from deferq.runtime.coroutines import Coroutines
from deferq.runtime.executor import Awaiting, Executor, outcome_of, timed_out
from deferq.runtime.pools import Finished, Lease, Permit, Reports, Waiting, end_if_forked, remove, take_back

_NUMBERS = itertools.count(1)


class _Attempt:
    """User code that runs in a thread. It ends once: by itself or by its timeout, whichever comes first."""

    __slots__ = ("_open", "current", "started", "task")

    def __init__(self, task: Leased, current: CurrentTask, started: float) -> None:
        self.task = task
        self.current = current
        self.started = started
        self._open = [None]

    def end(self) -> bool:
        """Whether the caller is the one to say how it ended. Two threads may ask at the same moment."""
        try:
            self._open.pop()
        except IndexError:
            return False
        return True


class _Slot:
    """One thread and what it does."""

    __slots__ = ("abandoned", "attempt", "busy", "task", "thread")

    def __init__(self) -> None:
        self.thread: Thread | None = None
        self.busy = False
        #: What it has taken and not accounted for yet.
        self.task: Leased | None = None
        #: While user code runs.
        self.attempt: _Attempt | None = None
        #: Whether its task ran out of time; the thread ends when that task does.
        self.abandoned = False


class ThreadPool(Reports):
    """A Pool of threads, with an event loop for coroutines beside them. It belongs to the process that made it."""

    def __init__(
        self,
        executor: Executor,
        *,
        threads: int,
        async_slots: int,
        wake: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
        on_start: Callable[[Leased], None] | None = None,
    ) -> None:
        super().__init__(wake)
        self._executor = executor
        self._threads = threads
        self._monotonic = monotonic
        self._on_start = on_start
        self._pid = os.getpid()
        self._waiting: deque[Waiting] = deque()
        self._work_came = threading.Condition()
        self._closed = False
        self._slots: list[_Slot] = []
        self._given_up: list[_Slot] = []
        self._coroutines = Coroutines(
            executor,
            slots=async_slots,
            report=self._report,
            room_made=self._call_dispatcher,
            monotonic=monotonic,
            on_start=on_start,
        )

    # ---- for the dispatcher; see Pool

    def start(self, tasks: Sequence[Leased], lease: Lease) -> None:
        if os.getpid() != self._pid:
            raise ForkedEngineError("a pool of threads was used after a fork; start a new worker in the child.")
        self._start_threads()
        self._offer([(task, lease, None) for task in tasks])

    def finished(self) -> list[Finished]:
        return self._finished()

    def accepts(self) -> bool:
        return True

    def free(self) -> int:
        busy = sum(slot.busy for slot in self._slots)
        return max(0, self._threads - busy - self.unstarted())

    def unstarted(self) -> int:
        return len(self._waiting) + self._coroutines.unstarted()

    def running(self) -> int:
        return sum(slot.busy for slot in self._slots) + self._coroutines.running()

    def abandoned(self) -> int:
        self._given_up = [slot for slot in self._given_up if slot.thread is not None and slot.thread.is_alive()]
        return len(self._given_up) + self._coroutines.given_up()

    def withdraw(self, leased_before: float | None = None) -> list[Leased]:
        before = math.inf if leased_before is None else leased_before
        back = take_back(self._waiting, before) + self._coroutines.withdraw(before)
        self._call_threads()
        return back

    def overdue(self, now: float) -> list[Finished]:
        late = []
        for slot in self._slots.copy():
            attempt = slot.attempt
            if attempt is None or (ends_at := attempt.current.ends_at) is None or ends_at > now or not attempt.end():
                continue
            attempt.current.cancel()  # it may look, and end
            self._abandon(slot)
            late.append(Finished(attempt.task, timed_out(), int((now - attempt.started) * 1e6)))
        return late + self._coroutines.overdue(now)

    def next_overdue(self) -> float | None:
        running = [attempt.current.ends_at for slot in self._slots if (attempt := slot.attempt)]
        ends = [ends_at for ends_at in running if ends_at is not None]
        if (coroutine := self._coroutines.next_overdue()) is not None:
            ends.append(coroutine)
        return min(ends, default=None)

    def cancel(self, ids: Collection[int]) -> None:
        for slot in self._slots:
            if (attempt := slot.attempt) is not None and attempt.task.id in ids:
                attempt.current.cancel()
        for task in remove(self._waiting, lambda entry: entry[0].id in ids):
            self._report(Finished(task, Cancelled()))
        self._call_threads()
        self._coroutines.cancel(ids)

    def kill(self) -> list[Finished]:
        return []  # no thread can be killed; what it runs keeps its lease

    def close(self, timeout_s: float) -> None:
        self._closed = True
        self._wake_nobody()
        with self._work_came:
            self._work_came.notify_all()
        until = self._monotonic() + timeout_s
        for slot in self._slots:
            if slot.thread is not None and not slot.busy:
                slot.thread.join(max(0.0, until - self._monotonic()))
        self._coroutines.close(max(0.0, until - self._monotonic()))

    # ---- in the threads

    def _work(self, slot: _Slot) -> None:
        while not slot.abandoned:
            try:
                if not self._take_one(slot):
                    return
            except BaseException as error:  # a task can throw into any thread, or take the last memory
                self._recover(slot, error)

    def _take_one(self, slot: _Slot) -> bool:
        """Run the next task, or wait until there is one; False: the pool is closed."""
        try:
            slot.task, lease, _ = self._waiting.popleft()
        except IndexError:
            return self._rest()
        slot.busy = True
        finished = self._attempt(slot, slot.task, lease)
        slot.busy = False  # before the dispatcher hears of it, which then counts the free slots
        if finished is not None:
            self._report(finished)
        slot.task = None
        return True

    def _recover(self, slot: _Slot, error: BaseException) -> None:
        """Something struck this thread outside of any attempt: what it has in hand must not be lost."""
        task, slot.task, slot.busy = slot.task, None, False
        if task is not None and not slot.abandoned:
            self._report(Finished(task, outcome_of(error)))

    def _rest(self) -> bool:
        """Sleep until there is work; False: the pool is closed."""
        with self._work_came:
            while not self._waiting and not self._closed:
                self._work_came.wait()
        return not self._closed

    def _attempt(self, slot: _Slot, task: Leased, lease: Permit) -> Finished | None:
        """What came of it; None: it goes on in the loop, or its timeout has ended it."""
        try:
            if not lease.begin(self._monotonic()):
                return Finished(task, INTERRUPTED)
            invocation = self._executor.prepare(task)
            end_if_forked(self._pid)  # to decode is to import and to build: user code
            if not isinstance(invocation, Invocation):
                return Finished(task, invocation)
            if invocation.is_async:
                self._to_loop(task, lease, invocation)
                return None
            if (started := self._monotonic()) >= lease.until:  # decoding may have imported for a while
                return Finished(task, INTERRUPTED)
            return self._call(slot, task, invocation, started)
        except BaseException as error:  # whatever goes wrong here, the task must not be lost
            end_if_forked(self._pid)
            attempt, slot.attempt = slot.attempt, None
            if attempt is not None and not attempt.end():
                slot.abandoned = True
                return None
            return Finished(task, outcome_of(error))

    def _call(self, slot: _Slot, task: Leased, invocation: Invocation, started: float) -> Finished | None:
        if self._on_start is not None:
            self._on_start(task)
        current = self._executor.current(task)
        attempt = slot.attempt = _Attempt(task, current, started)
        outcome = self._executor.call(invocation, current)
        slot.attempt = None
        end_if_forked(self._pid)
        if not attempt.end():
            slot.abandoned = True  # the dispatcher has said how it ended, and replaces this thread
            return None
        if isinstance(outcome, Awaiting):
            self._goes_on(outcome, attempt)
            return None
        return Finished(task, outcome, int((self._monotonic() - started) * 1e6))

    def _to_loop(self, task: Leased, lease: Permit, invocation: Invocation) -> None:
        """A coroutine function is run by the event loop."""
        self._coroutines.take(task, lease, invocation)

    def _goes_on(self, outcome: Awaiting, attempt: _Attempt) -> None:
        """What a plain function began is finished by the event loop."""
        self._coroutines.go_on(outcome, attempt.task, attempt.current, attempt.started)

    # ---- inside

    def _start_threads(self) -> None:
        while len(self._slots) < self._threads:
            self._slots.append(self._new_thread())

    def _offer(self, tasks: Sequence[Waiting]) -> None:
        with self._work_came:
            self._waiting.extend(tasks)
            self._work_came.notify(len(tasks))

    def _call_threads(self) -> None:
        """A thread may have gone to rest while its task was out of the deque for a moment."""
        if self._waiting:
            with self._work_came:
                self._work_came.notify(len(self._waiting))

    def _new_thread(self) -> _Slot:
        slot = _Slot()
        slot.thread = Thread(target=self._work, args=(slot,), name=f"deferq-{next(_NUMBERS)}", daemon=True)
        slot.thread.start()
        return slot

    def _abandon(self, slot: _Slot) -> None:
        slot.abandoned = True
        self._slots.remove(slot)
        self._given_up.append(slot)
        self._slots.append(self._new_thread())
