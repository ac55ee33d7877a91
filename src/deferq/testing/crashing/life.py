"""What a process does that lives through a task: it runs attempt after attempt until the task has ended, or it dies."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deferq import default
from deferq.app import Deferq
from deferq.codec.codec import Invocation
from deferq.engines.base import LeasingEngine
from deferq.errors import PermanentTaskFailure
from deferq.model.outcome import Failed, Outcome, Parked
from deferq.model.state import State
from deferq.model.task import Leased
from deferq.model.transitions import decide
from deferq.runtime.executor import Awaiting, Executor
from deferq.testing import faultpoints
from deferq.testing.crashing.aftermath import Deferred, deferred_tasks
from deferq.testing.crashing.awaits import run_watched
from deferq.testing.crashing.commits import SqliteCommits, watch_method
from deferq.testing.crashing.inherited import Inherited
from deferq.testing.crashing.points import END, Watch, users_place
from deferq.testing.crashing.trialstore import TrialStore
from deferq.testing.crashing.trialwithin import TrialWithin

#: More starts than any task needs; one that snoozes for ever would never end here.
STARTS_MAX = 200
Tell = Callable[[str, Any], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a process is to do."""

    task: Leased
    #: Number of the point at which it dies; None: it lives.
    kill_at: int | None
    #: Signs the payload, and what the task defers.
    secret: str
    #: The store that stands in for the one the task would defer into.
    store: Path
    #: Methods that commit, as (owner, name).
    commits: tuple[tuple[Any, str], ...]
    #: Called first.
    prepare: Callable[[], object] | None
    #: Whose task it is; None: the default one's.
    deferq: Deferq | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the task ended in a process that lived."""

    state: State
    #: Why, for people; empty: it succeeded.
    why: str = ""
    traceback: str = ""
    #: Whether it died because it raised PermanentTaskFailure, which is a decision and no accident.
    decided: bool = False
    tasks: tuple[Deferred, ...] = ()


def live(orders: Orders, inherited: Inherited, tell: Tell, commits: SqliteCommits) -> None:
    """Run the task to its end in this process, or die where it was told to."""
    inherited.forget()
    _refuse_inherited(inherited.connections, tell)
    TrialStore(orders.store, orders.secret).stay()
    own = orders.deferq or default.default()
    if orders.prepare is not None:
        orders.prepare()
    watch = commits.watch = Watch(orders.kill_at, tell)
    faultpoints.watch(lambda name: watch.come_past(f"at the fault point {name!r}", users_place(sys._getframe(2))))
    for owner, name in orders.commits:
        watch_method(owner, name, watch)
    engine = own.engine  # makes the codec, and opens nothing yet
    ending = _to_the_end(orders.task, Executor(own.codec, engine=engine), watch, tell, _within(engine))
    watch.closed = True
    if ending is not None:
        engine.put(_within(engine).deferred())
    if ending is not None and _was_used(orders.store):
        ending = replace(ending, tasks=tuple(deferred_tasks(engine, own.codec)))
    tell("ended", ending)


def _within(engine: LeasingEngine) -> TrialWithin:
    assert isinstance(engine.within, TrialWithin)
    return engine.within


def _to_the_end(task: Leased, executor: Executor, watch: Watch, tell: Tell, within: TrialWithin) -> Ending | None:
    """How it ended; None: it never does."""
    if within.has_settled(task.id):  # in the process before, which died later
        return Ending(state=State.SUCCEEDED)
    for _ in range(STARTS_MAX):
        tell("started", task)
        outcome = _attempt(task, executor, watch)
        watch.come_past(END, None)
        moved = decide(task, outcome, task.retry, time.time_ns() // 1000, 0.0)
        if moved.state is not State.PENDING or isinstance(outcome, Parked):
            return _ending(moved.state, moved.reason, outcome)
        task = next_lease(task, outcome)
    return None


def next_lease(task: Leased, outcome: Outcome) -> Leased:
    """The task as it is leased again after `outcome`."""
    moved = decide(task, outcome, task.retry, time.time_ns() // 1000, 0.0)
    return task._replace(attempts=moved.attempts, starts=task.starts + 1, crashes=moved.crashes)


def _attempt(task: Leased, executor: Executor, watch: Watch) -> Outcome:
    """`Executor.run`, with a watched event loop."""
    invocation = executor.prepare(task)
    if not isinstance(invocation, Invocation):
        return invocation
    current = executor.current(task)
    if invocation.is_async:
        outcome = Context().run(run_watched, executor.run_async(invocation, current), watch)
    else:
        outcome = executor.call(invocation, current)
        if isinstance(outcome, Awaiting):
            outcome = outcome.context.run(run_watched, executor.finish(outcome.awaitable, current), watch)
    return outcome  # type: ignore[no-any-return]


def _ending(state: State, reason: str | None, outcome: Outcome) -> Ending:
    error = getattr(outcome, "error", None)
    if error is None:
        return Ending(state=state, why=reason or "")
    return Ending(
        state=state,
        why=f"{error.error_type}: {error.message}" if error.message else error.error_type,
        traceback=error.traceback,
        decided=isinstance(outcome, Failed) and error.error_type.rpartition(".")[2] == PermanentTaskFailure.__name__,
    )


def _was_used(store: Path) -> bool:
    """Whether somebody opened the store since it was laid there, here or in the process before."""
    return any(store.parent.glob(f"{store.name}-*"))


def _refuse_inherited(connections: list[sqlite3.Connection], tell: Tell) -> None:
    """An SQLite connection must not be carried across a fork: say so as soon as one is used, and stop."""

    def used(sql: str) -> None:
        tell("inherited", users_place(sys._getframe(1)) or "A library")
        os._exit(1)

    for connection in connections:
        with suppress(sqlite3.Error):  # closed, or of a thread that is not here
            connection.set_trace_callback(used)
