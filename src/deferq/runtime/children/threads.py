"""The pool of a child: threads and an event loop as in every worker, and the socket in place of a dispatcher."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from typing import Any

from deferq.codec.codec import Invocation
from deferq.model.outcome import INTERRUPTED
from deferq.model.task import Leased
from deferq.runtime.children.starts import Place, Starts
from deferq.runtime.children.wire import DONE, IN_LOOP, pack, pack_outcome
from deferq.runtime.executor import Awaiting, Executor
from deferq.runtime.pools import Finished, Permit, Waiting, remove
from deferq.runtime.threads import ThreadPool, _Attempt

#: Outcomes that are reported together while there is more to do.
TOGETHER = 100


class ChildThreads(ThreadPool):
    """Runs what the parent sends, and sends back what came of it.

    A thread that has nothing more to do sends at once what has gathered, so that no other thread has to wake up.
    """

    def __init__(
        self,
        executor: Executor,
        starts: Starts,
        send: Callable[[bytes], None],
        *,
        threads: int,
        async_slots: int,
        on_start: Callable[[Leased], None] | None = None,
    ) -> None:
        super().__init__(executor, threads=threads, async_slots=async_slots, wake=_nobody, on_start=on_start)
        self._starts = starts
        self._send = send
        self._sending = threading.Lock()
        #: Where each task stands, by its id and its lease: a task may come back while its former lease still waits.
        self._places: dict[tuple[int, int], int] = {}

    def take(self, rows: Iterable[tuple[int, tuple[Any, ...]]]) -> None:
        """Run tasks, each with its place."""
        now = self._monotonic()
        tasks: list[Waiting] = []
        for index, row in rows:
            task = Leased._make(row)
            self._places[task.id, task.lease_id] = index
            tasks.append((task, Place(self._starts, index, now), None))
        self._start_threads()
        self._offer(tasks)

    def cancel_places(self, indexes: Collection[int]) -> None:
        """Cancel the tasks at these places."""
        self.cancel({key[0] for key, index in self._places.copy().items() if index in indexes})

    def let_go(self) -> None:
        """Report what the parent has taken back, which waits for the places. It would not be started anyway."""
        for task in remove(self._waiting, _is_taken_back):
            self._report(Finished(task, INTERRUPTED))
        self._call_threads()
        self._coroutines.let_go(_is_taken_back)

    @property
    def has_more(self) -> bool:
        """Whether something may be left to send that no thread has taken care of."""
        return bool(self._done or self._waiting)

    def send_outcomes(self) -> None:
        """Send what has gathered. One thread does it for all."""
        while self._done and self._sending.acquire(blocking=False):
            try:
                self._send(pack(DONE, [self._packed(finished) for finished in self._drain()]))
            finally:
                self._sending.release()

    # ---- inside

    def _packed(self, finished: Finished) -> tuple[int, int, tuple[Any, ...] | None]:
        task, outcome, duration_us = finished
        return self._places.pop((task.id, task.lease_id)), duration_us, pack_outcome(outcome)

    def _report(self, finished: Finished) -> None:
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
