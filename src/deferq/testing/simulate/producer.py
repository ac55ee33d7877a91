"""Who defers tasks while everything goes wrong, and tries again where the answer got lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deferq.errors import StoreUnavailable
from deferq.model.task import NewTask
from deferq.testing.simulate import aftermath
from deferq.testing.simulate.stores import Process, ProcessDied
from deferq.testing.simulate.stories import NAMES, QUEUES

if TYPE_CHECKING:
    from deferq.testing.simulate.world import SimulatedWorld


class Producer:
    """A process that puts tasks."""

    def __init__(self, world: SimulatedWorld, number: int, new_process: Callable[[], Process]) -> None:
        self.name = f"producer {number}"
        self.acts_at = world.chance.uniform(0.0, 10.0)
        self._world = world
        self._new_process = new_process
        self._process: Process | None = None
        #: What it could not put, or does not know whether it did.
        self._in_doubt: list[NewTask] = []

    def act(self) -> None:
        """Put something."""
        tasks = self._in_doubt or self._new_tasks()
        self._in_doubt = []
        self.acts_at = self._world.now + self._world.chance.uniform(0.0, 6.0)
        if not tasks:
            return
        if self._process is None:
            self._process = self._new_process()
        try:
            self._world.ask(
                self.name,
                self._process,
                lambda: self._put(tasks),
                lambda: aftermath.of_put(self._world, self.name, tasks),
                danger=0.2,
            )
        except StoreUnavailable:
            self._try_again(tasks)
        except ProcessDied:
            self._process.end()
            self._process = None

    def _put(self, tasks: list[NewTask]) -> None:
        assert self._process is not None
        answers = self._process.engine.put(tasks)
        self._world.was_put(self.name, tasks, answers)

    def _try_again(self, tasks: list[NewTask]) -> None:
        """With the very same tasks, as a caller's own retry; by the same name, as a person would; or not at all."""
        chance = self._world.chance
        kind = chance.random()
        if kind < 0.6:
            self._in_doubt = tasks
        elif kind < 0.9:
            again = [task for task in tasks if task.name is not None]
            self._in_doubt = [
                self._world.stories.new_task(queue=one.queue, name=one.name, if_exists="return") for one in again
            ]
        self.acts_at = self._world.now + chance.uniform(0.0, 5.0)

    def _new_tasks(self) -> list[NewTask]:
        chance, stories = self._world.chance, self._world.stories
        if not self._world.wants_tasks:
            return []
        if chance.random() < 0.5:
            if_exists = chance.choice(("raise", "return", "replace", "replace"))
            return [stories.new_task(queue=chance.choice(QUEUES[:2]), name=chance.choice(NAMES), if_exists=if_exists)]
        return [stories.new_task() for _ in range(chance.choice((1, 1, 3)))]
