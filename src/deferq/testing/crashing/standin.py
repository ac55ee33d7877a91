"""What stands in for the application's own queue while a task is on trial."""

from __future__ import annotations

import copy
from pathlib import Path

from deferq.app import Deferq
from deferq.config import Settings, Value
from deferq.model.task import Leased, NewTask, Task

#: Engines that were replaced: to collect them would close them.
_kept: list[object] = []


def redirect(deferq: Deferq, store: Path, secret: str) -> None:
    """Let `deferq` put its tasks into `store` from now on; what it had open stays as it is, and is used no more."""
    # OFF: no power cut is tried here, and what was written outlives the process that wrote it.
    ours = {"url": f"sqlite:///{store}?synchronous=OFF", "secrets": (secret,)}
    values = {**deferq.settings.values, **{name: Value(value, "assert_idempotent") for name, value in ours.items()}}
    deferq.settings = Settings(values, deferq.settings.project)
    _kept.append(deferq._engine)
    deferq._engine = None


def twin_of(deferq: Deferq, store: Path, secret: str) -> Deferq:
    """One like `deferq` that puts its tasks into `store`."""
    twin = copy.copy(deferq)
    redirect(twin, store, secret)
    return twin


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
