"""What each run came to, and whether its settlement says so: kept beside the engine, in other words than its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from deferq.engines.base import Cancel, Change, Settlement, Turn
from deferq.model.outcome import Failed, Outcome, Parked, Retried, Snoozed, Succeeded
from deferq.model.state import State
from deferq.model.task import Leased
from deferq.model.transitions import Transition
from deferq.testing.simulate.broken import Broken

#: How a run may be settled that nobody cut short, and how one that was.
RULES: dict[type[Outcome], set[str]] = {
    Succeeded: {"succeeded"},
    Failed: {"failed", "attempts spent"},
    Retried: {"retried", "attempts spent"},
    Snoozed: {"snoozed"},
    Parked: {"parked"},
}
#: Seconds after a leap of the clock for which a lease that it has ended may be believed in: none is longer.
BELIEVED_S = 6.0
CUT_SHORT = {"worker lost", "failed", "attempts spent"}
#: What uses up an attempt.
SPENDS = {"succeeded", "failed", "retried", "worker lost", "permanent", "attempts spent", "corrupt"}
#: What ran no user code.
UNSTARTED = {"interrupted", "parked", "cancelled"}
CUT_BY = ("worker lost", "worker stopped", "timed out")


class Run(NamedTuple):
    """One execution: what it comes to, and when, if nothing cuts it short."""

    outcome: Outcome
    ends_at: float


@dataclass(slots=True)
class _Book:
    """One task."""

    #: By lease.
    runs: dict[int, Run] = field(default_factory=dict)
    #: Leases that have been settled.
    settled: set[int] = field(default_factory=set)
    #: The lease under which somebody asked to cancel it.
    cancelled_under: int | None = None
    cancelled: bool = False
    ended_as: str = ""
    #: Before this time it must not start again, unless the clock leaps.
    not_before: float = 0.0


class Bookkeeping:
    """What the history comes to, task by task."""

    def __init__(self) -> None:
        self._books: dict[int, _Book] = {}
        self._leapt_at = -math.inf

    def book(self, task_id: int) -> _Book:
        return self._books.setdefault(task_id, _Book())

    # ---- what is told

    def changed(self, task_id: int, lease_id: int | None, change: Change) -> None:
        """A person changed it, and the engine said yes: while it was leased under that lease, or pending."""
        book = self.book(task_id)
        book.not_before = 0.0
        if isinstance(change, Cancel):
            book.cancelled, book.cancelled_under = True, lease_id

    def put(self, task_id: int) -> None:
        """It was put. If it had ended, it may have been deleted, and begin anew."""
        if self.book(task_id).ended_as:
            self.requeued(task_id)

    def requeued(self, task_id: int) -> None:
        """It begins anew; what was settled stays settled."""
        self._books[task_id] = _Book(settled=self.book(task_id).settled)

    def woken(self) -> None:
        """What was parked may start at once."""
        for book in self._books.values():
            book.not_before = 0.0

    def leapt(self, at: float) -> None:
        """The clock leaps: what was to come at a time may come at another."""
        self._leapt_at = at
        self.woken()

    def refused(self, task: Leased, outcome: Outcome, at: float) -> None:
        """The executor called nothing: it cannot, or shall not."""
        self.book(task.id).runs[task.lease_id] = Run(outcome, at)

    def started(self, at: float, task: Leased, outcome: Outcome, ends_at: float) -> None:
        """User code begins."""
        book = self.book(task.id)
        book.runs[task.lease_id] = Run(outcome, ends_at)
        if book.cancelled and task.lease_id != book.cancelled_under:
            raise Broken(f"task {task.id} was started after somebody had it cancelled")
        if at < book.not_before and at > self._leapt_at + BELIEVED_S:
            raise Broken(f"task {task.id} was started {book.not_before - at:.3f} s before it was to come again")

    def turn(self, settlements: Sequence[Settlement], answer: Turn) -> None:
        lost = {(task.id, task.lease_id) for task in answer.lost}
        for one in settlements:
            if (one.task.id, one.task.lease_id) not in lost:
                self._settled(one)
        for task in answer.leased:
            ended = self.book(task.id).ended_as
            if ended:
                raise Broken(f"task {task.id} was leased after it had ended as {ended}")

    # ---- what is checked

    def _settled(self, one: Settlement) -> None:
        task, to = one.task, one.transition
        book = self.book(task.id)
        if task.lease_id in book.settled:
            return  # it stands already, and not by these words: somebody has buried it under this lease before
        book.settled.add(task.lease_id)
        self._check_rule(book, one)
        if to.attempts != task.attempts + (to.rule in SPENDS):
            raise Broken(f"task {task.id} had {task.attempts} attempts and has {to.attempts} after it {to.rule}")
        if to.started is (to.rule in UNSTARTED):
            raise Broken(f"task {task.id} counts as {'' if to.started else 'un'}started and was settled as {to.rule}")
        if task.cancel_requested and to.state is State.PENDING:
            raise Broken(f"task {task.id} was to be cancelled, and its holder, who knew, has put it back")
        most = task.retry.max_attempts
        if to.rule == "attempts spent" and (most is None or to.attempts < most):
            raise Broken(f"task {task.id} died of {to.attempts} attempts and has {most}")
        if to.state is State.PENDING:
            run = book.runs.get(task.lease_id)
            if run is not None and run.ends_at > self._leapt_at and not _was_cut_short(to):
                book.not_before = run.ends_at + _wait(run, one) - 1e-3
        else:
            book.ended_as = to.rule

    def _check_rule(self, book: _Book, one: Settlement) -> None:
        task, to = one.task, one.transition
        run = book.runs.get(task.lease_id)
        outcome = run and run.outcome
        told = f"task {task.id} came to {type(outcome).__name__} and was settled as {to.rule} ({to.reason})"
        if to.rule == "cancelled":
            if not book.cancelled and to.reason != "expired":
                raise Broken(f"task {task.id} was cancelled, and nobody asked for it")
        elif outcome is None:
            if to.rule != "interrupted" and not _was_cut_short(to):
                raise Broken(f"task {task.id} never started and was settled as {to.rule} ({to.reason})")
        elif _was_cut_short(to):
            if to.rule not in CUT_SHORT:
                raise Broken(told)
        elif isinstance(outcome, Failed) and outcome.permanent:
            if to.rule not in {"permanent", outcome.reason}:
                raise Broken(told)
        elif to.rule not in RULES[type(outcome)]:
            raise Broken(told)


def _was_cut_short(to: Transition) -> bool:
    return any(word in (to.reason or "") for word in CUT_BY)


def _wait(run: Run | None, one: Settlement) -> float:
    """Seconds that must pass after a run, at the least, until the task starts again."""
    task, to = one.task, one.transition
    match to.rule, run and run.outcome:
        case ("retried", Retried(after_s=float(seconds))) | ("snoozed", Snoozed(after_s=seconds)):
            return seconds
        case "parked", _:
            return 10.0
        case (("retried" | "failed"), _):
            return task.retry.min_backoff_s / 2  # by chance, up to twice as much
        case _:
            return 0.0
