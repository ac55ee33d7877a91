"""Threads of a process that must not die of a task: what has killed its worker twice is left to `deferq worker`."""

from __future__ import annotations

from collections.abc import Sequence

from deferq.model.outcome import ErrorText, Parked
from deferq.model.task import Leased
from deferq.runtime.pools import Finished, Lease
from deferq.runtime.threads import ThreadPool


class GuardedThreads(ThreadPool):
    """A Pool of threads that starts no suspect task: there is no process here that could be lost to it.

    Such a task is parked. So it waits longer and longer, spends no attempt, and is shown as parked; a worker that has
    child processes wakes it at its start, or comes across it in time.
    """

    def start(self, tasks: Sequence[Leased], lease: Lease) -> None:
        if any(task.crashes for task in tasks):
            tasks = self._without_suspects(tasks)
        super().start(tasks, lease)

    def _without_suspects(self, tasks: Sequence[Leased]) -> list[Leased]:
        for task in tasks:
            if task.suspect:
                self._report(Finished(task, left_to_others(task)))
        return [task for task in tasks if not task.suspect]


def left_to_others(task: Leased) -> Parked:
    """The outcome of a suspect task in a process that has no others."""
    message = (
        f"Its worker has died {task.crashes} times while it ran. So it runs only in a process of its own, in"
        " quarantine, and this worker has none: it is part of another program. Start one that has: deferq worker."
    )
    return Parked(error=ErrorText(error_type="Suspect", message=message))
