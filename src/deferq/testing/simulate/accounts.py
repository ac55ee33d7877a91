"""What the history makes of each task: a model of its row, from what was committed and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import assert_never

from deferq.engines.base import Cancel, Change, Delete, Reschedule, Settlement
from deferq.model.retry import RetryPolicy
from deferq.model.state import State
from deferq.model.task import Leased, NewTask, Task, decode_options
from deferq.model.transitions import Transition
from deferq.testing.simulate.broken import Broken


class Account:
    """One task that was accepted."""

    def __init__(self, task: NewTask) -> None:
        self.task = task
        self.id = task.id
        self.name = task.name
        self.state = State.PENDING
        self.due = task.eta
        self.expires_at = task.expires_at
        self.lease_id: int | None = None
        #: When its lease ends.
        self.until = 0
        self.attempts = 0
        self.parks = 0
        self.finished_at: int | None = None
        #: How often user code began, and how often it only snoozed, since the task was put or requeued.
        self.starts = 0
        self.snoozes = 0
        self.cancel_requested = False
        #: Whether it is in the store no more.
        self.gone = False

    @property
    def task_retry(self) -> RetryPolicy:
        return decode_options(self.task.options).retry

    @property
    def pending(self) -> bool:
        return self.state is State.PENDING

    @property
    def leased(self) -> bool:
        return self.state is State.LEASED

    @property
    def ended(self) -> bool:
        return self.gone or self.state.finished

    @property
    def standing(self) -> str:
        return "gone" if self.gone else self.state.name.lower()

    def holds(self, lease_id: int) -> bool:
        """Whether this lease is the one that holds it."""
        return self.leased and not self.gone and self.lease_id == lease_id

    def stands_as(self, settlement: Settlement) -> bool:
        """Whether this very lease has settled it so before: an answer may get lost."""
        to = settlement.transition
        return (self.lease_id, self.state, self.attempts) == (settlement.task.lease_id, to.state, to.attempts)

    # ---- what happens to it

    def lease(self, leased: Leased) -> None:
        self.state, self.lease_id, self.until = State.LEASED, leased.lease_id, leased.leased_until

    def settle(self, to: Transition, now: int) -> None:
        self.state, self.attempts, self.parks, self.due = to.state, to.attempts, to.parks, to.eta
        self.finished_at = now if to.state.finished else None

    def fits(self, change: Change) -> bool:
        """Whether a person can do this to it."""
        match change:
            case Cancel():
                return not self.ended
            case Reschedule():
                return self.pending and not self.gone
            case Delete():
                return not self.leased and not self.gone
            case _:
                assert_never(change)

    def change(self, change: Change, now: int) -> None:
        match change:
            case Cancel() if self.leased:
                self.cancel_requested = True
            case Cancel():
                self.state, self.finished_at = State.CANCELLED, now
            case Reschedule(eta):
                self.due = eta
            case Delete():
                self.purge(now)

    def purge(self, now: int) -> None:
        """A person deleted it: a name stands as a tombstone from then on, unless it does already."""
        self.gone = True
        self.finished_at = self.finished_at or now

    @property
    def may_be_requeued(self) -> bool:
        return not self.gone and self.state in (State.DEAD, State.CANCELLED)

    def requeue(self, now: int, name: str | None) -> None:
        self.state, self.due, self.name = State.PENDING, now, name
        self.attempts = self.parks = self.starts = self.snoozes = 0
        self.finished_at = None
        self.cancel_requested = False
        if self.expires_at is not None and self.expires_at <= now:
            self.expires_at = None

    # ---- what the store shows

    def compare(self, row: Task, now: int) -> None:
        """The row must stand where the history says; only time can have moved it on."""
        if self.pending and row.state is State.CANCELLED and row.reason == "expired" and self._has_expired(now):
            self.state, self.finished_at = State.CANCELLED, row.finished_at
        stored = (row.state, row.attempts, row.name, row.lease_id if row.state is State.LEASED else None)
        known = (self.state, self.attempts, self.name, self.lease_id if self.leased else None)
        if stored != known or self.gone:
            raise Broken(f"task {self.id} is {self.standing} by its history, and the store has {_told(row)}")
        if self.pending:
            self.due = row.eta  # who is woken early is due early

    def may_be_missing(self, now: int, kept_us: Mapping[State, int]) -> bool:
        """Whether it ended so long ago that the janitor may have purged it."""
        if self.gone:
            return True
        if self.pending and self._has_expired(now):
            self.state, self.finished_at = State.CANCELLED, self.expires_at
        return self.finished_at is not None and self.finished_at + kept_us[self.state] <= now

    def _has_expired(self, now: int) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class Accounts:
    """All of them, by id."""

    def __init__(self) -> None:
        self._by_id: dict[int, Account] = {}

    def __getitem__(self, task_id: int) -> Account:
        account = self._by_id.get(task_id)
        if account is None:
            raise Broken(f"task {task_id} was never accepted, and somebody has it")
        return account

    def __contains__(self, task_id: int) -> bool:
        return task_id in self._by_id

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_id.values())

    def open(self, task: NewTask) -> Account:
        """A task was accepted."""
        account = self._by_id[task.id] = Account(task)
        return account

    def live(self) -> list[Account]:
        """Those whose task is in the store."""
        return [account for account in self._by_id.values() if not account.gone]


def _told(row: Task) -> str:
    return f"{row.state.name.lower()} ({row.reason}), attempts {row.attempts}, name {row.name}"
