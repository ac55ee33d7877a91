"""Inline mode: a task runs where it is deferred, before `defer` returns.

It takes the whole way all the same: encoded, signed, stored, leased, verified, decoded. So what would not survive the
store fails in the test.

- First in, first out: what a task defers runs when that task has ended, not inside it.
- Retries follow at once. The clock skips the time until them, and what becomes due by that runs, too.
- What is to run later stays: countdown, eta, Snooze. It runs when the test moves the clock. Code that defers itself for
  tomorrow would never end otherwise.
"""

from __future__ import annotations

from collections.abc import Collection

from deferq.model.state import State
from deferq.testing.clock import FakeClock
from deferq.testing.ran import Ran
from deferq.testing.recorder import DeferredTasks

_AGAIN = ("failed", "retried", "worker lost")


class InlineTasks(DeferredTasks):
    """What a test has deferred, and what became of it. Made by `inline()`."""

    def __init__(self, *, clock: FakeClock | None = None, raises: bool = True) -> None:
        super().__init__(clock=clock, raises=raises)
        #: Tasks that have failed and will run again.
        self._again: set[int] = set()

    def __enter__(self) -> InlineTasks:
        super().__enter__()
        self._stop_listening = self.clock.when_moved(self._run)
        return self

    def __exit__(self, *how: object) -> None:
        self._stop_listening()
        super().__exit__(None, None, None)

    def step(self, queues: Collection[str] | None) -> Ran | None:
        """Run the next task; if none is due, skip the time until a retry, or until a rate lets one start."""
        ran = super().step(queues)
        while ran is None and self._skip(queues):
            ran = super().step(queues)
        return self._noted(ran)

    async def step_in_loop(self, queues: Collection[str] | None) -> Ran | None:
        """The same from a coroutine."""
        ran = await super().step_in_loop(queues)
        while ran is None and self._skip(queues):
            ran = await super().step_in_loop(queues)
        return self._noted(ran)

    def _after_put(self) -> None:
        self._run()

    def _may_run(self) -> bool:
        return True

    def _run(self) -> None:
        """Run what is due, unless somebody does: then it comes to what is new."""
        if not self.claim():
            return
        ran: list[Ran] = []
        try:
            self.sweep()
            while True:
                puts = self._puts
                while (one := self.step(None)) is not None:
                    ran.append(one)
                    self.check_end(ran)
                if self.resign(puts):
                    break
        except BaseException:
            self.resign()
            raise
        self._judged(ran, None)

    def _noted(self, ran: Ran | None) -> Ran | None:
        if ran is not None:
            (self._again.add if ran.outcome in _AGAIN else self._again.discard)(ran.id)
        return ran

    def _skip(self, queues: Collection[str] | None) -> bool:
        """Let the time pass until something may start that nobody asked to run later; False: there is nothing."""
        times = [at for task_id in self._again if (at := self._due_again(task_id, queues)) is not None]
        if (rated := self.rated(queues)) is not None:
            times.append(rated)
        if not times:
            return False
        self.clock.skip_to(min(times))
        return True

    def _due_again(self, task_id: int, queues: Collection[str] | None) -> int | None:
        found = self._owners[task_id].engine.get([task_id])
        if not found or found[0].state is not State.PENDING or (queues is not None and found[0].queue not in queues):
            return None
        return found[0].leasable_at


def inline(*, clock: FakeClock | None = None, raises: bool = True) -> InlineTasks:
    """Let whatever is deferred run at once, before `defer` returns, in the same thread.

        with inline() as tasks:
            ...

    Args:
        clock: the time by which it goes; None: a new FakeClock, `tasks.clock`. When the test moves it, what has become
            due runs.
        raises: whether the outermost `defer` raises the own error of a task that has died, once all have run. Otherwise
            it is logged, and the handle tells of it.

    What a task defers runs when that task has ended. Retries follow at once; what is to run later waits for the clock.
    Everything else is as in `recording()`.
    """
    return InlineTasks(clock=clock, raises=raises)
