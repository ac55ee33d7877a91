"""From a call to a task: whatever may refuse a call happens here, before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from deferq.calls import Call
from deferq.codec.codec import Codec
from deferq.codec.targets import Located, locate
from deferq.errors import InvalidOption, UnknownQueueError
from deferq.model.queue import DEFAULT_QUEUE, Queue
from deferq.model.retry import DEFAULT_RETRY
from deferq.model.task import NewTask, Options
from deferq.options import (
    check_headers,
    check_name,
    check_options,
    check_priority,
    check_queue_name,
    check_retry,
    check_route,
    check_tags,
    check_timeout,
    due_at,
    expires_at,
    own_url,
)
from deferq.registry import DeferrableOptions, registry
from deferq.signatures import check_arguments
from deferq.suggest import did_you_mean

_UNDECLARED, _UNLIMITED = DeferrableOptions(), Queue()


class Plan(NamedTuple):
    """What a call without options of its own comes to: worked out once per target."""

    queue: str
    priority: int
    expires_s: float | None
    at_most_once: bool
    options: str | None
    #: Where it is delivered to; None: it is called.
    url: str | None
    #: The route of its queue.
    route: str | None


class TaskMaker:
    """Makes tasks of calls: finds the target, checks arguments and options, signs."""

    def __init__(self, codec: Codec, queues: Callable[[], Mapping[str, Queue]]) -> None:
        """`queues` are those that the application declares, asked for with the first call: a file may declare some."""
        self._codec = codec
        self._queues = queues
        self._plans: dict[str, Plan] = {}
        self._plans_version = -1

    def make(self, task_id: int, call: Call[Any], now: int) -> NewTask:
        """The task for `call`, signed and not stored yet. Raises what refuses the call."""
        located = locate(call.fn)
        check_arguments(call.fn, call.args, call.kwargs)
        if call.options:
            return self._make_with_options(task_id, call, located, call.options, now)
        plan = self._plan(located.target, call.fn)
        expires = expires_at(plan.expires_s, now)
        payload = self._codec.encode(task_id, located, call.args, call.kwargs, url=plan.url)
        return NewTask(
            task_id, plan.queue, located.target, plan.priority, now, expires, plan.at_most_once,
            None, "raise", plan.route, plan.url, plan.options, payload,
        )  # fmt: skip

    def _make_with_options(
        self, task_id: int, call: Call[Any], located: Located, options: Mapping[str, Any], now: int
    ) -> NewTask:
        check_options(options)
        plan = self._make_plan(_declared(located.target, call.fn), options)
        return NewTask(
            id=task_id,
            queue=plan.queue,
            target=located.target,
            priority=plan.priority,
            eta=due_at(options, now),
            expires_at=expires_at(options.get("expires", plan.expires_s), now),
            at_most_once=plan.at_most_once,
            name=check_name(options.get("name")),
            if_exists=options.get("if_exists", "raise"),
            route=plan.route if options.get("route") is None else check_route(options["route"]),
            url=plan.url,
            options=plan.options,
            payload=self._codec.encode(task_id, located, call.args, call.kwargs, url=plan.url),
        )

    def _plan(self, target: str, fn: Callable[..., Any]) -> Plan:
        """The plan of a target, remembered until somebody declares something."""
        if self._plans_version != registry.version:
            self._plans, self._plans_version = {}, registry.version
        plan = self._plans.get(target)
        if plan is None:
            plan = self._plans[target] = self._make_plan(_declared(target, fn), {})
        return plan

    def _make_plan(self, declared: DeferrableOptions, options: Mapping[str, Any]) -> Plan:
        """The call's own options, else those of the deferrable, else those of its queue, else deferq's."""
        queue = options.get("queue")
        queue = self.checked_queue((declared.queue or DEFAULT_QUEUE) if queue is None else queue)
        settings = self._queues().get(queue, _UNLIMITED)
        if settings.pull:
            raise InvalidOption(
                f"queue: {queue!r} is declared as a pull queue, and no worker calls what is in it. Use another one.",
                field="queue",
            )
        retry = check_retry(options.get("retry")) or declared.retry or settings.retry or DEFAULT_RETRY
        stored = Options(
            retry=retry,
            timeout_s=check_timeout(options.get("timeout", declared.timeout_s)),
            tags=declared.tags if options.get("tags") is None else (*declared.tags, *check_tags(options["tags"])),
            headers=() if options.get("headers") is None else check_headers(options["headers"]),
        )
        url = options.get("url")
        priority = options.get("priority")
        priority = declared.priority if priority is None else priority
        return Plan(
            queue=queue,
            priority=0 if priority is None else check_priority(priority),
            expires_s=declared.expires_s,
            at_most_once=retry.at_most_once,
            options=stored.encode(),
            url=own_url(declared.url if url is None else url, queue),
            route=settings.route,
        )

    def checked_queue(self, name: object) -> str:
        """The name, if it is one, and that of a declared queue where any are. Raises InvalidName, UnknownQueueError."""
        queue = check_queue_name(name)
        known = self._queues()
        if known and queue not in known and queue != DEFAULT_QUEUE:
            source = next((one.source for one in known.values() if one.source), None)  # which more would stand in, too
            raise UnknownQueueError(
                f"The queue {queue!r} is not declared.{did_you_mean(queue, known)} Declare it in"
                f" {source or 'configure(queues={...})'}, or use one of: {', '.join(sorted(known))}."
            )
        return queue


def _declared(target: str, fn: Callable[..., Any]) -> DeferrableOptions:
    """What was declared for the target, or for the function of a method that goes by the name of its owner."""
    declared = registry.options_for(target)
    if declared is None and hasattr(fn, "__qualname__"):
        declared = registry.options_for(f"{fn.__module__}:{fn.__qualname__}")
    return declared or _UNDECLARED
