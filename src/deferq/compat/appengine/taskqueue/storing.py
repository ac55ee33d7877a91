"""From a task as App Engine's library has it to one that the engine stores, and to what came of storing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from deferq.codec.requests import StoredRequest
from deferq.compat.appengine.taskqueue.errors import (
    Error,
    TaskAlreadyExistsError,
    TombstonedTaskError,
)
from deferq.compat.appengine.taskqueue.limits import DEFAULT_QUEUE_PATH, PULL
from deferq.compat.appengine.taskqueue.retryoptions import policy_of
from deferq.compat.appengine.taskqueue.translating import translated
from deferq.engines.answers import Clash, Existing, PutAnswer, Tombstoned
from deferq.model.headers import is_reserved
from deferq.model.retry import DEFAULT_RETRY, RetryPolicy
from deferq.model.task import NewTask, Options
from deferq.model.urls import check_url
from deferq.options import check_headers, check_route, expires_at, own_url

if TYPE_CHECKING:
    from deferq.app import Deferq
    from deferq.compat.appengine.deferred.calls import DeferredCall
    from deferq.compat.appengine.taskqueue.task import Task

#: What the tasks of this package call: nothing. They are delivered as they are, or leased.
TARGET = "deferq.compat.appengine.taskqueue:request"
PULL_TARGET = "deferq.compat.appengine.taskqueue:pull"
#: Where the deferred library has its handler: what goes there is called, and not delivered.
DEFERRED_URL = f"{DEFAULT_QUEUE_PATH}deferred"
#: Headers that say nothing, since every delivery has them, or would be the same without.
_DEFAULT_HEADERS = (("Content-Type", "application/octet-stream"), ("X-AppEngine-Current-Namespace", ""))

Result = Error | None


def store(owner: Deferq, tasks: Sequence[Task], queue: str) -> list[Result]:
    """Store `tasks` in `queue`, in one transaction, and tell them so; says of each what kept it out.

    Raises UnknownQueueError, TransientError or InternalError; then none is stored.
    """
    with translated():
        engine = owner.engine
        owner.tasks.checked_queue(queue)
        owner.declare({queue})
        results: list[Result] = [None] * len(tasks)
        places = list(range(len(tasks)))
        while places:  # once more for ids that are taken
            made = _made(owner, [tasks[place] for place in places], queue)
            fit = [(place, one) for place, one in zip(places, made, strict=True) if isinstance(one, NewTask)]
            for place, one in zip(places, made, strict=True):
                results[place] = one if isinstance(one, Error) else None
            answers = engine.put([one for _, one in fit])
            places = []
            for (place, one), answer in zip(fit, answers, strict=True):
                if isinstance(answer, Clash):
                    places.append(place)
                else:
                    results[place] = _result(tasks[place], one, answer)
        return results


def _made(owner: Deferq, tasks: Sequence[Task], queue: str) -> list[NewTask | Error]:
    """Each of them as the engine stores it, or why it cannot be stored."""
    now = owner.engine.now()
    return [
        _one_made(owner, task, queue, task_id, now)
        for task, task_id in zip(tasks, owner.ids.take(len(tasks)), strict=True)
    ]


def _one_made(owner: Deferq, task: Task, queue: str, task_id: int, now: int) -> NewTask | Error:
    try:
        with translated():
            return made(owner, task, queue, task_id, now)
    except Error as error:
        return error


def made(owner: Deferq, task: Task, queue: str, task_id: int, now: int) -> NewTask:
    """`task` as the engine stores it, signed. Raises a CallError if it cannot be stored."""
    if (call := _call_of(task)) is not None:
        return made_call(owner, task, call, queue, task_id, now)
    pull = task.method == PULL
    url = None if pull else check_url(f"{DEFAULT_QUEUE_PATH}{queue}{task.url}" if task.on_queue_url else task.url)
    payload = task.payload or b""
    request = StoredRequest(task.method, payload.encode() if isinstance(payload, str) else payload)
    target = PULL_TARGET if pull else TARGET
    policy = _policy(owner, task, queue)
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
        route=task.tag if pull else check_route(task._route),
        url=url,
        options=_options(task, policy, pull).encode(),
        payload=owner.codec.seal_request(task_id, target, request, url=url),
    )


def _call_of(task: Task) -> DeferredCall | None:
    """What a task of the deferred library calls; None: it is a request for a view of the application."""
    if task._call is not None or task.url != DEFERRED_URL or task.method != "POST":
        return task._call
    from deferq.compat.appengine.deferred.calls import DeferredCall  # it stands above this package

    payload = task.payload or b""
    return DeferredCall.in_body(payload.encode() if isinstance(payload, str) else payload)


def made_call(owner: Deferq, task: Task, call: DeferredCall, queue: str, task_id: int, now: int) -> NewTask:
    """A task of the deferred library as the engine stores it: any worker calls it, unless it has an url of its own."""
    declared = call.declared
    url = own_url(None if task.on_queue_url else task.url, queue)
    policy = _policy(owner, task, queue, declared.retry)
    sealed = call.sealed(owner.codec, task_id, url)
    task._payload = call.body(task_id)
    options = _options(task, policy, pull=False)
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
        route=check_route(task._route),
        url=url,
        options=replace(options, timeout_s=timeout_s, tags=declared.tags, headers=headers).encode(),
        payload=sealed.payload,
        spill=sealed.spill,
    )


def _policy(owner: Deferq, task: Task, queue: str, declared: RetryPolicy | None = None) -> RetryPolicy:
    """That of the task, else of what it calls, else of its queue, else deferq's: one of them, as a whole."""
    if task.retry_options is not None:
        return policy_of(task.retry_options)
    if declared is not None:
        return declared
    settings = owner.queues.get(queue)
    return (settings and settings.retry) or DEFAULT_RETRY


def _options(task: Task, policy: RetryPolicy, pull: bool) -> Options:
    usec = task.dispatch_deadline_usec
    return Options(
        retry=policy,
        timeout_s=None if usec is None else usec / 1_000_000,
        headers=() if pull else _headers(task),
    )


def _headers(task: Task) -> tuple[tuple[str, str], ...]:
    """Those that a delivery brings along; what a task queue or HTTP sets itself is left out, as on App Engine."""
    pairs = [(name.decode(), value.decode()) for name, value in task._headers.flattened()]
    return tuple(pair for own in pairs if not is_reserved(own[0]) for pair in check_headers(dict([own])))


def _result(task: Task, stored: NewTask, answer: PutAnswer) -> Result:
    if isinstance(answer, Existing):
        return TaskAlreadyExistsError(
            f"Task {answer.id} of queue {stored.queue!r} has the name {stored.name!r} and has not ended yet. It will do"
            " what this one was to do, or take another name.",
            task_id=answer.id,
        )
    if isinstance(answer, Tombstoned):
        return TombstonedTaskError(
            f"The name {stored.name!r} belonged to task {answer.id} of queue {stored.queue!r}, which has ended, and"
            " stays taken for a while. Take another name.",
            task_id=answer.id,
            until=answer.until,
        )
    task._was_added(stored.queue, stored.name or str(stored.id))
    return None
