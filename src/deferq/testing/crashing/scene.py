"""The scene of a trial: one task, the databases it works on, and a store for what it defers."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deferq import default
from deferq.app import Deferq
from deferq.calls import Call
from deferq.engines.sqlite import SqliteEngine
from deferq.errors import InvalidOption
from deferq.model.outcome import ErrorText, Failed
from deferq.model.state import State
from deferq.model.task import Leased
from deferq.model.transitions import decide
from deferq.testing.crashing.aftermath import differing_effects, differing_tasks
from deferq.testing.crashing.children import CannotTell, Lived, NotOver, live_through
from deferq.testing.crashing.databases import Database
from deferq.testing.crashing.inherited import Inherited
from deferq.testing.crashing.life import Ending, Orders, next_lease
from deferq.testing.crashing.points import Point
from deferq.testing.crashing.tables import Difference, Tables, differences, in_words
from deferq.testing.crashing.trialstore import TrialStore, lease_of
from deferq.testing.effects import Effects

_LOST = Failed(error=ErrorText(error_type="WorkerLost", message=""), reason="worker lost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a task has left behind."""

    points: list[Point]
    ending: Ending
    tables: list[Tables]
    effects: list[str]

    def changed_nothing_since(self, tables: list[Tables]) -> bool:
        """Whether there is nothing to be seen of it."""
        return self.tables == tables and not self.effects and not self.ending.tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How processes are started, and what is done in them."""

    start: str
    attempt_s: float
    commits: tuple[tuple[Any, str], ...]
    prepare: Callable[[], object] | None


class Scene:
    """Sets it up for each trial, plays the trial, and looks what is left."""

    def __init__(
        self,
        call: Call[Any],
        databases: Sequence[Database],
        effects: Effects | None,
        ignore: Sequence[str],
        how: How,
        folder: Path,
    ) -> None:
        self._deferq: Deferq = call._deferrer()  # type: ignore[assignment]  # whoever else could make calls?
        self._databases = databases
        self._effects = effects
        self._ignore = ignore
        self._how = how
        self._empty, self._store = folder / "empty.db", folder / "tasks" / "deferq.db"
        _make_store(self._empty)
        self._inherited = Inherited.found() if how.start == "fork" else None
        self._secret = secrets.token_urlsafe(32)
        self.task = self._task_of(call)

    def undisturbed(self) -> Left:
        """The task runs to its end."""
        self._set()
        lived = self._live(self.task, None)
        assert lived.ending is not None  # nobody killed it
        return self._left(lived.points, lived.ending)

    def killed_at(self, number: int) -> tuple[Point | None, Left]:
        """The task's process dies at a point, and the task runs again; None: this time it did not come there."""
        self._set()
        lived = self._live(self.task, number)
        if lived.ending is not None:
            return None, self._left(lived.points, lived.ending)
        return lived.points[-1], self._left(lived.points, self._again(lived))

    def before(self) -> list[Tables]:
        """What stands in the databases before the task."""
        self._set()
        return self._read()

    def restore(self) -> None:
        """Leave the databases as they were."""
        for database in self._databases:
            database.restore()

    def compare(self, undisturbed: Left, now: Left) -> tuple[list[Difference], list[str]]:
        """How the databases differ, and all differences as lines."""
        found = [
            difference
            for before, after in zip(undisturbed.tables, now.tables, strict=True)
            for difference in differences(before, after, self._ignore)
        ]
        repeats = self._effects is not None and self._effects.repeats
        return found, [
            *_endings(undisturbed.ending, now.ending),
            *in_words(found),
            *differing_tasks(undisturbed.ending.tasks, now.ending.tasks),
            *differing_effects(undisturbed.effects, now.effects, repeats=repeats),
        ]

    # ---- inside

    def _task_of(self, call: Call[Any]) -> Leased:
        task = TrialStore(self._store, self._secret).make(self._deferq, call)
        if task.at_most_once:
            raise InvalidOption(
                "retry: this task runs at most once (max_attempts=1), so there is no second run that could do harm. Try"
                " it with call(...).with_options(retry=RetryPolicy()).",
                field="retry",
            )
        return lease_of(task, task.payload, task.options)

    def _set(self) -> None:
        self.restore()
        if self._effects is not None:
            self._effects.clear()
        shutil.rmtree(self._store.parent, ignore_errors=True)
        self._store.parent.mkdir(mode=0o700)
        shutil.copy(self._empty, self._store)

    def _live(self, task: Leased, kill_at: int | None) -> Lived:
        how = self._how
        orders = Orders(
            task=task,
            kill_at=kill_at,
            secret=self._secret,
            store=self._store,
            commits=how.commits,
            prepare=how.prepare,
            deferq=self._deferq if how.start == "fork" and self._deferq is not default.default() else None,
        )
        return live_through(orders, self._inherited, how.attempt_s)

    def _again(self, killed: Lived) -> Ending:
        """What deferq does when a worker has died: the attempt is spent, and the task runs again if it may."""
        task = killed.task
        moved = decide(task, _LOST, task.retry, time.time_ns() // 1000, 0.0)
        if moved.state is State.DEAD:
            return Ending(state=State.DEAD, why=moved.reason or "")
        try:
            lived = self._live(next_lease(task, _LOST), None)
        except NotOver as error:  # undisturbed it was: so this is what comes of the kill
            return Ending(state=State.LEASED, why=str(error))
        if lived.ending is None:
            raise CannotTell("The process that was to run the task again was killed by somebody else.")
        return lived.ending

    def _left(self, points: list[Point], ending: Ending) -> Left:
        effects = [] if self._effects is None else self._effects.seen()
        return Left(points=points, ending=ending, tables=self._read(), effects=effects)

    def _read(self) -> list[Tables]:
        return [database.read() for database in self._databases]


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for what the trials need beside the databases."""
    with TemporaryDirectory(prefix="deferq-trials-") as folder:
        yield Path(folder)


def _make_store(path: Path) -> None:
    """An empty store, in one file, to be copied."""
    engine = SqliteEngine(path, synchronous="OFF")
    engine.open()
    engine.close()


def _endings(undisturbed: Ending, now: Ending) -> Iterator[str]:
    if now.state is State.LEASED:
        yield f"the task does not come to its end: {now.why}"
    elif now.state is not undisturbed.state:
        why = f" ({now.why})" if now.why else ""
        yield f"the task is {now.state.name.lower()}{why}, and should be {undisturbed.state.name.lower()}"
