"""Deferq: one application's queue, from the call to the worker.

The functions of the package are those of a default one.

The life of a task starts here: `defer` finds the target, checks the arguments, signs them and puts the task into the
engine. It goes on in `runtime/executor.py`, and ends as `model/transitions.py` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from deferq.calls import Call
from deferq.codec.codec import Codec
from deferq.codec.context import Carried
from deferq.codec.targets import locate
from deferq.config import Settings, gather
from deferq.engines.base import Clash, Existing, LeasingEngine, PutAnswer, Tombstoned
from deferq.errors import ConfigError, TaskAlreadyExistsError, TaskNotFound, TombstonedTaskError, UnknownQueueError
from deferq.handles import TaskHandle
from deferq.http.asgi import AsgiApp, WrappedAsgi
from deferq.http.wsgi import WrappedWsgi, WsgiApp
from deferq.ids import IdSource
from deferq.model.events import Event
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
    split_keywords,
)
from deferq.registry import DeferrableOptions, registry
from deferq.signatures import check_arguments, shape_of
from deferq.suggest import did_you_mean

if TYPE_CHECKING:
    from deferq.runtime.embedded import EmbeddedWorker
    from deferq.runtime.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")
Listener = Callable[[Event], None]

_UNDECLARED = DeferrableOptions()
ID_MAX = (1 << 63) - 1


class Plan(NamedTuple):
    """What a call without options of its own comes to: worked out once per target."""

    queue: str
    priority: int
    expires_s: float | None
    at_most_once: bool
    options: str | None


class Deferq:
    """A queue of tasks in one store.

    Args:
        url: the store, `sqlite:///jobs.db`, `sqlite:////var/lib/jobs.db?synchronous=NORMAL` or `memory://`; None: what
            the environment or the project says, else `.deferq/deferq.db` in the project.
        queues: the application's queues by name; once declared, deferring to another one is an error.
        secrets: what signs payloads, newest first; None: a file beside the database, made at the first use.
        allow: module prefixes that targets must lie under; None: any, since the signature vouches for them.
        carry: ContextVars (or Carried) whose values travel with each task.
        settings: every other setting by name, see `deferq config show`.

    Making one opens nothing; the store is opened at the first use. Safe from any thread, and after a fork.
    Raises ConfigError.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        queues: Mapping[str, Queue] | None = None,
        secrets: Sequence[str | bytes] | None = None,
        allow: Iterable[str] | None = None,
        carry: Iterable[ContextVar[Any] | Carried] = (),
        **settings: Any,
    ) -> None:
        self.settings: Settings = gather({"url": url, "secrets": secrets, "allow": allow, **settings})
        self.queues = _checked_queues(queues)
        self._carry = tuple(carry)
        self._engine: LeasingEngine | None = None
        self._opening = Lock()
        self._plans: dict[str, Plan] = {}
        self._plans_version = -1
        self._embedded: EmbeddedWorker | None = None
        self.listeners: list[Listener] = []

    # ---- what it is made of

    @property
    def engine(self) -> LeasingEngine:
        """Where the tasks are. Opened at the first use."""
        return self._engine or self._open()

    def _open(self) -> LeasingEngine:
        with self._opening:
            if self._engine is None:
                from deferq import stores  # imported late, as all that only an open store needs

                engine = stores.open_engine(self.settings)
                self.ids = IdSource(engine.now)
                self.codec = Codec(
                    lambda: stores.keyring_for(engine, self.settings),
                    registry,
                    allow=self.settings["allow"],
                    carry=self._carry,
                    payload_limit=self.settings["payload_limit"],
                )
                self._engine = engine
            return self._engine

    def open_result(self, task_id: int, target: str, envelope: bytes | None) -> Any:
        """What a task returned, verified and restored."""
        return self.codec.open_result(task_id, target, envelope)

    def close(self) -> None:
        """Stop the embedded worker, if there is one, and close the store. It opens again when it is used again."""
        if self._embedded is not None:
            self._embedded.stop()
            self._embedded = None
        with self._opening:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def __enter__(self) -> Deferq:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # ---- deferring

    def defer(self, fn: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> TaskHandle:
        """Call `fn(*args, **kwargs)` later. When this returns, the task is stored.

        App Engine's options (`_countdown`, `_eta`, `_name`, `_queue`, `_target`, `_headers`, `_retry_options`) are
        taken too; the typed way to give options is `call(fn, ...).defer(countdown=60)`.

        Raises NotDeferrable, NotSerializable, PayloadTooLargeError or another CallError, TypeError if the function does
        not take these arguments, StoreError if the store cannot be written.
        """
        if kwargs:
            return self.put_call(self._call_from_keywords(fn, args, kwargs))
        return self._put_one(fn, args, kwargs, None)

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """`fn(*args, **kwargs)` as a Call, to be deferred with options or in bulk."""
        return Call(lambda: self, fn, args, kwargs)

    async def defer_async(self, fn: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> TaskHandle:
        """`defer` from a coroutine: the event loop goes on while the store commits."""
        import asyncio

        return await asyncio.to_thread(self.defer, fn, *args, **kwargs)

    def put_call(self, call: Call[Any]) -> TaskHandle:
        """Store one call; what `call(...).defer()` does."""
        return self._put_one(call.fn, call.args, call.kwargs, call.options)

    def defer_many(self, calls: Iterable[Call[Any]]) -> list[TaskHandle]:
        """Store many calls in one transaction: all of them or, if one is refused, none.

        Names that are taken are the exception: such a call is not stored, and its handle is that of the task that has
        the name, with `existed` set; with if_exists="raise" (the default) the error is raised after the others are in.
        """
        engine = self.engine
        calls = list(calls)
        now = engine.now()
        ids = self.ids.take(len(calls))
        make = self._new_task
        tasks = [
            make(task_id, call.fn, call.args, call.kwargs, call.options, now)
            for task_id, call in zip(ids, calls, strict=True)
        ]
        answers = engine.put(tasks)
        return [
            self._handle(task, answer) for task, answer in self._settled(list(zip(tasks, answers, strict=True)), calls)
        ]

    def _put_one(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any] | None,
    ) -> TaskHandle:
        engine = self.engine
        while True:
            task = self._new_task(self.ids.next(), fn, args, kwargs, options, engine.now())
            answer = engine.put([task])[0]
            if not isinstance(answer, Clash):
                return self._handle(task, answer)

    def _settled(
        self, answered: list[tuple[NewTask, PutAnswer]], calls: Sequence[Call[Any]]
    ) -> list[tuple[NewTask, PutAnswer]]:
        """Put calls whose id was taken once more, under new ids."""
        for place, (_, answer) in enumerate(answered):
            while isinstance(answer, Clash):
                call = calls[place]
                task = self._new_task(self.ids.next(), call.fn, call.args, call.kwargs, call.options, self.engine.now())
                answer = self.engine.put([task])[0]
                answered[place] = (task, answer)
        return answered

    def _handle(self, task: NewTask, answer: PutAnswer) -> TaskHandle:
        if isinstance(answer, Existing | Tombstoned):
            return self._handle_of_existing(task, answer)
        return TaskHandle(self, answer.id)

    def _handle_of_existing(self, task: NewTask, answer: Existing | Tombstoned) -> TaskHandle:
        if task.if_exists == "return":
            return TaskHandle(self, answer.id, existed=True)
        if isinstance(answer, Tombstoned):
            raise TombstonedTaskError(
                f"The name {task.name!r} was used in queue {task.queue!r} a short while ago (task {answer.id}) and"
                " stays taken for a while. Use another name, or if_exists='replace'.",
                task_id=answer.id,
                until=answer.until,
            )
        raise TaskAlreadyExistsError(
            f"Task {answer.id} of queue {task.queue!r} has the name {task.name!r}. Use another name, or"
            " if_exists='return' or 'replace'.",
            task_id=answer.id,
        )

    # ---- from a call to a task

    def _call_from_keywords(self, fn: Callable[..., R], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call[R]:
        shape = shape_of(fn)
        options, own = split_keywords(kwargs, shape.keywords if shape else None)
        return Call(lambda: self, fn, args, own, options or None)

    def _new_task(
        self,
        task_id: int,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any] | None,
        now: int,
    ) -> NewTask:
        """Everything that may refuse a call happens here, before anything is stored."""
        located = locate(fn)
        check_arguments(fn, args, kwargs)
        if options:
            return self._task_with_options(task_id, fn, located, args, kwargs, options, now)
        plan = self._plan(located.target, fn)
        expires = expires_at(plan.expires_s, now)
        payload = self.codec.encode(task_id, located, args, kwargs)
        return NewTask(
            task_id, plan.queue, located.target, plan.priority, now, expires, plan.at_most_once,
            None, "raise", None, None, plan.options, payload,
        )  # fmt: skip

    def _task_with_options(
        self,
        task_id: int,
        fn: Callable[..., Any],
        located: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
        now: int,
    ) -> NewTask:
        check_options(options)
        plan = self._make_plan(_declared(located.target, fn), options)
        expires = options.get("expires", plan.expires_s)
        return NewTask(
            id=task_id,
            queue=plan.queue,
            target=located.target,
            priority=plan.priority,
            eta=due_at(options, now),
            expires_at=expires_at(expires, now),
            at_most_once=plan.at_most_once,
            name=check_name(options.get("name")),
            if_exists=options.get("if_exists", "raise"),
            route=check_route(options.get("route")),
            url=None,
            options=plan.options,
            payload=self.codec.encode(task_id, located, args, kwargs),
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
        queue = self._checked_queue((declared.queue or DEFAULT_QUEUE) if queue is None else queue)
        settings = self.queues.get(queue)
        retry = check_retry(options.get("retry")) or declared.retry or (settings and settings.retry) or DEFAULT_RETRY
        stored = Options(
            retry=retry,
            timeout_s=check_timeout(options.get("timeout", declared.timeout_s)),
            tags=declared.tags if options.get("tags") is None else (*declared.tags, *check_tags(options["tags"])),
            headers=() if options.get("headers") is None else check_headers(options["headers"]),
        )
        priority = options.get("priority", declared.priority)
        return Plan(
            queue=queue,
            priority=0 if priority is None else check_priority(priority),
            expires_s=declared.expires_s,
            at_most_once=retry.at_most_once,
            options=stored.encode(),
        )

    def _checked_queue(self, name: object) -> str:
        queue = check_queue_name(name)
        if self.queues and queue not in self.queues and queue != DEFAULT_QUEUE:
            raise UnknownQueueError(
                f"The queue {queue!r} is not declared.{did_you_mean(queue, self.queues)} Declare it in"
                f" configure(queues={{...}}), or use one of: {', '.join(sorted(self.queues))}."
            )
        return queue

    # ---- looking and running

    def task(self, task_id: int | str) -> TaskHandle:
        """The handle of a task whose id is known. Raises TaskNotFound for what cannot be an id."""
        try:
            number = int(task_id)
        except ValueError:
            number = -1
        if not 0 <= number <= ID_MAX:
            raise TaskNotFound("This is no id of a task: a whole number of up to 63 bits is expected.")
        return TaskHandle(self, number)

    def worker(self, *, listeners: Iterable[Listener] | None = None, **config: Any) -> Worker:
        """A worker of this store that runs tasks in threads of this process.

        Args:
            listeners: who hears of what it does; None: the log, and the listeners of this Deferq.
            config: the fields of `WorkerConfig`, such as threads, async_slots, queues, route; None: the default.
        """
        from deferq import stores
        from deferq.runtime.config import WorkerConfig
        from deferq.runtime.logs import LogListener
        from deferq.runtime.worker import Worker

        defaults = {
            "threads": self.settings["threads"],
            "async_slots": self.settings["async_slots"],
            "drain_s": self.settings["drain_s"],
        }
        chosen = {name: value for name, value in {**defaults, **config}.items() if value is not None}
        engine = self.engine
        return Worker(
            engine,
            self.codec,
            WorkerConfig(**chosen),
            retention=stores.retention_of(self.settings),
            listeners=(LogListener(), *self.listeners) if listeners is None else listeners,
        )

    @property
    def embedded(self) -> EmbeddedWorker | None:
        """The worker of this web process, which starts when it is asked to; None with DEFERQ_WORKER=external."""
        if self.settings["worker"] != "embedded":
            return None
        from deferq.runtime.embedded import EmbeddedWorker

        with self._opening:
            if self._embedded is None:
                self._embedded = EmbeddedWorker(self.worker)
            return self._embedded

    def wrap_wsgi(self, app: WsgiApp) -> WsgiApp:
        """`app`, with a worker in each of its processes that starts at the first request."""
        return WrappedWsgi(app, lambda: self.embedded)

    def wrap_asgi(self, app: AsgiApp) -> AsgiApp:
        """`app`, with a worker in each of its processes that starts with the server, or at the first request."""
        return WrappedAsgi(app, lambda: self.embedded)


def _checked_queues(queues: Mapping[str, Queue] | None) -> dict[str, Queue]:
    checked: dict[str, Queue] = {}
    for name, queue in (queues or {}).items():
        if not isinstance(queue, Queue):
            raise ConfigError(f"queues: expected a Queue(...) for {check_queue_name(name)!r}.")
        check_retry(queue.retry)
        checked[check_queue_name(name)] = queue
    return checked


def _declared(target: str, fn: Callable[..., Any]) -> DeferrableOptions:
    """What was declared for the target, or for the function of a method that goes by the name of its owner."""
    declared = registry.options_for(target)
    if declared is None and hasattr(fn, "__qualname__"):
        declared = registry.options_for(f"{fn.__module__}:{fn.__qualname__}")
    return declared or _UNDECLARED
