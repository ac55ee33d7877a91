"""Where suspect tasks go: those whose worker has died twice run alone in a fresh process, one at a time.

What waits for its turn does not wait here, where it would hold a lease and stand in the way of others: it goes back
to the store for about as long as those before it need.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from deferq.model.outcome import INTERRUPTED, Interrupted
from deferq.model.task import Leased
from deferq.runtime.children.ending import how_it_ended
from deferq.runtime.children.process import ChildProcess, Condition
from deferq.runtime.children.quarantined import QuarantineChild
from deferq.runtime.outage import Outage
from deferq.runtime.pools import Finished, Lease
from deferq.runtime.turns import AWAY_MAX_S, TURN_MIN_S, Turns

TAKEN = "waits for quarantine: another task is in it"
NOT_LOADED = "waits for quarantine: its process could not load the application"
NOT_STARTED = "waits for quarantine: no process can be started"


class Quarantine:
    """Starts the processes of suspect tasks, never two at a time."""

    def __init__(self, spawn: Callable[[], QuarantineChild], *, chance: Callable[[], float] = random.random) -> None:
        """`spawn` starts a process; nothing is started yet."""
        #: Whom to tell that a task goes into quarantine, and in which process.
        self.told: Callable[[Leased, str], None] = _nobody
        self._spawn = spawn
        self._chance = chance
        self._outage = Outage(AWAY_MAX_S)
        self._why_not = NOT_STARTED
        self._turns = Turns()

    def take(
        self, task: Leased, lease: Lease, children: Sequence[ChildProcess], store: str | None, now: float
    ) -> QuarantineChild | Interrupted:
        """The new child in which the task will run; or how it goes back, since that cannot be now."""
        if any(child.apart for child in children):
            return Interrupted(after_s=self._turns.next_in(now), reason=TAKEN)
        if now < self._outage.until:
            return self._back(now)
        try:
            child = self._spawn()
        except OSError:  # no memory, no descriptors, too many processes: that passes
            self._outage.failed(now, self._chance())
            self._why_not = NOT_STARTED
            return self._back(now)
        child.give(task, lease, store)
        self.told(task, f"pid {child.pid}; its worker has died {task.crashes} times")
        return child

    def after(self, child: QuarantineChild, finished: Sequence[Finished], now: float) -> list[Finished]:
        """What becomes of the tasks of a dead child: what has not started goes back for a while."""
        self._turns.took(now - child.started_at)
        if child.condition is Condition.RETIRING or not any(one.outcome is INTERRUPTED for one in finished):
            self._outage.ended()
            return list(finished)
        self._outage.failed(now, self._chance())
        self._why_not = f"{NOT_LOADED}: it {how_it_ended(child.process.returncode)}"
        back = self._back(now)
        return [one._replace(outcome=back) if one.outcome is INTERRUPTED else one for one in finished]

    def _back(self, now: float) -> Interrupted:
        return Interrupted(after_s=max(TURN_MIN_S, self._outage.until - now), reason=self._why_not)


def _nobody(task: Leased, detail: str) -> None:
    """Nobody listens yet."""
