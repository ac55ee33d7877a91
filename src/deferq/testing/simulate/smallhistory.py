"""What happened in a small world, and what must never happen there; each of its paths keeps one, so it is slim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from deferq.engines.base import Turn
from deferq.model.outcome import Outcome, Parked, Snoozed
from deferq.model.task import Leased, Task
from deferq.runtime.dispatcher import TakeTurn
from deferq.runtime.pools import Lease
from deferq.testing.simulate.broken import Broken


class Entry(NamedTuple):
    at: float
    who: str
    what: str
    task_id: int
    lease_id: int = 0


class SmallHistory:
    """Written once, never changed; each entry is checked against those before it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._holder: dict[int, int] = {}
        self._lease_ids: set[int] = set()
        self._starts: Counter[int] = Counter()
        self._snoozes: Counter[int] = Counter()

    def note(self, at: float, who: str, what: str, task_id: int = 0, lease_id: int = 0) -> None:
        self.entries.append(Entry(at, who, what, task_id, lease_id))

    def turn(self, at: float, who: str, effect: TakeTurn, turn: Turn) -> None:
        """A turn was committed, whether its answer arrives or not."""
        lost = {(task.id, task.lease_id) for task in turn.lost}
        for task, transition, *_ in effect.settlements:
            if (task.id, task.lease_id) in lost:
                self.note(at, who, "was told it lost", task.id, task.lease_id)
                continue
            self.note(at, who, f"settled as {transition.rule}", task.id, task.lease_id)
            if self._holder.get(task.id) != task.lease_id:
                raise Broken(f"task {task.id} was settled by a stale lease")
        for task in turn.leased:
            self.note(at, who, "leased", task.id, task.lease_id)
            if task.lease_id in self._lease_ids:
                raise Broken(f"task {task.id} was leased by a lease id that had been used before")
            self._holder[task.id] = task.lease_id
        self._lease_ids.update(task.lease_id for task in turn.leased)

    def start(self, at: float, who: str, task: Leased, outcome: Outcome) -> None:
        """User code begins, unless the worker does not know the target."""
        self.note(at, who, f"started, to end as {type(outcome).__name__}", task.id, task.lease_id)
        if isinstance(outcome, Parked):
            return
        self._starts[task.id] += 1
        self._snoozes[task.id] += isinstance(outcome, Snoozed)
        most = task.retry.max_attempts
        if most is not None and self._starts[task.id] - self._snoozes[task.id] > most:
            raise Broken(f"task {task.id} may be attempted {most} times and was started {self._starts[task.id]} times")

    def beliefs(self, holdings: Iterable[tuple[str, Leased, Lease, float]], now: float) -> None:
        """Nobody may believe in a lease while somebody else does."""
        believer: dict[int, str] = {}
        for who, task, _, until in holdings:
            if until > now and believer.setdefault(task.id, who) != who:
                raise Broken(f"task {task.id} is held by {believer[task.id]} and by {who}")

    def ending(self, tasks: list[Task], deferred: int) -> None:
        """After the last fault everything comes to an end."""
        if len(tasks) != deferred:
            raise Broken(f"{deferred} tasks were deferred and {len(tasks)} are there")
        for task in tasks:
            if not task.state.finished:
                raise Broken(f"task {task.id} never ended: {task.state.name}, {task.reason}")
            most = task.options.retry.max_attempts
            if most is not None and task.attempts > most:
                raise Broken(f"task {task.id} spent {task.attempts} attempts of {most}")

    def tell(self, message: str) -> str:
        """The last things that happened to the task a message speaks of, or to all."""
        words = message.split()
        task_id = int(words[1]) if words[0] == "task" and len(words) > 1 and words[1].isdigit() else 0
        told = [entry for entry in self.entries if entry.task_id in (task_id, 0) or not task_id][-40:]
        return "\n".join(
            f"{one.at:9.3f} {one.who:8} {one.what} {one.task_id or ''} {one.lease_id or ''}" for one in told
        )
