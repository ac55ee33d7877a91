"""What is announced. Logs, metrics and traces subscribe; nothing in deferq waits for them."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class EventName(StrEnum):
    """The one vocabulary of events."""

    TASK_STARTED = "task.started"
    TASK_SUCCEEDED = "task.succeeded"
    TASK_FAILED = "task.failed"  # an attempt failed; another follows
    TASK_RETRIED = "task.retried"  # it asked for another attempt
    TASK_SNOOZED = "task.snoozed"
    TASK_PARKED = "task.parked"
    TASK_QUARANTINED = "task.quarantined"  # its worker has died twice: it is to run alone in a fresh process
    TASK_CANCELLED = "task.cancelled"
    TASK_DIED = "task.died"
    TASK_LOST = "task.lost"  # the lease was lost; the outcome was not stored
    WORKER_STARTED = "worker.started"
    WORKER_STOPPING = "worker.stopping"
    WORKER_STOPPED = "worker.stopped"
    CHILD_STARTED = "child.started"  # a child process has loaded the application
    CHILD_LOST = "child.lost"  # a child process died
    CHILD_REPLACED = "child.replaced"  # a child process has done enough, or is in trouble
    STORE_UNAVAILABLE = "store.unavailable"
    STORE_RECOVERED = "store.recovered"


class Event(NamedTuple):
    """One thing that happened. Fields that do not apply are empty."""

    name: EventName
    #: Microseconds since the epoch.
    at: int
    task_id: int = 0
    target: str = ""
    queue: str = ""
    attempt: int = 0
    #: Seconds the attempt ran.
    duration_s: float = 0.0
    #: One line for people: the error, the reason, the address.
    detail: str = ""
    #: The traceback of a failed attempt.
    traceback: str = ""
