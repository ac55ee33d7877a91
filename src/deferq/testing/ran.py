"""What an attempt came to, and what a test hears of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deferq.errors import RetryTask, Snooze, TaskFailed
from deferq.model.state import State

_BAD = ("dead", "parked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one attempt came to."""

    #: The task's id.
    id: int
    #: `module:qualname`
    target: str
    queue: str
    #: The number of this attempt, counted from 1.
    attempt: int
    #: succeeded, failed (and will run again), retried, snoozed, parked, cancelled or dead.
    outcome: str
    #: The state it is in now.
    state: State
    #: Why; empty: the outcome says all.
    reason: str
    #: What it returned, as `wait()` returns it.
    result: Any
    #: What it raised, the very object; None: it raised nothing.
    error: BaseException | None
    #: Seconds until it runs again; None: it does not.
    again_in_s: float | None

    def __str__(self) -> str:
        again = "" if self.again_in_s is None else f", again in {self.again_in_s:g} s"
        error = "" if self.error is None else f": {type(self.error).__name__}: {self.error}"
        return f"{self.target} (queue {self.queue}, attempt {self.attempt}) {self.outcome}{again}{error}"


def raise_what_died(ran: Sequence[Ran]) -> None:
    """Raise the error of the first task that has died, or is parked, and say which others have."""
    bad = [one for one in ran if one.outcome in _BAD]
    if not bad:
        return
    error = _error_of(bad[0])
    error.add_note(f"deferq: {bad[0]}: {bad[0].reason}")
    for one in bad[1:]:
        error.add_note(f"deferq: and {one}: {one.reason}")
    raise error


def _error_of(ran: Ran) -> BaseException:
    """What the task raised itself, or, if that says nothing, an error of ours."""
    if isinstance(ran.error, Exception) and not isinstance(ran.error, RetryTask | Snooze):
        return ran.error
    error = TaskFailed(f"Task {ran.id} ({ran.target}) {ran.outcome}: {ran.reason}.")
    error.__cause__ = ran.error
    return error
