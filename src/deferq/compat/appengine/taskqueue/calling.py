"""Tasks of the deferred library: they are called by any worker, unless they have an url of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deferq.compat.appengine.taskqueue.errors import InvalidTaskError
from deferq.compat.appengine.taskqueue.limits import DEFAULT_QUEUE_PATH
from deferq.compat.appengine.taskqueue.making import options_of
from deferq.compat.appengine.taskqueue.retryoptions import policy_of
from deferq.errors import TargetNotAllowed
from deferq.model.queue import Queue
from deferq.model.retry import DEFAULT_RETRY, RetryPolicy
from deferq.model.task import NewTask
from deferq.options import check_route, expires_at, own_url

if TYPE_CHECKING:
    from deferq.app import Deferq
    from deferq.compat.appengine.deferred.calls import DeferredCall, Sealed
    from deferq.compat.appengine.taskqueue.task import Task

#: Where the deferred library has its handler: what goes there is called, and not delivered.
DEFERRED_URL = f"{DEFAULT_QUEUE_PATH}deferred"
#: Headers that say nothing, since every delivery has them, or would be the same without.
_DEFAULT_HEADERS = (("Content-Type", "application/octet-stream"), ("X-AppEngine-Current-Namespace", ""))


def call_of(task: Task) -> DeferredCall | None:
    """What `task` calls; None: it is a request for a view of the application, or is pulled."""
    if task._call is not None or task.url != DEFERRED_URL or task.method != "POST":
        return task._call
    from deferq.compat.appengine.deferred.calls import DeferredCall  # it stands above this package

    payload = task.payload or b""
    return DeferredCall.in_body(payload.encode() if isinstance(payload, str) else payload)


def made_call(owner: Deferq, task: Task, call: DeferredCall, queue: str, task_id: int, now: int) -> NewTask:
    """`task` as the engine stores it, signed. Raises a CallError if it cannot be stored."""
    declared, settings = call.declared, owner.queues.get(queue, Queue())
    url = own_url(None if task.on_queue_url else task.url, queue)
    policy = _policy(task, declared.retry, settings)
    sealed = _sealed(owner, call, task_id, url)
    task._payload = call.body(task_id)
    options = options_of(task, policy)
    headers = tuple(header for header in options.headers if header not in _DEFAULT_HEADERS)
    timeout_s = declared.timeout_s if options.timeout_s is None else options.timeout_s
    return NewTask(
        id=task_id,
        queue=queue,
        target=call.target,
        priority=declared.priority or 0,
        eta=max(now, task._eta_usec),
        expires_at=expires_at(declared.expires_s, now),
        at_most_once=policy.at_most_once,
        name=task.name or None,
        if_exists="raise",
        route=check_route(task._route) or settings.route,
        url=url,
        options=replace(options, timeout_s=timeout_s, tags=declared.tags, headers=headers).encode(),
        payload=sealed.payload,
        spill=sealed.spill,
    )


def _sealed(owner: Deferq, call: DeferredCall, task_id: int, url: str | None) -> Sealed:
    try:
        return call.sealed(owner.codec, task_id, url)
    except TargetNotAllowed as error:  # of the callable, and not of the url
        raise InvalidTaskError(str(error)) from error


def _policy(task: Task, declared: RetryPolicy | None, queue: Queue) -> RetryPolicy:
    """That of the task, else of what it calls, else of its queue, else deferq's: one of them, as a whole."""
    if task.retry_options is not None:
        return policy_of(task.retry_options)
    return declared or queue.retry or DEFAULT_RETRY
