"""Threads of a process that must not die of its tasks again and again: it has no other process to lose.

Of the tasks that were lost with a process most are innocent: they ran beside the one that killed it. So suspects run
here once more, but one at a time, and those that are well go through. What was the only suspect in a process that died
is left to workers that have child processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from deferq.model.outcome import LEFT_TO_PARENTS, ErrorText, Interrupted, Outcome, Parked
from deferq.model.task import SUSPECT_FROM, Leased
from deferq.runtime.pools import Finished, Lease
from deferq.runtime.threads import ThreadPool
from deferq.runtime.turns import Turns

#: A task whose worker has died so often does not run in this process.
LEFT_FROM = SUSPECT_FROM + 1
TAKEN = "waits: another task is run whose worker has died twice"


class GuardedThreads(ThreadPool):
    """A Pool of threads that runs one suspect at a time, and leaves to others what has killed too many.

    What is left to others is parked. So it waits longer and longer, spends no attempt, and is shown as parked; a worker
    that has child processes wakes it at its start and every few seconds.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._turns = Turns()
        #: The suspect that is here, and since when.
        self._suspect: Leased | None = None
        self._since = 0.0

    def start(self, tasks: Sequence[Leased], lease: Lease) -> None:
        if any(task.crashes for task in tasks):
            tasks = [task for task in tasks if not task.suspect or self._takes(task)]
        super().start(tasks, lease)

    def finished(self) -> list[Finished]:
        return self._seen(super().finished())

    def overdue(self, now: float) -> list[Finished]:
        return self._seen(super().overdue(now))

    def withdraw(self, leased_before: float | None = None) -> list[Leased]:
        back = super().withdraw(leased_before)
        self._let_go(back)
        return back

    # ---- inside

    def _takes(self, task: Leased) -> bool:
        if task.crashes >= LEFT_FROM:
            self._turn_away(task, left_to_others(task))
        elif self._suspect is not None:
            self._turn_away(task, Interrupted(after_s=self._turns.next_in(self._monotonic()), reason=TAKEN))
        else:
            self._suspect, self._since = task, self._monotonic()
            return True
        return False

    def _turn_away(self, task: Leased, outcome: Outcome) -> None:
        self._report(Finished(task, outcome))

    def _seen(self, finished: list[Finished]) -> list[Finished]:
        self._let_go(one.task for one in finished)
        return finished

    def _let_go(self, tasks: Iterable[Leased]) -> None:
        """The suspect may be among those that have left."""
        if self._suspect is None:
            return
        ours = (self._suspect.id, self._suspect.lease_id)
        if any((task.id, task.lease_id) == ours for task in tasks):
            self._suspect = None
            self._turns.took(self._monotonic() - self._since)


def left_to_others(task: Leased) -> Parked:
    """The outcome of a task that a process without others does not run."""
    message = (
        f"Its worker has died {task.crashes} times while it ran. So it runs only in a process of its own, in"
        " quarantine, and this worker has none: it is part of another program. Start one that has: deferq worker."
    )
    return Parked(error=ErrorText(error_type="Suspect", message=message), reason=LEFT_TO_PARENTS)
