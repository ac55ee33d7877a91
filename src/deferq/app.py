"""Deferq: one application's queue, from the call to the worker.

The functions of the package are those of a default one.

The life of a task starts here: `defer` has it made (`making.py`: find the target, check the arguments, sign) and puts
it into the engine. It goes on in `runtime/executor.py`, and ends as `model/transitions.py` says.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from sys import modules
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from deferq import standin
from deferq.calls import Call
from deferq.codec.context import carriers
from deferq.config import gather
from deferq.engines.answers import Clash, Stored, Tombstoned
from deferq.errors import ConfigError, InvalidOption, TaskAlreadyExistsError, TaskNotFound, TombstonedTaskError
from deferq.handles import TaskHandle
from deferq.locks import ProcessLock
from deferq.model.queue import Queue, check_queue_name
from deferq.options import check_retry, split_keywords
from deferq.transactions import detecting

if TYPE_CHECKING:
    from types import FrameType

    from deferq.codec.context import Carried
    from deferq.config import Settings
    from deferq.engines.answers import Existing, PutAnswer
    from deferq.engines.base import LeasingEngine
    from deferq.http.asgi import AsgiApp
    from deferq.http.handler import Handler
    from deferq.http.web import Web
    from deferq.http.wsgi import WsgiApp
    from deferq.making import TaskMaker
    from deferq.model.events import Event
    from deferq.model.task import NewTask
    from deferq.runtime.delivery import Deliverer
    from deferq.runtime.embedded import EmbeddedWorker
    from deferq.runtime.worker import Worker
    from deferq.transactions.joining import Transaction

    Listener = Callable[[Event], None]

P = ParamSpec("P")
R = TypeVar("R")

ID_MAX = (1 << 63) - 1
#: What is made when the store is opened, and belongs to it.
_OF_THE_STORE = ("_engine", "ids", "codec", "tasks", "_embedded")


class Deferq:
    """A queue of tasks in one store.

    Args:
        url: the store, `sqlite:///jobs.db`, `sqlite:////var/lib/jobs.db?synchronous=NORMAL` or `memory://`; None: what
            the environment or the project says, else `.deferq/deferq.db` in the project.
        queues: the application's queues by name, with their limits; once declared, deferring to another one is an
            error. A queue.yaml may declare more, see the setting `queue_yaml`.
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
        given = {"url": url, "secrets": secrets, "allow": allow, **settings}
        self.settings: Settings = gather(given, said_by=_caller())
        self.queues_in_code: Mapping[str, Queue] = _checked_queues(queues)
        #: Those of a file, too, once they were asked for.
        self._queues: Mapping[str, Queue] | None = None
        #: What a file that declares queues may be called, where the settings name none.
        self.queue_files: tuple[str, ...] = ()
        self._carry = carriers(carry)
        self._engine: LeasingEngine | None = None
        #: Queues whose limits the store may not know yet.
        self._undeclared: frozenset[str] = frozenset()
        self._opening = ProcessLock()
        self._embedded: EmbeddedWorker | None = None
        #: What tasks with an url are delivered to: the application that was wrapped last, or that a worker was told.
        self.web: Web | None = None
        self._handler: Handler | None = None
        self.listeners: list[Listener] = []
        standin.know(self)
        detecting.notice()

    # ---- what it is made of

    @property
    def engine(self) -> LeasingEngine:
        """Where the tasks are. Opened at the first use."""
        return self._engine or self._open()

    def _open(self) -> LeasingEngine:
        with self._opening:
            if self._engine is None:
                # Imported late, as all that only an open store needs: importing deferq is to be quick.
                from deferq import stores
                from deferq.codec.codec import Codec
                from deferq.ids import IdSource
                from deferq.registry import registry

                engine = standin.current.open(self) if standin.current else stores.open_engine(self.settings)
                self.ids = IdSource(engine.now)
                self.codec = Codec(
                    lambda: stores.keyring_for(engine, self.settings),
                    registry,
                    allow=self.settings["allow"],
                    carry=self._carry,
                    payload=self.settings["payload"],
                    accept=self.settings["payload_accept"],
                    payload_limit=self.settings["payload_limit"],
                )
                self.tasks = self._new_maker()
                self._undeclared = frozenset(self._queues or ())
                self._engine = engine
                detecting.notice()
            return self._engine

    @property
    def queues(self) -> Mapping[str, Queue]:
        """What the application declares about its queues, in code and in a file; what code says of a queue wins.

        The file is looked for, and read, when this is asked for the first time. Raises QueueYamlError.
        """
        if self._queues is None:
            from deferq.queuefile import queues_in_file

            self._know_queues({**queues_in_file(self.settings, self.queue_files), **self.queues_in_code})
        return self._queues or {}

    def take_queue_files(self, *names: str) -> None:
        """Let the first of these files that is found be what declares queues; it is looked for when it is needed.

        A file with its whole path wins over the setting `queue_yaml`. What was read before is forgotten.
        """
        with self._opening:
            self.queue_files, self._queues = names, None
            if self._engine is not None:
                self.tasks = self._new_maker()  # the former one remembers plans

    def tell_store(self) -> None:
        """Let the store know what is declared, if it is open; else it learns of it with the first task, or worker."""
        if self.queues and self._engine is not None:
            self._declare(self._engine, set(self.queues))

    def _know_queues(self, queues: Mapping[str, Queue]) -> None:
        with self._opening:
            self._queues = queues
            self._undeclared = frozenset(queues)

    def _new_maker(self) -> TaskMaker:
        from deferq.making import TaskMaker

        return TaskMaker(self.codec, lambda: self.queues)

    def open_result(self, task_id: int, target: str, envelope: bytes | None) -> Any:
        """What a task returned, verified and restored."""
        return self.codec.open_result(task_id, target, envelope)

    def before_waiting(self, task_id: int) -> None:
        """Somebody waits for a task. Where tests have put a store in place of ours, nobody else may run it."""
        if standin.current is not None:
            standin.current.somebody_waits(self, task_id)

    def set_aside(self) -> Callable[[], None]:
        """Forget the open store without closing it, so that the next use opens one; the answer brings it back."""
        with self._opening:
            kept = {name: vars(self)[name] for name in _OF_THE_STORE if name in vars(self)}
            self._engine = self._embedded = None

        def bring_back() -> None:
            with self._opening:
                vars(self).update(kept)
                self._undeclared = frozenset(self._queues or ())  # it may have missed what was read meanwhile

        return bring_back

    def close(self) -> None:
        """Stop the embedded worker, if there is one, and close the store. It opens again when it is used again."""
        if self._embedded is not None:
            self._embedded.stop()
            self._embedded = None
        if self.web is not None:
            self.web.stop()
        if self._handler is not None:
            self._handler.close()
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

        App Engine's options (`_countdown`, `_eta`, `_name`, `_queue`, `_target`, `_url`, `_headers`, `_retry_options`)
        are taken too; the typed way to give options is `call(fn, ...).defer(countdown=60)`.

        Raises NotDeferrable, NotSerializable, PayloadTooLargeError or another CallError, TypeError if the function does
        not take these arguments, StoreError if the store cannot be written.
        """
        if kwargs:
            return self.put_call(self._call_from_keywords(fn, args, kwargs))
        return self.put_call(Call(self._myself, fn, args, {}))

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """`fn(*args, **kwargs)` as a Call, to be deferred with options or in bulk."""
        return Call(self._myself, fn, args, kwargs)

    async def defer_async(self, fn: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> TaskHandle:
        """`defer` from a coroutine: the event loop goes on while the store commits."""
        return await self.put_call_async(self._call_from_keywords(fn, args, kwargs))

    def put_call(self, call: Call[Any]) -> TaskHandle:
        """Store one call; what `call(...).defer()` does."""
        engine = self.engine
        # Whoever has nothing to do with transactions of others pays for one comparison.
        if call.options or len(modules) != detecting.nothing_new:
            transaction = self._transaction([call])
            if transaction is not None:
                return transaction.run(partial(self._put_within, transaction, [call]))[0]
        return self._put_alone(engine, call)

    async def put_call_async(self, call: Call[Any]) -> TaskHandle:
        """Store one call from a coroutine: in the transaction it belongs to, or by a thread."""
        import asyncio

        from deferq.transactions import joining

        transaction = await joining.chosen_async(self.engine, _within_of([call]))
        if transaction is not None:
            return (await transaction.run_async(partial(self._put_within, transaction, [call])))[0]
        return await asyncio.to_thread(self._put_alone, self.engine, call)

    def _put_alone(self, engine: LeasingEngine, call: Call[Any]) -> TaskHandle:
        now = engine.now()
        task = self.tasks.make(self.ids.next(now), call, now)
        if task.queue in self._undeclared:
            self._declare(engine, {task.queue})
        return self._handle(call, task, engine.put([task])[0])

    def _transaction(self, calls: Sequence[Call[Any]], within: Any = None) -> Transaction | None:
        """The transaction of the caller's that these calls belong to; None: none."""
        from deferq.transactions import joining

        return joining.chosen(self.engine, _within_of(calls, within))

    def _put_within(self, transaction: Transaction, calls: Sequence[Call[Any]]) -> list[TaskHandle]:
        """Store calls in a transaction of the caller's."""
        tasks, answers = self.put_made(lambda: self._make(calls), transaction)
        return [
            self._put_within(transaction, [call])[0] if isinstance(answer, Clash) else self._handle(call, task, answer)
            for call, task, answer in zip(calls, tasks, answers, strict=True)
        ]

    def put_made(
        self,
        make: Callable[[], Sequence[NewTask]],
        transaction: Transaction | None,
        declared: Mapping[str, Queue] | None = None,
    ) -> tuple[Sequence[NewTask], list[PutAnswer]]:
        """Have tasks made and store them, in a transaction of the caller's or, if that is None, in one of the engine's.

        They are made once the store is open: opening it must not wait for what the caller's transaction holds.
        `declared` is what else such a transaction is to tell the store about queues.
        """
        engine = self.engine
        if transaction is not None:
            from deferq.transactions.storing import store

            return store(engine, transaction, make, lambda tasks: {**self._not_declared_yet(tasks), **(declared or {})})
        tasks = make()
        if self._undeclared:
            self._declare(engine, {task.queue for task in tasks})
        return tasks, engine.put(tasks)

    def _not_declared_yet(self, tasks: Sequence[NewTask]) -> dict[str, Queue]:
        """What the store may not know yet: until a transaction of ours has written it, nobody knows."""
        return {name: self.queues[name] for name in {task.queue for task in tasks} & self._undeclared}

    def _make(self, calls: Sequence[Call[Any]]) -> list[NewTask]:
        now, make = self.engine.now(), self.tasks.make
        return [make(task_id, call, now) for task_id, call in zip(self.ids.take(len(calls)), calls, strict=True)]

    def defer_many(self, calls: Iterable[Call[Any]], *, within: Any = None) -> list[TaskHandle]:
        """Store many calls in one transaction: all of them or, if one is refused, none.

        `within` is the option of that name for all of them, a transaction of the caller's.

        Names that are taken are the exception: such a call is not stored, and its handle is that of the task that has
        the name, with `existed` set; with if_exists="raise" (the default) the error is raised after the others are in.
        """
        calls = [_checked_call(call) for call in calls]
        transaction = self._transaction(calls, within)
        if transaction is not None:
            return transaction.run(partial(self._put_within, transaction, calls))
        tasks, answers = self.put_made(lambda: self._make(calls), None)
        return [self._handle(*stored) for stored in zip(calls, tasks, answers, strict=True)]

    def declare(self, names: set[str]) -> None:
        """Let the store know the limits of these queues, before the first task of this process goes there."""
        if self._undeclared:
            self._declare(self.engine, names)

    def _declare(self, engine: LeasingEngine, names: set[str]) -> None:
        """Let the store know what limits these queues have, before the first task of this process goes there."""
        from deferq.engines.declaring import declare

        declare(engine, {name: self.queues[name] for name in names & self._undeclared})
        self._undeclared -= names

    def _handle(self, call: Call[Any], task: NewTask, answer: PutAnswer) -> TaskHandle:
        if isinstance(answer, Stored):
            return TaskHandle(self, answer.id)
        if isinstance(answer, Clash):  # the id belongs to another task: once more, under a new one
            return self._put_alone(self.engine, call)
        return self._handle_of_existing(task, answer)

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

    def _call_from_keywords(self, fn: Callable[..., R], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call[R]:
        from deferq.signatures import shape_of

        shape = shape_of(fn)
        options, own = split_keywords(kwargs, shape.keywords if shape else None)
        return Call(self._myself, fn, args, own, options or None)

    def _myself(self) -> Deferq:
        return self

    # ---- looking and running

    def task(self, task_id: int | str) -> TaskHandle:
        """The handle of a task whose id is known. Raises TaskNotFound for what cannot be an id."""
        try:
            number = int(str(task_id))
        except ValueError:
            number = -1
        if not 0 <= number <= ID_MAX:
            raise TaskNotFound("This is no id of a task: a whole number of up to 63 bits is expected.")
        return TaskHandle(self, number)

    def worker(self, *, listeners: Iterable[Listener] | None = None, **config: Any) -> Worker:
        """A worker of this store that runs tasks in threads of this process.

        It delivers tasks with an url if an application was wrapped, or is known otherwise.

        Args:
            listeners: who hears of what it does; None: the log, and the listeners of this Deferq.
            config: the fields of `WorkerConfig`, such as threads, async_slots, queues, route; None: the default.
        """
        return self._make_worker(listeners, config, self.deliverer())

    def _make_worker(
        self, listeners: Iterable[Listener] | None, config: Mapping[str, Any], deliverer: Deliverer | None
    ) -> Worker:
        from deferq import stores
        from deferq.runtime.config import WorkerConfig
        from deferq.runtime.logs import LogListener
        from deferq.runtime.worker import Worker

        defaults = {
            "threads": self.settings["threads"],
            "async_slots": self.settings["async_slots"],
            "drain_s": self.settings["drain_s"],
        }
        defaults["delivers"] = deliverer is not None
        chosen = {name: value for name, value in {**defaults, **config}.items() if value is not None}
        engine = self.engine
        return Worker(
            engine,
            self.codec,
            WorkerConfig(**chosen),
            retention=stores.retention_of(self.settings),
            queues=self.queues,
            listeners=(LogListener(), *self.listeners) if listeners is None else listeners,
            deliverer=deliverer,
        )

    def deliverer(self, *, beside_server: bool = False) -> Deliverer | None:
        """Who brings tasks with an url to the application, in this process; None: no application is known.

        `beside_server`: this process serves an ASGI application, or is about to; then nobody else is to start it.
        """
        if self.web is None:
            return None
        from deferq.http.delivering import Writer

        engine = self.engine
        writer = Writer(
            lambda: self.codec.keyring,
            base_url=self.settings["base_url"],
            failures_of=lambda task_id: engine.details(task_id).failures,
        )
        return self.web.deliverer(writer, beside_server=beside_server)

    @property
    def embedded(self) -> EmbeddedWorker | None:
        """The worker of this web process, which starts when it is asked to; None with DEFERQ_WORKER=external.

        There is none either while `deferq.testing` has exchanged the store: the test says when tasks run.
        """
        if self.settings["worker"] != "embedded" or standin.current is not None:
            return None
        from deferq.runtime.embedded import EmbeddedWorker

        with self._opening:
            if self._embedded is None:
                self._embedded = EmbeddedWorker(lambda: self._make_worker(None, {}, self.deliverer(beside_server=True)))
            return self._embedded

    def start(self) -> None:
        """Start the embedded worker: threads of this process that run tasks beside whatever else it does.

        For a program that wraps no web application, and for a server that says when a process of its own begins. A
        worker that runs already is left alone, and with DEFERQ_WORKER=external nothing is started. It stops with
        `stop()`, with `close()`, or when the interpreter exits; a forked child starts its own. Raises ConfigError.
        """
        embedded = self.embedded
        if embedded is not None:
            embedded.start()

    def stop(self, drain_s: float | None = None) -> None:
        """Stop the embedded worker of this process and wait for its end; the store stays open.

        What has not started is given back. `drain_s` is how many seconds running tasks may go on; None: 3 seconds.
        """
        if self._embedded is None:
            return
        if drain_s is None:
            self._embedded.stop()
        else:
            self._embedded.stop(drain_s)

    def wrap_wsgi(self, app: WsgiApp) -> WsgiApp:
        """`app`, with a worker in each of its processes that starts at the first request.

        The worker delivers tasks with an url to `app`.
        """
        from deferq.http.web import Web
        from deferq.http.wsgi import WrappedWsgi

        self.web = Web("WSGI", app)
        wrapped = WrappedWsgi(app, lambda: self.embedded, self.handler)
        wrapped.owner = self
        return wrapped

    def wrap_asgi(self, app: AsgiApp) -> AsgiApp:
        """`app`, with a worker in each of its processes that starts with the server, or at the first request.

        The worker delivers tasks with an url to `app`, in the event loop of the server.
        """
        from deferq.http.asgi import WrappedAsgi
        from deferq.http.loops import ServerLoop
        from deferq.http.web import Web

        server = ServerLoop()
        self.web = Web("ASGI", app, server)
        wrapped = WrappedAsgi(app, lambda: self.embedded, self.handler, server)
        wrapped.owner = self
        return wrapped

    def handler(self) -> Handler:
        """What takes deliveries, for a view at a path of the application's own.

        `handler().handle(Request.from_wsgi(environ))` runs the task that the request delivers and returns the Response.
        A wrapped application has a view for it already, at `/_deferq/run`.
        """
        return self._handler or self._make_handler()

    def _make_handler(self) -> Handler:
        from deferq.http.handler import Handler, Parts
        from deferq.runtime.config import default_threads
        from deferq.runtime.listeners import Listeners
        from deferq.runtime.logs import LogListener

        def parts() -> Parts:
            engine = self.engine
            return Parts(engine, self.codec)

        with self._opening:
            if self._handler is None:
                self._handler = Handler(
                    parts,
                    lambda: Listeners((LogListener(), *self.listeners)),
                    threads=self.settings["threads"] or default_threads(),
                )
            return self._handler


def _caller() -> str:
    """Where in the application a Deferq is made: the nearest line outside this package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "deferq":
        frame = frame.f_back
    return "code" if frame is None else f"code, {frame.f_code.co_filename}:{frame.f_lineno}"


def _within_of(calls: Sequence[Call[Any]], within: Any = None) -> Any:
    """The option `within` of all these calls together."""
    for call in calls:
        own = call.options.get("within") if call.options else None
        if own is not None and own is not within:
            if within is not None or len(calls) > 1:
                raise InvalidOption(
                    "within: defer_many() stores all its calls in one transaction. Give the option to defer_many().",
                    field="within",
                )
            within = own
    return within


def _checked_call(call: Any) -> Call[Any]:
    if isinstance(call, Call):
        return call
    raise TypeError(f"defer_many() takes calls, such as call(fn, 1), and got an object of type {type(call).__name__}.")


def _checked_queues(queues: Any) -> dict[str, Queue]:
    checked: dict[str, Queue] = {}
    if not isinstance(queues, Mapping | None):
        raise ConfigError('queues: expected a mapping of names to Queue(...), such as {"mail": Queue()}.')
    for name, queue in (queues or {}).items():
        if not isinstance(queue, Queue):
            raise ConfigError(f"queues: expected a Queue(...) for {check_queue_name(name)!r}.")
        check_retry(queue.retry)
        checked[check_queue_name(name)] = queue
    return checked
