"""Somebody who cancels, requeues, reschedules, deletes, purges, pauses and limits while everything goes wrong."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from deferq.engines.base import Cancel, Change, Delete, LeasingEngine, Reschedule
from deferq.model.limits import Limits
from deferq.model.queue import Queue
from deferq.model.settings import Declare, Pause, QueueChange, ResetLimits, Resume, SetLimits
from deferq.testing.simulate.accounts import Account
from deferq.testing.simulate.clock import US
from deferq.testing.simulate.stories import QUEUES

if TYPE_CHECKING:
    from deferq.testing.simulate.world import SimulatedWorld


class Person:
    """An operator. Nothing goes wrong with what a person asks: that is tried with workers and producers."""

    def __init__(self, world: SimulatedWorld, engine: LeasingEngine) -> None:
        self._world = world
        self._engine = engine
        self._acts = (
            self._cancel,
            self._cancel,
            self._reschedule,
            self._delete,
            self._requeue,
            self._requeue,
            self._purge,
            self._pause,
            self._resume,
            self._resume,
            self._set_limits,
            self._reset_limits,
        )

    def act(self) -> None:
        """Do something."""
        self._world.chance.choice(self._acts)()
        self._world.look()

    def declare_limits(self) -> None:
        """What the application says of its queues: of each, perhaps, how fast and how many at a time."""
        for queue in QUEUES[:2]:
            self._change_queue(queue, Declare(_declared(self._some_limits())))

    def put_right(self, stuck: Collection[Account]) -> None:
        """After the last fault: queues go on, and what was parked is due now.

        `stuck` are tasks whose leases such a clock has made longer than anybody can wait; they take no place.
        """
        for queue in QUEUES:
            self._change_queue(queue, Resume())
        for queue in sorted({account.task.queue for account in stuck}):
            self._change_queue(queue, SetLimits({"max_concurrent": None}))
        self._engine.wake()
        self._world.look()

    def hurry(self) -> None:
        """What a clock that was wrong has put off is due now."""
        now = self._engine.now()
        late = [one.id for one in self._accounts() if one.pending and one.due > now + 60 * US]
        if late:
            self._change(late, Reschedule(now))

    # ---- tasks

    def _cancel(self) -> None:
        self._change(self._some_ids(), Cancel())

    def _reschedule(self) -> None:
        later = self._world.chance.choice((-5, 0, 3, 20)) * US
        self._change(self._some_ids(), Reschedule(self._engine.now() + later))

    def _delete(self) -> None:
        self._change(self._some_ids(), Delete())

    def _requeue(self) -> None:
        ids = [one.id for one in self._accounts() if one.may_be_requeued] or self._some_ids()
        ids = ids[:1]
        requeued = self._engine.requeue(ids)
        self._world.history.requeued(self._world.now, ids, requeued, self._engine.get(ids), self._engine.now())

    def _purge(self) -> None:
        queue = self._world.chance.choice(QUEUES)
        purged = self._engine.purge(queue)
        self._world.history.purged(self._world.now, queue, purged, self._engine.now())

    def _change(self, ids: list[int], change: Change) -> None:
        changed = self._engine.change(ids, change)
        self._world.history.changed(self._world.now, ids, change, changed, self._engine.now())

    def _some_ids(self) -> list[int]:
        accounts = self._accounts()
        return [one.id for one in self._world.chance.sample(accounts, min(2, len(accounts)))]

    def _accounts(self) -> list[Account]:
        return self._world.history.accounts.live()

    # ---- queues

    def _pause(self) -> None:
        self._change_queue(self._some_queue(), Pause())

    def _resume(self) -> None:
        for queue in QUEUES:
            self._change_queue(queue, Resume())

    def _set_limits(self) -> None:
        limits = self._some_limits()
        chosen = {"rate": limits.rate, "bucket_size": limits.bucket_size, "max_concurrent": limits.max_concurrent}
        self._change_queue(self._some_queue(), SetLimits(chosen))

    def _reset_limits(self) -> None:
        self._change_queue(self._some_queue(), ResetLimits())

    def _some_queue(self) -> str:
        return self._world.chance.choice(QUEUES)

    def _some_limits(self) -> Limits:
        chance = self._world.chance
        return Limits(
            rate=chance.choice((None, None, "1/s", "0.5/s")),
            bucket_size=chance.choice((None, 1, 3)),
            max_concurrent=chance.choice((None, None, 1, 3)),
        )

    def _change_queue(self, queue: str, change: QueueChange) -> None:
        [settings] = self._engine.change_queues([(queue, change)])
        self._world.history.note(self._world.now, "a person", f"{queue}: {type(change).__name__}")
        self._world.history.limits_are(queue, settings.limits, settings.paused)


def _declared(limits: Limits) -> Queue:
    size = limits.bucket_size if limits.rate else None  # which goes with a rate
    return Queue(rate=limits.rate, bucket_size=size, max_concurrent=limits.max_concurrent)
