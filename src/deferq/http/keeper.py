"""Keeps the leases of attempts that run long in this process, and settles those for whose end nobody waits.

Whoever pushed a task renews its lease and settles it, as long as it waits for the answer. It may die, and it does not
wait for ever; the attempt goes on all the same, and until it ends no other may begin. So after a while this process
renews too: to renew twice does no harm. A thread does it, which is there only while something runs.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from deferq.engines.base import LeasingEngine, Settlement
from deferq.errors import StoreError
from deferq.http.attempt import Attempt
from deferq.model.outcome import Outcome
from deferq.model.transitions import US
from deferq.runtime.listeners import Listeners
from deferq.runtime.outage import Outage
from deferq.runtime.settling import ANNOUNCED, event_of, lost, settle

_log = logging.getLogger("deferq.http")

#: Attempts that have run so long are kept. A sender's lease lasts 30 seconds at the least, and it renews by the third.
KEEP_FROM_S: Final = 10.0
RENEW_EVERY_S: Final = 10.0
#: As in any web process, where a task may hold the interpreter lock for long.
LEASE_S: Final = 120.0
TICK_S: Final = 1.0
#: Ticks without anything to do until the thread ends.
IDLE_TICKS: Final = 30


class Keeper:
    """Knows every attempt that was pushed to this process and runs. Beginning and ending one costs next to nothing."""

    def __init__(
        self,
        engine: Callable[[], LeasingEngine],
        listeners: Callable[[], Listeners],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        tick_s: float = TICK_S,
    ) -> None:
        """`listeners` hear of what is settled here; all other outcomes are announced by who settles them."""
        self._engine = engine
        self._listeners = listeners
        self._monotonic = monotonic
        self._tick_s = tick_s
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._running: dict[int, Attempt] = {}
        self._to_settle: deque[tuple[Attempt, Outcome]] = deque()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._stirred = threading.Event()
        self._renewed_at = -RENEW_EVERY_S
        self._outage = Outage(longest_s=RENEW_EVERY_S)

    def begin(self, attempt: Attempt) -> None:
        """It runs from now on."""
        if self._pid != os.getpid():  # a forked child has none of its parent's attempts
            self._forget()
        self._running[id(attempt)] = attempt
        if self._thread is None or not self._thread.is_alive():  # a task may have thrown into it
            self._start()

    def end(self, attempt: Attempt) -> None:
        """It runs no more."""
        self._running.pop(id(attempt), None)

    def settle_later(self, attempt: Attempt, outcome: Outcome) -> None:
        """Nobody waits for this outcome, and who brings it cannot wait for the store. The lease is kept until then."""
        self._running[id(attempt)] = attempt
        self._to_settle.append((attempt, outcome))
        if self._thread is None or not self._thread.is_alive():  # a task may have thrown into it
            self._start()
        self._stirred.set()

    def settle(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Store the outcome now; whether the lease still held. Raises StoreError."""
        engine, now = self._engine(), self._monotonic()
        duration_us = int((now - attempt.began) * US)
        settlement = settle(attempt.task, outcome, duration_us, engine.now(), random.random())
        turn = engine.turn([settlement], None)
        self._announce(settlement, turn.now, stands=not turn.lost)
        return not turn.lost

    def close(self) -> None:
        """Keep and settle nothing any more."""
        self._closed = True
        self._running.clear()
        self._to_settle.clear()
        self._stirred.set()

    # ---- in the thread

    def _start(self) -> None:
        with self._starting:
            self._closed = False
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=self._work, name="deferq-keeper", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread can be had: the sender keeps the lease, and the next attempt tries again
                self._thread = None
                _log.exception("there is no thread to keep the leases of tasks that were pushed here")
            else:
                self._thread = thread

    def _work(self) -> None:
        idle = 0
        while (idle < IDLE_TICKS and not self._closed) or not self._may_end():
            self._stirred.wait(self._tick_s)
            self._stirred.clear()
            idle = 0 if self._running else idle + 1
            self.look_after()

    def _may_end(self) -> bool:
        """Whoever begins an attempt sees that the thread is gone, or this sees the attempt."""
        with self._starting:
            self._thread = None
            if self._running:
                self._thread, self._closed = threading.current_thread(), False
            return self._thread is None

    def look_after(self) -> None:
        """Settle what is to be settled, and renew what is to be kept; later, if the store is out of reach."""
        now = self._monotonic()
        if now < self._outage.until:
            return
        try:
            self._settle_all()
            self._renew(now)
        except StoreError:
            self._outage.failed(now, random.random())  # the worker, or who pushes, tells of it
        except Exception:
            _log.exception("leases of tasks that were pushed here could not be kept; they run out")
            self._outage.failed(now, random.random())
        else:
            self._outage.ended()

    def _settle_all(self) -> None:
        while self._to_settle:
            attempt, outcome = self._to_settle.popleft()
            try:
                self.settle(attempt, outcome)
            except StoreError:
                self._to_settle.appendleft((attempt, outcome))
                raise
            except BaseException:
                self.end(attempt)
                raise
            self.end(attempt)

    def _renew(self, now: float) -> None:
        if now < self._renewed_at + RENEW_EVERY_S:
            return
        kept = [one for one in self._running.copy().values() if self._is_kept(one, now)]
        if not kept:
            return
        engine = self._engine()
        gone, unwanted = engine.renew([one.task for one in kept], engine.now() + int(LEASE_S * US))
        self._renewed_at = now
        told = {(task.id, task.lease_id) for task in (*gone, *unwanted)}
        for attempt in kept:
            if (attempt.task.id, attempt.task.lease_id) in told:
                attempt.cancel()

    def _is_kept(self, attempt: Attempt, now: float) -> bool:
        return attempt.is_late(now) or now >= attempt.began + KEEP_FROM_S

    def _announce(self, settlement: Settlement, now: int, *, stands: bool) -> None:
        listeners = self._listeners()
        if not stands:
            listeners.announce(lost(settlement.task, now))
        elif (name := ANNOUNCED.get(settlement.transition.rule)) in listeners.wanted and name is not None:
            listeners.announce(event_of(settlement, name, now))
