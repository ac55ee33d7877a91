"""A caller's hold on a task."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from deferq.errors import ScheduleError, TaskCancelled, TaskFailed, TaskNotFinished, TaskNotFound
from deferq.model.state import State
from deferq.options import check_seconds, due_at

if TYPE_CHECKING:
    from deferq.engines.base import Details, LeasingEngine
    from deferq.model.task import Task

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.1


class Owner(Protocol):
    """What a handle needs of the Deferq that made it."""

    @property
    def engine(self) -> LeasingEngine:
        """Where the task is."""

    @property
    def open_result(self) -> Callable[[int, str, bytes | None], Any]:
        """Verifies and restores a result."""

    @property
    def before_waiting(self) -> Callable[[int], None]:
        """Called before each look at a task that somebody waits for."""


class TaskHandle:
    """A task that was deferred. Making one reads nothing; each method looks into the store."""

    __slots__ = ("_owner", "_task", "existed", "id")

    def __init__(self, owner: Owner, task_id: int, *, existed: bool = False) -> None:
        self._owner = owner
        self._task: Task | None = None
        #: The task's id; in JSON write it as text, since it has more bits than a JavaScript number.
        self.id = task_id
        #: Whether the name belonged to this task already, so that nothing new was stored.
        self.existed = existed

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskHandle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def task(self) -> Task:
        """The task as it was last read; reads it the first time. Raises TaskNotFound."""
        return self._task or self.refresh()

    @property
    def state(self) -> State:
        """Its state, read anew. Raises TaskNotFound."""
        return self.refresh().state

    def refresh(self) -> Task:
        """Read the task anew. Raises TaskNotFound once its retention is over."""
        found = self._owner.engine.get([self.id])
        if not found:
            raise TaskNotFound(f"There is no task {self.id}. Its retention may be over, or the store is another one.")
        self._task = found[0]
        return found[0]

    def details(self) -> Details:
        """Payload, result and failed attempts. Raises TaskNotFound."""
        return self._owner.engine.details(self.id)

    def wait(self, timeout: float | timedelta | None = None) -> Any:
        """Wait until the task is finished, and return what it returned.

        Args:
            timeout: seconds or a timedelta; None: as long as it takes.

        Raises TaskFailed if it died, TaskCancelled, TaskNotFound, or TaskNotFinished when the time is over.
        """
        deadline = _deadline(timeout)
        pauses = _pauses()
        while not self._look().state.finished:
            time.sleep(self._next_pause(next(pauses), deadline))
        return self._result()

    async def wait_async(self, timeout: float | timedelta | None = None) -> Any:
        """The same for a coroutine: the event loop goes on meanwhile."""
        import asyncio

        deadline = _deadline(timeout)
        pauses = _pauses()
        while not (await asyncio.to_thread(self._look)).state.finished:
            await asyncio.sleep(self._next_pause(next(pauses), deadline))
        return await asyncio.to_thread(self._result)

    def __await__(self) -> Generator[Any, None, Any]:
        return self.wait_async().__await__()

    def cancel(self) -> bool:
        """Cancel it if it is pending, or ask its worker to; False if it is finished already."""
        from deferq.engines.base import Cancel

        return bool(self._owner.engine.change([self.id], Cancel()))

    def requeue(self) -> bool:
        """Put it back if it is dead or cancelled; False otherwise."""
        return bool(self._owner.engine.requeue([self.id]))

    def reschedule(self, *, countdown: float | timedelta | None = None, eta: datetime | None = None) -> bool:
        """Make a pending task due at another time; False if it is not pending any more."""
        if (countdown is None) == (eta is None):
            raise ScheduleError("reschedule: give either eta or countdown.", field="eta")
        from deferq.engines.base import Reschedule

        engine = self._owner.engine
        due = due_at({"countdown": countdown, "eta": eta}, engine.now())
        return bool(engine.change([self.id], Reschedule(due)))

    def _look(self) -> Task:
        self._owner.before_waiting(self.id)
        return self.refresh()

    def _result(self) -> Any:
        task = self.task
        if task.state is State.SUCCEEDED:
            return self._owner.open_result(self.id, task.target, self.details().result)
        if task.state is State.CANCELLED:
            raise TaskCancelled(f"Task {self.id} ({task.target}) was cancelled: {task.reason}.")
        failures = self.details().failures
        last = f" {failures[-1].error_type}: {failures[-1].message}" if failures else ""
        raise TaskFailed(f"Task {self.id} ({task.target}) died: {task.reason}.{last}")

    def _next_pause(self, pause_s: float, deadline: float | None) -> float:
        if deadline is None:
            return pause_s
        left = deadline - time.monotonic()
        if left <= 0:
            raise TaskNotFinished(f"Task {self.id} has not finished yet. Is a worker running?")
        return min(pause_s, left)


def _deadline(timeout: float | timedelta | None) -> float | None:
    return None if timeout is None else time.monotonic() + check_seconds("timeout", timeout, negative=True)


def _pauses() -> Iterator[float]:
    """Longer and longer: a task that ends at once is seen at once, a long one costs little."""
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(_LONGEST_PAUSE_S, pause_s * 1.5)
