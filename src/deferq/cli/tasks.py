"""How the verbs under `deferq tasks` show a task, and how they speak of tasks that cannot be changed."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any

from deferq.cli.arguments import EXIT_FAILED, EXIT_OK
from deferq.cli.output import plural
from deferq.cli.times import utc
from deferq.engines.base import LeasingEngine
from deferq.model.task import Failure, Options, Task


def task_document(task: Task, now: int) -> dict[str, Any]:
    """A task in JSON. Times are UTC; ids are text, since they have more bits than a JavaScript number."""
    return {
        "id": str(task.id),
        "queue": task.queue,
        "target": task.target,
        "name": task.name,
        "state": task.state.name.lower(),
        "reading": task.reading(now),
        "reason": task.reason,
        "priority": task.priority,
        "created_at": utc(task.created_at),
        "first_due": utc(task.first_due),
        "eta": utc(task.eta),
        "leasable_at": utc(task.leasable_at),
        "expires_at": utc(task.expires_at),
        "finished_at": utc(task.finished_at),
        "attempts": task.attempts,
        "starts": task.starts,
        "parks": task.parks,
        "crashes": task.crashes,
        "cancel_requested": task.cancel_requested,
        "lease_id": None if task.lease_id is None else str(task.lease_id),
        "route": task.route,
        "url": task.url,
        "payload_bytes": task.payload_bytes,
        "options": options_document(task.options),
    }


def options_document(options: Options) -> dict[str, Any]:
    """The options stored with a task."""
    return {
        "retry": {field.name: getattr(options.retry, field.name) for field in fields(options.retry)},
        "timeout_s": options.timeout_s,
        "tags": list(options.tags),
        "headers": dict(options.headers),
    }


def failure_document(failure: Failure) -> dict[str, Any]:
    """One attempt that did not succeed."""
    return {
        "attempt": failure.attempt,
        "at": utc(failure.at),
        "kind": failure.kind,
        "error_type": failure.error_type,
        "message": failure.message,
        "traceback": failure.traceback,
        "report": failure.report,
    }


def report_changed(engine: LeasingEngine, ids: Sequence[int], changed: Collection[int], done: str, fits: str) -> int:
    """Say how many tasks were changed, and of the others why not; the exit code."""
    print(f"{plural(len(changed), 'task')} {done}")
    left = [task_id for task_id in dict.fromkeys(ids) if task_id not in changed]
    found = {task.id: task for task in engine.get(left)}
    for task_id in left:
        print(f"deferq: {_why_not(task_id, found.get(task_id), fits)}", file=sys.stderr)
    return EXIT_FAILED if left else EXIT_OK


def missing(task_id: int) -> str:
    """What to say of an id that no task has."""
    return f"There is no task {task_id}. Its retention may be over, or the store is another one."


def _why_not(task_id: int, task: Task | None, fits: str) -> str:
    if task is None:
        return missing(task_id)
    return f"Task {task_id} is {task.state.name.lower()}; only {fits} tasks can be changed so."
