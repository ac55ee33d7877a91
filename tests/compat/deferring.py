"""Running what was deferred, in the thread of the test and without a worker."""

from __future__ import annotations

from typing import Any

from deferq import Deferq
from deferq.compat.appengine import taskqueue
from deferq.model.outcome import Outcome
from deferq.model.task import Task
from deferq.runtime.executor import Executor
from tests.support import lease, settle


def run_due(app: Deferq) -> list[Outcome]:
    """Run what is due, each task once; what came of them."""
    executor = Executor(app.codec)
    leased = lease(app.engine)
    outcomes = [executor.run(task) for task in leased]
    for task, outcome in zip(leased, outcomes, strict=True):
        settle(app.engine, task, outcome)
    return outcomes


def stored(app: Deferq, task: taskqueue.Task) -> Task:
    """The task as the store has it."""
    found = app.engine.find(_everything()).tasks
    return next(one for one in found if task.name in (one.name, str(one.id)))


def stored_alone(app: Deferq) -> Task:
    """The only task in the store."""
    (task,) = app.engine.find(_everything()).tasks
    return task


def _everything() -> Any:
    from deferq.engines.base import Filter

    return Filter()
