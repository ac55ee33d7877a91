"""The pool of a child: threads and an event loop as in every worker, and the socket in place of a dispatcher.

No thread hands tasks to others. Of the threads that have nothing to do one reads the socket, and runs what comes; the
next one takes its place. So between the parent and the task only one thread has to wake up. While all of them are busy
the main thread reads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any

from deferq.codec.codec import Invocation
from deferq.model.outcome import INTERRUPTED, Succeeded
from deferq.model.task import Leased
from deferq.runtime.children.damage import Damage
from deferq.runtime.children.starts import Place, Starts
from deferq.runtime.children.wire import DONE, IN_LOOP, WORN, pack, pack_outcome
from deferq.runtime.executor import Awaiting, Executor
from deferq.runtime.pools import Finished, Permit, Waiting, remove
from deferq.runtime.threads import ThreadPool, _Attempt

#: Outcomes that are reported together while there is more to do.
TOGETHER = 100
#: While all threads are busy, outcomes that gathered are sent after so many milliseconds at the latest.
GATHER_MS = 10
#: How often the main thread looks whether a task has broken the event loop.
LOOK_S = 1.0
LOOK_MS = 1_000


class ChildThreads(ThreadPool):
    """Runs what the parent sends, and sends back what came of it.

    `hear(timeout_ms)` waits for what the parent says and does it; None: however long it takes. `send(frame)` says
    something to the parent. A thread that has nothing more to do sends at once what has gathered.
    """

    def __init__(
        self,
        executor: Executor,
        starts: Starts,
        hear: Callable[[int | None], None],
        send: Callable[[bytes], None],
        *,
        threads: int,
        async_slots: int,
        on_start: Callable[[Leased], None] | None = None,
    ) -> None:
        super().__init__(executor, threads=threads, async_slots=async_slots, wake=_nobody, on_start=on_start)
        self._starts = starts
        self._hear = hear
        self._send = send
        self._sending = threading.Lock()
        #: Whoever holds it reads the socket; the others that have nothing to do wait for it.
        self._reading = threading.Lock()
        #: One for each thread that has nothing to do.
        self._resting: list[None] = []
        #: Held while the main thread need not read.
        self._reserve = threading.Lock()
        self._reserve.acquire()
        self._damage = Damage()
        #: Why this process should be replaced; empty: it should not.
        self._worn = ""
        #: Where each task stands, by its id and its lease: a task may come back while its former lease still waits.
        self._places: dict[tuple[int, int], int] = {}

    def work(self) -> None:
        """Run tasks until `end`. In the main thread, which reads the socket while all others are busy."""
        self._coroutines.begin()  # before there are tasks, which may leave no descriptor for it
        with self._reading:  # no task runs before all threads have started: it could throw into one that starts
            self._start_threads()
        while not self._closed:
            # A thread that rests may be quicker to the lock, and keep it for as long as there is nothing to read.
            if self._reserve.acquire(timeout=LOOK_S) and self._reading.acquire(timeout=LOOK_S):
                try:
                    self._read_in_reserve()
                finally:
                    self._reading.release()
            self._coroutines.look_at_loop()

    def _read_in_reserve(self) -> None:
        """Read until a thread has nothing else to do."""
        while not self._resting and not self._closed:
            self.send_outcomes()
            self._hear(GATHER_MS if self._done or self._waiting else LOOK_MS)
            self._coroutines.look_at_loop()

    def end(self) -> None:
        """There will be no more tasks."""
        self._closed = True
        self._call_reserve()

    def take(self, rows: Iterable[tuple[int, tuple[Any, ...]]]) -> None:
        """Run tasks, each with its place."""
        now = self._monotonic()
        tasks: list[Waiting] = []
        for index, row in rows:
            task = Leased._make(row)
            self._places[task.id, task.lease_id] = index
            tasks.append((task, Place(self._starts, index, now), None))
        self._waiting.extend(tasks)

    def cancel_places(self, indexes: Collection[int]) -> None:
        """Cancel the tasks at these places."""
        self.cancel({key[0] for key, index in self._places.copy().items() if index in indexes})

    def let_go(self) -> None:
        """Report what the parent has taken back, which waits for the places. It would not be started anyway."""
        for task in remove(self._waiting, _is_taken_back):
            self._report(Finished(task, INTERRUPTED))
        self._coroutines.let_go(_is_taken_back)

    def send_outcomes(self) -> None:
        """Send what has gathered. One thread does it for all."""
        while self._done and self._sending.acquire(blocking=False):
            try:
                self._send(pack(DONE, [row for finished in self._drain() if (row := self._packed(finished))]))
            finally:
                self._sending.release()

    # ---- inside

    def _rest(self) -> bool:
        self._resting.append(None)
        try:
            with self._reading:
                while not self._waiting and not self._closed:
                    self.send_outcomes()
                    self._hear(None)
        finally:
            self._resting.pop()
            if not self._resting:
                self._call_reserve()
        return not self._closed

    def _call_reserve(self) -> None:
        with suppress(RuntimeError):  # it has been called already
            self._reserve.release()

    def _packed(self, finished: Finished) -> tuple[int, int, tuple[Any, ...] | None] | None:
        """None: it has been reported; a thread that was struck in between did not know."""
        task, outcome, duration_us, _ = finished
        place = self._places.pop((task.id, task.lease_id), None)
        return None if place is None else (place, duration_us, pack_outcome(outcome))

    def _look_for_damage(self, finished: Finished) -> None:
        well = isinstance(finished.outcome, Succeeded)
        why = self._damage.at_a_glance() if well else self._damage.found()
        if self._coroutines.lost:
            why = "a task has broken the event loop"
        if why and not self._worn:
            self._worn = why
            self._send(pack(WORN, why))

    def _report(self, finished: Finished) -> None:
        self._look_for_damage(finished)
        self._done.append(finished)
        if not self._waiting or len(self._done) >= TOGETHER:
            self.send_outcomes()

    def _call_dispatcher(self) -> None:
        """The parent hears of everything as it happens."""

    def _to_loop(self, task: Leased, lease: Permit, invocation: Invocation) -> None:
        lease.put_off()
        self._send(pack(IN_LOOP, [self._places[task.id, task.lease_id]]))
        super()._to_loop(task, lease, invocation)

    def _goes_on(self, outcome: Awaiting, attempt: _Attempt) -> None:
        self._send(pack(IN_LOOP, [self._places[attempt.task.id, attempt.task.lease_id]]))
        super()._goes_on(outcome, attempt)


def _is_taken_back(waiting: Waiting) -> bool:
    return waiting[1].until == 0.0


def _nobody() -> None:
    """No dispatcher waits in a child."""
