"""Child processes as a dispatcher sees them: a Pool like the threads of one process."""

from __future__ import annotations

import math
import select
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from deferq.engines.base import PollableBell
from deferq.model.events import Event
from deferq.model.outcome import INTERRUPTED
from deferq.model.task import Leased
from deferq.runtime.children.nursery import Nursery
from deferq.runtime.children.process import ChildProcess, Condition
from deferq.runtime.children.system import NewPoll
from deferq.runtime.children.wire import EVENTS
from deferq.runtime.pools import Finished, Lease


class ChildPool:
    """A Pool of child processes. The dispatcher waits in `wait`, where it hears its bell and the children alike."""

    def __init__(
        self,
        nursery: Nursery,
        bell: PollableBell,
        monotonic: Callable[[], float],
        new_poll: NewPoll = select.poll,
    ) -> None:
        self._nursery = nursery
        self._bell = bell
        self._monotonic = monotonic
        self._new_poll = new_poll
        #: Tasks that came when no child took any.
        self._refused: list[Finished] = []
        self._running_before = 0

    # ---- for the dispatcher; see Pool

    def start(self, tasks: Sequence[Leased], lease: Lease) -> None:
        now = self._monotonic()
        children = self._takers()
        if not children:
            self._refuse(tasks)
        elif len(children) == 1:
            self._send(children[0], tasks, lease, now)
        else:
            for child, share in _shares(children, tasks):
                self._send(child, share, lease, now)

    def finished(self) -> list[Finished]:
        now = self._monotonic()
        finished, self._refused = self._refused, []
        for child in self._nursery.children:
            finished += child.receive(now)
        return finished + self._nursery.look_after(now)

    def accepts(self) -> bool:
        return bool(self._takers())

    def free(self) -> int:
        return sum(child.free for child in self._nursery.children)

    def unstarted(self) -> int:
        return sum(child.unstarted for child in self._nursery.children)

    def running(self) -> int:
        return sum(child.running() for child in self._nursery.children)

    def abandoned(self) -> int:
        return 0

    def withdraw(self, leased_before: float | None = None) -> list[Leased]:
        """What has not started is among the next outcomes, not in the answer: it is certain only a moment later."""
        now = self._monotonic()
        for child in self._nursery.children:
            child.withdraw(math.inf if leased_before is None else leased_before, now)
        return []

    def overdue(self, now: float) -> list[Finished]:
        """A thread cannot be ended, so its process is. What ran there is among the outcomes once it has ended."""
        for child in list(self._nursery.children):
            if child.overdue(now):
                self._nursery.condemn(child, now)
        return []

    def next_overdue(self) -> float | None:
        return self._nursery.wakes_at()

    def cancel(self, ids: Collection[int]) -> None:
        for child in self._nursery.children:
            child.cancel(ids)

    def kill(self) -> list[Finished]:
        return self._nursery.kill_busy(self._monotonic())

    def close(self, timeout_s: float) -> None:
        self._nursery.close(timeout_s)

    # ---- in place of the bell

    def wait(self, timeout_s: float) -> bool:
        """Sleep until the bell is rung, a child has something to say, or the time is over; True: look for work."""
        if self._more_run_than_before():
            return True
        poll = self._new_poll()
        poll.register(self._bell.fileno(), select.POLLIN)
        for child in self._nursery.children:
            child.watch(poll)
        ready = {fd for fd, _ in poll.poll(max(0.0, timeout_s) * 1000)}
        for child in self._nursery.children:
            child.channel.flush()
            child.channel.readable |= child.channel.fileno() in ready
            if child.pidfd in ready:
                self._nursery.look_now()
        return self._bell.fileno() in ready and self._bell.heard()

    def _more_run_than_before(self) -> bool:
        """A child is ready that was not: there is room for tasks that were seen and left."""
        before, self._running_before = self._running_before, len(self._takers())
        return self._running_before > before

    # ---- for people

    def describe(self) -> Mapping[str, Any]:
        """What the record of the worker says about its children."""
        return {"children": [child.describe() for child in self._nursery.children]}

    def tell(self, event: Event) -> None:
        """Pass an event to the listeners of the application, which live in the children: to those of one of them."""
        for child in self._takers()[:1]:
            child.channel.send(EVENTS, [(str(event.name), *event[1:])])

    # ---- inside

    def _send(self, child: ChildProcess, tasks: Sequence[Leased], lease: Lease, now: float) -> None:
        if len(tasks) > (room := child.room):
            self._refuse(tasks[room:])
            tasks = tasks[:room]
        if tasks:
            child.send(tasks, lease, now)

    def _refuse(self, tasks: Sequence[Leased]) -> None:
        self._refused += [Finished(task, INTERRUPTED) for task in tasks]

    def _takers(self) -> list[ChildProcess]:
        return [child for child in self._nursery.children if child.condition is Condition.RUNNING]


def _shares(children: Sequence[ChildProcess], tasks: Sequence[Leased]) -> Iterator[tuple[ChildProcess, list[Leased]]]:
    """Those in front go to free threads; what is leased ahead is laid where least lies."""
    rest = iter(tasks)
    shares = [list(islice(rest, child.free)) for child in children]
    loads = [child.holds + len(share) for child, share in zip(children, shares, strict=True)]
    ahead = list(rest)
    level = math.ceil((sum(loads) + len(ahead)) / len(children))
    for share, load in zip(shares, loads, strict=True):
        wanted = max(0, level - load)
        share += ahead[:wanted]
        del ahead[:wanted]
    shares[-1] += ahead
    return ((child, share) for child, share in zip(children, shares, strict=True) if share)
