"""Applications to which tasks are pushed: who takes a lease up runs the task, and may die of it unheard."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from deferq.engines.answers import TakeUp
from deferq.errors import StoreUnavailable
from deferq.model.outcome import INTERRUPTED, ErrorText, Failed
from deferq.model.task import Leased
from deferq.runtime.pools import Lease
from deferq.testing.simulate.broken import Broken
from deferq.testing.simulate.pool import Run

if TYPE_CHECKING:
    from deferq.testing.simulate.worker import Node
    from deferq.testing.simulate.world import SimulatedWorld

#: What a task counts as that was let go, should nobody settle it.
LET_GO = Failed(error=ErrorText(error_type="WorkerLost", message="Nobody has answered."), reason="worker lost")


class Handlers:
    """Run what is pushed. A delivery may come twice; an answer may get lost, and a handler may die before it."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._taken_up: set[tuple[int, int]] = set()
        self._let_go: dict[int, set[int]] = defaultdict(set)

    def begin(self, node: Node, task: Leased, lease: Lease) -> Run:
        """A worker sends a task, and hears of its outcome, or lets it go."""
        world = self._world
        try:
            answers = [self._take_up(task) for _ in range(1 + world.fault(0.1))]
        except StoreUnavailable:  # the handler has run nothing, and says so
            return Run(world.now, task, lease, INTERRUPTED)
        if TakeUp.TAKEN not in answers:
            self._let_go[node.number].add(task.id)
            return Run(world.now, task, lease, LET_GO, let_go=True)
        run = world.begin(node, task, lease)._replace(times_out_at=None)  # the handler looks after that
        if not world.fault(0.15):
            return run
        world.history.note(world.now, node.name, "gets no answer of", task.id, task.lease_id)
        self._let_go[node.number].add(task.id)
        return run._replace(ends_at=world.chance.uniform(world.now, run.ends_at), outcome=LET_GO, let_go=True)

    def has_taken_up(self, task_id: int, lease_id: int) -> bool:
        """Whether a handler began the task under this lease."""
        return (task_id, lease_id) in self._taken_up

    def let_go_by(self, number: int) -> set[int]:
        """What a worker has let go. It may stay leased when the worker has come to its end."""
        return self._let_go[number]

    def _take_up(self, task: Leased) -> TakeUp:
        """A lease is taken up once, and only while it holds."""
        world, key = self._world, (task.id, task.lease_id)
        (answer,) = world.engine.take_up([key])
        account = world.history.accounts[task.id]
        holds = account.holds(task.lease_id) and account.until > world.clock()
        if (answer is TakeUp.TAKEN) is not (holds and key not in self._taken_up):
            how = "a second time" if key in self._taken_up else "once" if holds else "when its lease was over"
            raise Broken(f"task {task.id} was asked to be taken up {how}, and the answer was {answer.name}")
        if answer is TakeUp.TAKEN:
            self._taken_up.add(key)
        return answer
