"""From what came of a task to what is stored and announced. Pure: time and chance are arguments."""

from __future__ import annotations

from dataclasses import replace

from deferq.codec.requests import PULL_TARGET
from deferq.engines.base import Settlement
from deferq.model.events import Event, EventName
from deferq.model.outcome import ErrorText, Failed, Outcome, Parked, Retried, Succeeded
from deferq.model.retry import DEFAULT_RETRY, RetryPolicy
from deferq.model.task import Failure, Leased
from deferq.model.transitions import decide

#: The attempt began somewhere, and nobody will ever say how it ended.
WORKER_LOST = Failed(
    error=ErrorText(error_type="WorkerLost", message="The lease ran out: its worker died, or was cut off."),
    reason="worker lost",
)
#: The same, known at once: a lease that is not over yet, held by nobody alive.
WORKER_DIED = Failed(
    error=ErrorText(error_type="WorkerLost", message="The process of its worker ended before the task did."),
    reason="worker lost",
)
#: The same of a task that is pulled: whoever leased it has not deleted it in time.
LEASE_OVER = Failed(
    error=ErrorText(error_type="LeaseOver", message="The lease ran out, and whoever pulled it had not deleted it."),
    reason="lease over",
)
WORKER_STOPPED = Failed(
    error=ErrorText(error_type="WorkerStopped", message="The worker stopped before the task ended, and cancelled it."),
    reason="worker stopped",
)
#: The same for one of several children; the worker goes on.
CHILD_ENDED = Failed(
    error=ErrorText(
        error_type="WorkerStopped",
        message="The worker ended its process before the task did: there is new code, or another task ran too long.",
    ),
    reason="worker stopped",
)
#: How each rule of the life of a task is announced; a task that is given back unstarted is not worth a word.
ANNOUNCED: dict[str, EventName] = {
    "succeeded": EventName.TASK_SUCCEEDED,
    "failed": EventName.TASK_FAILED,
    "worker lost": EventName.TASK_FAILED,
    "retried": EventName.TASK_RETRIED,
    "snoozed": EventName.TASK_SNOOZED,
    "parked": EventName.TASK_PARKED,
    "cancelled": EventName.TASK_CANCELLED,
    "permanent": EventName.TASK_DIED,
    "attempts spent": EventName.TASK_DIED,
    "corrupt": EventName.TASK_DIED,
}


def lost_with_process(kind: Failed, how: str, others: int) -> Failed:
    """The outcome `kind` of a task whose process has ended, where it is known how, and how many others ran there."""
    beside = f", and {others} other{'s' if others > 1 else ''} with it" if others > 0 else ""
    text = replace(kind.error, message=f"The process {how} while this task ran{beside}.")
    return replace(kind, error=text)


def settle(task: Leased, outcome: Outcome, duration_us: int, now: int, jitter: float) -> Settlement:
    """The end of a lease, to be stored."""
    transition = decide(task, outcome, _policy(task), now, jitter)
    if isinstance(outcome, Succeeded):
        return Settlement(task, transition, duration_us, outcome.result)
    return Settlement(task, transition, duration_us, None, _failure(task, outcome, now))


def fate_of_stalled(task: Leased, now: int) -> Failed:
    """What became of a task whose lease is over, or whose holder is dead."""
    if task.target == PULL_TARGET:
        return LEASE_OVER
    return WORKER_LOST if task.leased_until <= now else WORKER_DIED


def event_of(settlement: Settlement, name: EventName, now: int) -> Event:
    """What there is to say about a settled task. Arguments and results are never in it."""
    task, failure = settlement.task, settlement.failure
    error = f"{failure.error_type}: {failure.message}" if failure and failure.error_type else ""
    return Event(
        name,
        now,
        task.id,
        task.target,
        task.queue,
        task.attempt,
        settlement.duration_us / 1e6,
        error or settlement.transition.reason or "",
        failure.traceback if failure else "",
    )


def lost(task: Leased, now: int) -> Event:
    """Another worker holds the task now."""
    return Event(EventName.TASK_LOST, now, task.id, task.target, task.queue, task.attempt)


def _policy(task: Leased) -> RetryPolicy:
    """The stored policy; the default where the stored options cannot be read, since settling must not fail."""
    if task.options is None:
        return DEFAULT_RETRY
    try:
        return task.retry
    except Exception:
        return DEFAULT_RETRY


def _failure(task: Leased, outcome: Outcome, now: int) -> Failure | None:
    """What is kept of the attempt for people to read."""
    match outcome:
        case Failed():
            return _of_error(task, outcome.error, outcome.reason, now)
        case Parked() if not task.parks:  # it is parked again and again; the first time says it all
            return _of_error(task, outcome.error, "parked", now)
        case Retried():
            return Failure(
                attempt=task.attempt, at=now, kind="retried", error_type="", message=outcome.reason, traceback=""
            )
        case _:
            return None


def _of_error(task: Leased, error: ErrorText, kind: str, now: int) -> Failure:
    return Failure(
        attempt=task.attempt,
        at=now,
        kind=kind,
        error_type=error.error_type,
        message=error.message,
        traceback=error.traceback,
        report=error.report,
    )
