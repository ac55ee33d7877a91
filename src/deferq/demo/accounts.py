"""The accounts: three books that know nothing of each other must say the same.

The web application answered which tasks it deferred; the store says how each of them ended; the ledger, which the
tasks wrote themselves, says what was really executed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deferq.app import Deferq
from deferq.demo import ledger
from deferq.demo.kinds import BULK, KINDS, Kind
from deferq.demo.visitor import Answered
from deferq.engines.base import Filter, LeasingEngine
from deferq.errors import DeferqError
from deferq.model.state import State
from deferq.model.task import Task

PAGE = 1000
US = 1_000_000
#: A time is read from an id, which may run a little ahead of the clock.
CLOCK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class KindAccount:
    """What there is to say about the tasks of one kind."""

    kind: Kind
    deferred: frozenset[int]
    #: Those of them that the store has.
    tasks: tuple[Task, ...]

    @property
    def accounted(self) -> int:
        """How many have ended as their kind must."""
        return sum(_ended_well(self.kind, task) for task in self.tasks)

    @property
    def endings(self) -> Counter[str]:
        """How many ended in which way, in words."""
        return Counter(in_words(task) for task in self.tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """How fast the bulk part was."""

    tasks: int
    requests: int
    #: How long the requests took, added up: none of them counts as free because another went on beside it.
    deferring_s: float
    #: From the first task that was deferred to the last one that ended.
    running_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """All of it."""

    kinds: tuple[KindAccount, ...]
    bulk: Bulk
    #: One line each; empty: the three books agree.
    differences: tuple[str, ...]

    @property
    def deferred(self) -> int:
        return sum(len(account.deferred) for account in self.kinds)

    @property
    def failed_attempts(self) -> int:
        """How many attempts were meant to fail."""
        return sum(len(account.deferred) * account.kind.notes.get(ledger.FAILED, 0) for account in self.kinds)

    @property
    def accounted(self) -> int:
        return sum(account.accounted for account in self.kinds)

    @classmethod
    def of(cls, answers: Sequence[Answered], deferq: Deferq, ledger_path: Path) -> Accounts:
        """Read the books and compare them."""
        answers = list(answers)
        stored = {task.id: task for task in all_tasks(deferq.engine)}
        kinds = tuple(_account(kind, answers, stored) for kind in KINDS.values())
        differences = (
            *_in_answers(answers, kinds),
            *_in_store(kinds, stored),
            *_in_results(answers, deferq),
            *_in_ledger(kinds, ledger.read(ledger_path)),
        )
        return cls(kinds=kinds, bulk=_bulk(answers, kinds), differences=differences)


def all_tasks(engine: LeasingEngine) -> Iterator[Task]:
    """Every task in the store, page by page."""
    after: int | None = None
    while True:
        page = engine.find(Filter(), after=after, limit=PAGE)
        yield from page.tasks
        if page.next_after is None:
            return
        after = page.next_after


def in_words(task: Task) -> str:
    """How a task ended, or where it stands."""
    words = task.state.name.lower()
    reason = (task.reason or words).split(",")[0]
    return words if task.state is State.SUCCEEDED or reason == words else f"{words} ({reason})"


def _account(kind: Kind, answers: Iterable[Answered], stored: Mapping[int, Task]) -> KindAccount:
    deferred = frozenset(task_id for one in answers if one.visit.kind == kind.name for task_id in one.stored)
    return KindAccount(
        kind=kind, deferred=deferred, tasks=tuple(stored[one] for one in sorted(deferred & stored.keys()))
    )


def _bulk(answers: Iterable[Answered], kinds: Iterable[KindAccount]) -> Bulk:
    requests = [one for one in answers if one.visit.kind == BULK]
    tasks = next(account.tasks for account in kinds if account.kind.name == BULK)
    running_us = max((task.finished_at or 0 for task in tasks), default=0) - min(
        (t.created_at for t in tasks), default=0
    )
    return Bulk(
        tasks=len(tasks),
        requests=len(requests),
        deferring_s=sum(one.seconds for one in requests),
        running_s=running_us / US,
    )


# ---- the comparisons: each yields one line for each difference


def _in_answers(answers: Iterable[Answered], kinds: Iterable[KindAccount]) -> Iterator[str]:
    """The web application against what it was asked for."""
    known = {account.kind.name: account.deferred for account in kinds}
    for one in answers:
        if one.trouble:
            yield f"the request for {one.visit.kind} (order {one.visit.order}) went wrong: {one.trouble}"
        for task_id in set(one.existed) - known[one.visit.kind]:
            yield f"{one.visit.kind}: task {task_id} was said to exist, but no request had stored it"
    for account in kinds:
        if len(account.deferred) != account.kind.expected:
            yield f"{account.kind.name}: {len(account.deferred)} tasks were deferred instead of {account.kind.expected}"


def _in_store(kinds: Iterable[KindAccount], stored: Mapping[int, Task]) -> Iterator[str]:
    """The store against the web application."""
    unknown = set(stored)
    for account in kinds:
        unknown -= account.deferred
        for task_id in sorted(account.deferred - stored.keys()):
            yield f"{account.kind.name}: task {task_id} was deferred, and the store does not have it"
        for task in account.tasks:
            if not _ended_well(account.kind, task):
                yield f"{account.kind.name}: task {task.id} is {in_words(task)}{_after(task)}"
    for task_id in sorted(unknown):
        yield f"task {task_id} ({stored[task_id].target}) is in the store, and no answer named it"


def _in_results(answers: Iterable[Answered], deferq: Deferq) -> Iterator[str]:
    """What tasks returned, as a caller gets it; how they ended is the store's matter."""
    for one in answers:
        result = KINDS[one.visit.kind].result
        for task_id in one.stored if result else ():
            try:
                returned = deferq.task(task_id).wait(timeout=0)
            except DeferqError as error:
                yield f"{one.visit.kind}: task {task_id} has no result: {error}"
            else:
                if result and returned != result(one.visit.order):
                    yield f"{one.visit.kind}: task {task_id} returned something else than it should"


def _in_ledger(kinds: Iterable[KindAccount], entries: ledger.Entries) -> Iterator[str]:
    """The ledger against the web application."""
    unknown = set(entries)
    for account in kinds:
        unknown -= account.deferred
        expected = account.kind.expected_notes
        for task_id in sorted(account.deferred):
            noted = entries.get(task_id, Counter())
            if noted != expected:
                yield f"{account.kind.name}: task {task_id} noted {_notes(noted)} in the ledger, not {_notes(expected)}"
    for task_id in sorted(unknown):
        yield f"task {task_id} noted {_notes(entries[task_id])} in the ledger, and no answer named it"


def _ended_well(kind: Kind, task: Task) -> bool:
    reason = "" if task.state is State.SUCCEEDED else task.reason or ""
    waited_s = ((task.finished_at or task.created_at) - task.created_at) / US
    return (
        task.state is kind.state
        and reason.startswith(kind.reason)
        and task.attempts == kind.attempts
        and waited_s >= kind.after_s - CLOCK_S
    )


def _after(task: Task) -> str:
    attempts = f" after {task.attempts} attempt{'' if task.attempts == 1 else 's'}"
    return attempts if task.finished_at is None else f"{attempts} and {(task.finished_at - task.created_at) / US:.1f} s"


def _notes(noted: Mapping[str, int]) -> str:
    return ", ".join(f"{word} {times} x" for word, times in sorted(noted.items())) or "nothing"
