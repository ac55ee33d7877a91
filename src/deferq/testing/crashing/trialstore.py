"""The store that stands in for every store of the application while a task is on trial."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deferq import standin, stores
from deferq.app import Deferq
from deferq.calls import Call
from deferq.config import Settings, Value
from deferq.engines.sqlite import SqliteEngine
from deferq.errors import TaskNotFinished
from deferq.model.task import Leased, NewTask, Task
from deferq.testing.crashing.trialwithin import TrialWithin

#: What would bring back the stores of this process. Nobody asks for it, but to collect them would close them.
_kept: list[Callable[[], None]] = []


class TrialStore:
    """An SQLite file, in which a killed process leaves what it has deferred."""

    def __init__(self, path: Path, secret: str) -> None:
        self._path = path
        self._secret = secret

    def open(self, owner: Deferq) -> SqliteEngine:
        """The store in place of the one that `owner` names; nothing is opened yet."""
        settings = owner.settings
        secrets = Value((self._secret,), "assert_idempotent")
        owner.settings = Settings({**settings.values, "secrets": secrets}, settings.project)
        engine = SqliteEngine(
            self._path,
            # No power cut is tried here, and what was written outlives the process that wrote it.
            synchronous="OFF",
            payload_limit=stores.envelope_limit(settings),
            tombstone_s=settings["tombstone_s"],
        )
        engine.within = TrialWithin(stores.store_path(settings))
        return engine

    def somebody_waits(self, owner: Deferq, task_id: int) -> None:
        raise TaskNotFinished(f"Task {task_id} will not run: while a task is on trial, nothing that it defers runs.")

    def stay(self) -> None:
        """Take the place of every store until this process ends."""
        _kept.append(standin.exchange(self))

    def make(self, deferq: Deferq, call: Call[object]) -> NewTask:
        """The task that `deferq` would store for `call`."""
        settings = deferq.settings
        bring_back = standin.exchange(self)
        try:
            engine = deferq.engine  # makes all that belongs to it
            return deferq.tasks.make(deferq.ids.next(), call, engine.now())
        finally:
            bring_back()
            deferq.settings = settings


def lease_of(task: NewTask | Task, payload: bytes, options: str | None = None) -> Leased:
    """The task in a worker's hand for the first time."""
    return Leased(
        id=task.id,
        queue=task.queue,
        target=task.target,
        priority=task.priority,
        eta=task.eta,
        attempts=0,
        starts=1,
        parks=0,
        expires_at=task.expires_at,
        name=task.name,
        route=task.route,
        url=task.url,
        options=options,
        payload=payload,
        first_due=task.eta,
        lease_id=1,
        leased_until=task.eta,
        cancel_requested=False,
    )
