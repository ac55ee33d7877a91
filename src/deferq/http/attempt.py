"""One attempt that was pushed to this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock

from deferq.current import CurrentTask
from deferq.model.outcome import Outcome
from deferq.model.task import Leased

#: The sender may not hear what we say in its last moments; so much before it stops waiting we settle ourselves.
MARGIN_S, MARGIN_SHARE = 2.0, 0.1


class Attempt:
    """Who waits for it, and until when. It ends once, and is deserted at most once, by whichever thread."""

    __slots__ = ("_lock", "began", "current", "deserted", "ours", "outcome", "pid", "stop", "task", "until")

    def __init__(self, task: Leased, began: float, sender_waits_s: float | None) -> None:
        """`began` is monotonic time; `sender_waits_s` counts from there, None: the sender waits to the end."""
        self.task = task
        self.began = began
        #: The process it began in.
        self.pid = os.getpid()
        #: Monotonic time up to which an answer is sure to be heard; None: at any time.
        self.until = None if sender_waits_s is None else began + sender_waits_s - margin(sender_waits_s)
        #: What the task sees of itself, once it runs.
        self.current: CurrentTask | None = None
        #: Ends a coroutine early.
        self.stop: Callable[[], object] | None = None
        self.outcome: Outcome | None = None
        self.deserted = False
        #: Whether this process settles it, and not the sender.
        self.ours = False
        self._lock = Lock()

    def is_late(self, now: float) -> bool:
        """Whether nobody may be waiting for the answer any more."""
        return self.deserted or (self.until is not None and now >= self.until)

    def cancel(self) -> None:
        """Tell it that it should stop: somebody asked for it, or another worker holds the task now."""
        if self.current is not None:
            self.current.cancel()
        if self.stop is not None:
            self.stop()

    def end(self, outcome: Outcome) -> bool:
        """It has ended so; whether this process is to settle it, since nobody waits for the answer."""
        with self._lock:
            self.outcome = outcome
            self.ours = self.deserted
            return self.ours

    def desert(self) -> Outcome | None:
        """Nobody waits for it any more. The outcome, if it has ended and nobody has heard of it."""
        with self._lock:
            self.deserted = True
            return None if self.ours else self.outcome


def margin(waits_s: float) -> float:
    """How much too early we take the sender to be gone."""
    return min(MARGIN_S, waits_s * MARGIN_SHARE)
