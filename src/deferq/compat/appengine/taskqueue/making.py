"""From a task as App Engine's library has it to one that the engine stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deferq.codec.requests import PULL_TARGET, REQUEST_TARGET, StoredRequest
from deferq.compat.appengine.taskqueue.limits import DEFAULT_QUEUE_PATH, PULL
from deferq.compat.appengine.taskqueue.retryoptions import policy_of
from deferq.model.headers import is_reserved
from deferq.model.queue import Queue
from deferq.model.retry import DEFAULT_RETRY, RetryPolicy
from deferq.model.task import NewTask, Options
from deferq.model.urls import check_url
from deferq.options import check_headers, check_route

if TYPE_CHECKING:
    from deferq.app import Deferq
    from deferq.compat.appengine.taskqueue.task import Task


def made(owner: Deferq, task: Task, queue: str, task_id: int, now: int) -> NewTask:
    """`task` as the engine stores it, signed. Raises a CallError if it cannot be stored."""
    from deferq.compat.appengine.taskqueue.calling import call_of, made_call  # it needs this module

    if (call := call_of(task)) is not None:
        return made_call(owner, task, call, queue, task_id, now)
    pull = task.method == PULL
    settings = owner.queues.get(queue, Queue())
    url = None if pull else check_url(f"{DEFAULT_QUEUE_PATH}{queue}{task.url}" if task.on_queue_url else task.url)
    payload = task.payload or b""
    request = StoredRequest(task.method, payload.encode() if isinstance(payload, str) else payload)
    target = PULL_TARGET if pull else REQUEST_TARGET
    policy = (_pull_policy if pull else _policy)(task, settings)
    return NewTask(
        id=task_id,
        queue=queue,
        target=target,
        priority=0,
        eta=task._eta_usec if pull else max(now, task._eta_usec),
        expires_at=None,
        at_most_once=policy.at_most_once and not pull,
        name=task.name or None,
        if_exists="raise",
        route=task.tag or None if pull else check_route(task._route) or settings.route,
        url=url,
        options=options_of(task, policy, pull=pull).encode(),
        payload=owner.codec.seal_request(task_id, target, request, url=url),
    )


def _policy(task: Task, queue: Queue) -> RetryPolicy:
    """That of the task, else of its queue, else deferq's: one of them, as a whole."""
    return policy_of(task.retry_options) if task.retry_options is not None else queue.retry or DEFAULT_RETRY


def _pull_policy(task: Task, queue: Queue) -> RetryPolicy:
    """How often it may be leased; a lease that is over lets the next one begin at once. Without a limit: any number."""
    own = task.retry_options
    if own is not None:
        leases = own.max_attempts if isinstance(own, RetryPolicy) else own.task_retry_limit
    else:
        leases = None if queue.retry is None else queue.retry.max_attempts
    most = None if leases is None else max(1, leases)
    return RetryPolicy(max_attempts=most, min_backoff_s=0, max_backoff_s=0, jitter=False)


def options_of(task: Task, policy: RetryPolicy, *, pull: bool = False) -> Options:
    """What is stored with it beside its columns."""
    usec = task.dispatch_deadline_usec
    return Options(
        retry=policy,
        timeout_s=None if usec is None else usec / 1_000_000,
        headers=() if pull else _headers(task),
    )


def _headers(task: Task) -> tuple[tuple[str, str], ...]:
    """Those that a delivery brings along; what a task queue or HTTP sets itself is left out, as on App Engine."""
    # What is not UTF-8 is no header either, and is refused as one.
    pairs = [
        (name.decode(errors="replace"), value.decode(errors="replace")) for name, value in task._headers.flattened()
    ]
    return tuple(pair for own in pairs if not is_reserved(own[0]) for pair in check_headers(dict([own])))
