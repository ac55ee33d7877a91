"""What holds while a test has exchanged the stores: where tasks are, and how they are run.

Each store that the application names is a memory store of the same name for the time of the test; everything else
stays as the application has set it up. Nothing runs by itself. `Mode` is what recording mode and inline mode share.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Any, Self

from deferq import standin, stores
from deferq.app import Deferq
from deferq.current import CURRENT, in_task
from deferq.engines.answers import PutAnswer, Stored
from deferq.errors import TaskNotFinished
from deferq.model.queue import check_queue_name
from deferq.model.state import State
from deferq.model.task import Leased, NewTask
from deferq.testing.attempts import Attempt
from deferq.testing.clock import FakeClock
from deferq.testing.deferred import DeferredTask, View
from deferq.testing.ran import Ran
from deferq.testing.store import RecordingEngine

#: More attempts in one go are no test any more, but tasks that defer one another for ever.
ATTEMPTS_MAX = 10_000


class Mode:
    """Stores in memory for the time of a test. A context manager; it is entered once."""

    def __init__(self, *, clock: FakeClock | None = None, raises: bool = True) -> None:
        #: The time by which the stores go.
        self.clock = clock or FakeClock()
        self._raises = raises
        self._undo: Callable[[], None] | None = None
        self._engines: dict[str, RecordingEngine] = {}
        self._owners: dict[int, Deferq] = {}
        self._deferred: list[DeferredTask] = []
        self._lock = threading.Lock()
        #: Whether somebody runs tasks right now, and will come across what is put meanwhile.
        self._running = False
        self._puts = 0
        #: Tasks that run right now, and those of them that wait for another one.
        self._attempted: set[int] = set()
        self._waiting: list[int] = []

    def __enter__(self) -> Self:
        if self._undo is not None:
            raise RuntimeError("This is in use already. Make a new one for each test: `with recording() as tasks:`.")
        self._undo = standin.exchange(self)
        _active.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        undo, self._undo = self._undo, None
        _active.remove(self)
        if undo is not None:
            undo()

    # ---- as the stand-in for every store

    def open(self, owner: Deferq) -> RecordingEngine:
        settings = owner.settings
        store = settings["url"] or f"the default store of {settings.project}"
        if store.startswith("memory:"):
            store = f"{store} of {id(owner)}"  # nobody else ever sees what is in it
        engine = RecordingEngine(
            self.clock,
            lambda tasks: self._owners.update((task.id, owner) for task in tasks),
            lambda view, tasks, answers: self._stored(owner, view, tasks, answers),
            self._engines.get(store),
            payload_limit=stores.envelope_limit(settings),
            tombstone_s=settings["tombstone_s"],
            retention=stores.retention_of(settings),
        )
        self._engines.setdefault(store, engine)
        return engine

    def somebody_waits(self, owner: Deferq, task_id: int) -> None:
        """A worker in its place would be at work now; here, whoever waits may have to run it himself."""
        engine = owner.engine
        if isinstance(engine, RecordingEngine):
            self._is_waited_for(engine, task_id)

    def _is_waited_for(self, engine: RecordingEngine, task_id: int) -> None:
        if engine.attended or not self._unfinished(engine, task_id):
            return
        if self._running and not in_task():
            return  # another thread runs tasks, and comes to it
        myself = CURRENT.get(None)
        waiter = 0 if myself is None else myself.id
        self._waiting.append(waiter)
        try:
            self._run_until_finished(engine, task_id)
        finally:
            self._waiting.remove(waiter)

    def _run_until_finished(self, engine: RecordingEngine, task_id: int) -> None:
        """Run what is due until this task is finished, or leave it to another thread that runs tasks.

        A coroutine that waits for several tasks at a time looks at each from another thread.
        """
        while self._unfinished(engine, task_id):
            others = self._others()
            if self._may_run() and self.step(None):
                continue
            if others or self._others() or not self._unfinished(engine, task_id):
                return
            raise TaskNotFinished(self._why_unfinished(engine, task_id))

    def _others(self) -> set[int]:
        """Tasks that run right now and wait for none."""
        return self._attempted - set(self._waiting)

    def _may_run(self) -> bool:
        """Whether a task that is waited for runs there. Inside a task it does: in a worker it would run beside it."""
        return in_task()

    def _why_unfinished(self, engine: RecordingEngine, task_id: int) -> str:
        (task,) = engine.get([task_id])
        if task.state is State.LEASED:
            return f"Task {task_id} ({task.target}) waits for itself, or for a task that waits for it."
        if (due_in := task.leasable_at - self.clock()) > 0:
            return (
                f"Task {task_id} ({task.target}) is due in {due_in / 1e6:g} s by the test's clock. Move the clock, or"
                " call drain(future=True), before you wait for it."
            )
        return f"Task {task_id} ({task.target}) has not run: in a test nothing runs until drain() is called."

    @staticmethod
    def _unfinished(engine: RecordingEngine, task_id: int) -> bool:
        state = engine.state_of(task_id)
        return state is not None and not state.finished

    def _stored(
        self, owner: Deferq, engine: RecordingEngine, tasks: Sequence[NewTask], answers: Sequence[PutAnswer]
    ) -> None:
        view = View(engine, owner.codec, lambda task_id: self._is_waited_for(engine, task_id))
        with self._lock:
            self._puts += 1
            for task, answer in zip(tasks, answers, strict=True):
                if isinstance(answer, Stored):
                    self._deferred.append(DeferredTask(view, task, engine.deferred_at(task)))
        self._after_put()

    def _after_put(self) -> None:
        """Something was stored."""

    # ---- running

    def step(self, queues: Collection[str] | None) -> Ran | None:
        """Run the task that has been due for longest; None: nothing is due that may start."""
        leased = self._lease(queues)
        if leased is None:
            return None
        owner, task = leased
        self._attempted.add(task.id)
        try:
            return Attempt(owner, self.clock, task).run()
        finally:
            self._attempted.discard(task.id)

    async def step_in_loop(self, queues: Collection[str] | None) -> Ran | None:
        """The same from a coroutine: coroutine functions run in its loop."""
        leased = await asyncio.to_thread(self._lease, queues)
        if leased is None:
            return None
        owner, task = leased
        self._attempted.add(task.id)
        try:
            return await Attempt(owner, self.clock, task).run_in_loop()
        finally:
            self._attempted.discard(task.id)

    def _lease(self, queues: Collection[str] | None) -> tuple[Deferq, Leased] | None:
        heads = [(*head, engine) for engine in self._views() for head in engine.heads(queues)]
        for _, _, queue, engine in sorted(heads, key=lambda head: head[:2]):
            task = engine.lease_from(queue)
            if task is not None:
                return self._owners[task.id], task
        return None

    def _views(self) -> list[RecordingEngine]:
        """One view of each store."""
        return list(self._engines.values())

    def rated(self, queues: Collection[str] | None) -> int | None:
        """When a rate lets a task start that is due already; None: no rate holds any back."""
        times = [engine.rated(queue) for engine in self._views() for _, _, queue in engine.heads(queues)]
        return min((time for time in times if time is not None), default=None)

    def next_due(self, queues: Collection[str] | None) -> int | None:
        """When anything can start again; None: nothing is pending."""
        times = [self.rated(queues), *(engine.next_due(queues) for engine in self._views())]
        return min((time for time in times if time is not None), default=None)

    def sweep(self) -> None:
        """Do what the janitor of a worker does: expire, bury, purge."""
        for engine in self._views():
            while engine.sweep(engine.retention).more:
                pass

    def claim(self) -> bool:
        """Become the one who runs tasks; False: somebody does already, and will see what is due now."""
        with self._lock:
            claimed, self._running = not self._running, True
        return claimed

    def resign(self, puts: int | None = None) -> bool:
        """Run no more tasks; False: there were more puts than `puts`, so there is more to run."""
        with self._lock:
            self._running = puts is not None and puts != self._puts
            return not self._running


def checked_queues(queues: object) -> tuple[str, ...] | None:
    """Names of queues, of one or of several; None: all."""
    if queues is None:
        return None
    names: Any = (queues,) if isinstance(queues, str) else queues
    return tuple(check_queue_name(name) for name in names)


#: The innermost stands last.
_active: list[Mode] = []


def active() -> Mode:
    """The mode that holds now. Raises RuntimeError if there is none."""
    if not _active:
        raise RuntimeError(
            "No test mode holds here. Use `with recording():` or `with inline():` from deferq.testing, or a fixture of"
            " its pytest plugin."
        )
    return _active[-1]
