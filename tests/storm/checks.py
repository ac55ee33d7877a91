"""What must hold after a storm, each as a function of what was seen that returns what does not.

I1 to I14 are the invariants of the test programme. Nothing here asks deferq whether it did right: executions are those
of the ledger, deaths those that the storm has caused. Only what is stored at the end comes from the store.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from signal import SIGKILL
from typing import NamedTuple

from deferq import State
from deferq.runtime.settling import WORKER_LOST
from tests.storm.ledger import Execution, Record, executions
from tests.storm.processes import Hit

#: How long children may live on without a parent, in nanoseconds: the kernel ends them, but a machine may be busy.
ORPHANS_LIVE_NS = 100_000_000

#: How long somebody who was hit may take to end, and may start something meanwhile, in nanoseconds.
DYING_NS = 15_000_000_000


class Stored(NamedTuple):
    """A task as it stands in the store at the end."""

    id: int
    token: str
    state: State
    reason: str | None
    attempts: int
    max_attempts: int | None
    queue: str
    #: What it returned: the attempt, and when that started.
    result: tuple[int, int] | None
    #: Attempts that were taken for lost because their lease was over, and not because their holder was dead.
    ran_out: frozenset[int]


class Seen:
    """All that is known of a storm."""

    def __init__(
        self,
        records: list[Record],
        hits: Iterable[Hit],
        stored: list[Stored],
        *,
        leases_run_out: bool = False,
        limits: Iterable[tuple[str, int]] = (),
    ) -> None:
        """`leases_run_out`: whether somebody may have been frozen for longer than a lease.

        `limits` are how many tasks of a queue may run at a time.
        """
        self.records = records
        self.stored = stored
        self.leases_run_out = leases_run_out
        self.limits = list(limits)
        #: Of each task, in order of their starts.
        self.executions: dict[int, list[Execution]] = defaultdict(list)
        for one in executions(records):
            self.executions[one.task].append(one)
        self._hits: dict[int, list[Hit]] = defaultdict(list)
        for hit in hits:
            self._hits[hit.pid].append(hit)

    def ended(self, one: Execution) -> int | None:
        """Until when it certainly ran, if that is known: it says so, or somebody has hit its process or the parent."""
        if one.end is not None:
            return min([one.end, *self._orphaned(one, one.end)])
        hits = [hit.at for pid in (one.pid, one.ppid) for hit in self._hits.get(pid, ())]
        return min((max(at, one.start) for at in hits if at >= one.start - DYING_NS), default=None)

    def _orphaned(self, one: Execution, end: int) -> Iterator[int]:
        """A child dies a moment after its parent. Till then it may go on, but nobody settles what comes of it."""
        hits = self._hits.get(one.ppid, ())
        for number, hit in enumerate(hits):
            fatal = hit.number == SIGKILL or number > 0
            if fatal and one.start <= hit.at <= end < hit.at + ORPHANS_LIVE_NS:
                yield hit.at

    def late(self) -> int:
        """How many came to an end after the next attempt had begun."""
        following = (pair for starts in self.executions.values() for pair in itertools.pairwise(starts))
        return sum(earlier.end is not None and earlier.end > later.start for earlier, later in following)


Check = Callable[[Seen], Iterable[str]]


def nothing_is_lost(seen: Seen) -> Iterator[str]:
    """I1: what was accepted is in the store, ended, and was executed to its end if it counts as that."""
    stored = {task.id: task for task in seen.stored}
    for record in seen.records:
        if record.what == "accepted" and record.task not in stored:
            yield f"task {record.task} ({record.token}) was accepted and is not there"
    for task in seen.stored:
        if task.state is State.SUCCEEDED and not any(one.how == "end" for one in seen.executions.get(task.id, ())):
            yield f"{task} counts as succeeded, and no execution came to its end"
        if task.state not in (State.SUCCEEDED, State.DEAD):
            yield f"{task} has not ended"
        if task.state is State.DEAD and task.attempts != task.max_attempts:
            yield f"{task} is dead before its attempts were spent"


def nothing_is_stored_twice(seen: Seen) -> Iterator[str]:
    """I2, I7: a call makes one task, or, if there was no answer, at most one; what runs was deferred."""
    times = Counter(task.token for task in seen.stored)
    answers = [record for record in seen.records if record.what in ("accepted", "again")]
    ids = {task.token: task.id for task in seen.stored}
    intended = {record.token for record in seen.records if record.what in ("intend", "named")}
    for token, number in times.items():
        if number > 1:
            yield f"{token} was stored {number} times"
        if token not in intended:
            yield f"{token} was stored, and nobody has deferred it"
    for record in answers:
        if ids.get(record.token, record.task) != record.task:
            yield f"{record.token} is stored as {ids[record.token]}, and its producer was told {record.task}"
    ran = seen.executions.keys() - set(ids.values())
    yield from (f"task {task_id} ran and is not there" for task_id in ran)


def no_two_at_a_time(seen: Seen) -> Iterator[str]:
    """I3: an execution begins when the one before it has ended, or died, or its lease is over."""
    ran_out = {task.id: task.ran_out for task in seen.stored}
    for task_id, starts in seen.executions.items():
        in_order = sorted(starts, key=lambda one: (one.attempt, one.start))
        for earlier, later in itertools.pairwise(in_order):
            ended = seen.ended(earlier)
            if ended is not None and ended <= later.start:
                continue
            if not (seen.leases_run_out and earlier.attempt in ran_out.get(task_id, ())):
                yield f"{later} began while this one went on: {earlier}"


def nobody_dies_by_itself(seen: Seen) -> Iterator[str]:
    """An execution that does not end was in a process that was hit."""
    for starts in seen.executions.values():
        yield from (f"nobody has killed it, and it has no end: {one}" for one in starts if seen.ended(one) is None)


def the_newest_counts(seen: Seen) -> Iterator[str]:
    """I4: what is stored comes from the last execution, and not from one that had lost its lease."""
    for task in seen.stored:
        starts = seen.executions.get(task.id, [])
        newest = max((one.attempt for one in starts), default=0)
        if task.state is State.SUCCEEDED:
            ends = {(one.attempt, one.start) for one in starts if one.how == "end"}
            if task.result not in ends:
                yield f"{task} has a result that no execution has returned: {starts}"
            elif task.result[0] != newest or task.attempts != newest:
                yield f"{task} has the result of an attempt that was not the last one: {starts}"
        if newest > task.attempts:
            yield f"{task} has had a later attempt than it counts: {starts}"


def attempts_are_counted(seen: Seen) -> Iterator[str]:
    """I5, I6: each start spends an attempt, unless it asks for a later one; so there are never too many."""
    for task in seen.stored:
        spent = [one.attempt for one in seen.executions.get(task.id, ()) if one.how != "snooze"]
        if len(spent) != len(set(spent)):
            yield f"{task} has started an attempt twice: {sorted(spent)}"
        if task.max_attempts is not None and max(task.attempts, len(spent)) > task.max_attempts:
            yield f"{task} has started too often: {sorted(spent)}"


def limits_hold(seen: Seen) -> Iterator[str]:
    """I10: never more at a time than the queue allows. A lease that is over counts no more."""
    for queue, most in seen.limits:
        tasks = {task.id: task for task in seen.stored if task.queue == queue}
        moments: list[tuple[int, int]] = []
        for one in itertools.chain.from_iterable(seen.executions.get(task_id, ()) for task_id in tasks):
            if one.attempt not in tasks[one.task].ran_out:
                moments += [(one.start, 1), (seen.ended(one) or one.start, -1)]
        running = itertools.accumulate(step for _, step in sorted(moments))
        if (peak := max(running, default=0)) > most:
            yield f"{peak} tasks of the queue {queue} ran at the same time"


ALL: tuple[Check, ...] = (
    nothing_is_lost,
    nothing_is_stored_twice,
    no_two_at_a_time,
    nobody_dies_by_itself,
    the_newest_counts,
    attempts_are_counted,
    limits_hold,
)

#: How a failure tells that the lease was over.
RAN_OUT = WORKER_LOST.error.message


def violations(seen: Seen) -> list[str]:
    """What does not hold, each with the name of what should."""
    return [f"{check.__name__}: {found}" for check in ALL for found in check(seen)]
