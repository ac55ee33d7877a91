"""What one effect may do to the tasks it speaks of: the contract of a leasing engine, checked on each answer.

The world reads the rows of these tasks before and after; whatever the history, the two must fit to the answer between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from deferq.engines.base import LeasingEngine, Settlement, Turn, Want, holder_of
from deferq.model.settings import QueueSettings
from deferq.model.state import State
from deferq.model.task import Leased, Task
from deferq.testing.simulate.broken import Broken
from deferq.testing.simulate.handlers import LET_GO

Rows = Mapping[int, Task]


class Witness:
    """Stands between a worker and its engine, and looks at the rows before and after each call."""

    def __init__(
        self,
        engine: LeasingEngine,
        onlooker: LeasingEngine,
        number: int,
        alive: Callable[[], Collection[int]],
        all_ids: Callable[[], Iterable[int]],
        taken_up: Callable[[int, int], bool],
    ) -> None:
        """`onlooker` is an engine on the same store to which nothing happens; `number` is the dispatcher's own.

        `taken_up` says of a task and a lease whether it runs elsewhere than where its holder is.
        """
        self._engine = engine
        self._onlooker = onlooker
        self._number = number
        self._alive = alive
        self._all_ids = all_ids
        self._taken_up = taken_up

    def turn(self, settlements: Sequence[Settlement], want: Want | None) -> Turn:
        ids = {one.task.id for one in settlements}
        before = self._rows(ids)
        answer = self._engine.turn(settlements, want)
        after = self._rows(ids | {task.id for task in answer.leased})
        for one in settlements:
            self._check_burial(before.get(one.task.id), one, answer)
        _check_settled(before, after, settlements, answer)
        if want is not None and answer.leased:
            _check_leased(after, answer, want, self._onlooker.queues())
        return answer

    def renew(self, leases: Sequence[Leased], until: int) -> tuple[list[Leased], list[Leased]]:
        ids = {task.id for task in leases}
        before = self._rows(ids)
        lost, unwanted = self._engine.renew(leases, until)
        _check_renewed(before, self._rows(ids), leases, until, lost, unwanted)
        return lost, unwanted

    def stalled(self, limit: int) -> list[Leased]:
        found = self._engine.stalled(limit)
        self._check_stalled(found, limit)
        return found

    def _check_burial(self, before: Task | None, one: Settlement, answer: Turn) -> None:
        """The lease of another who lives is settled only if it is over, and so is what was let go."""
        holder = holder_of(one.task.lease_id)
        held = before is not None and _is_held(before, one.task) and one.task not in answer.lost
        if before is not None and held and before.leasable_at > answer.now and _was_let_go(one):
            raise Broken(f"task {before.id} was let go, and is settled before its lease is over")
        if holder == self._number or holder not in self._alive() or one.task in answer.lost:
            return
        if before is not None and _is_held(before, one.task) and before.leasable_at > answer.now:
            raise Broken(f"task {before.id} is held by worker {holder}, and worker {self._number} has buried it")

    def _check_stalled(self, found: Sequence[Leased], limit: int) -> None:
        """Every lease that is over is found, and no other unless its holder is dead."""
        now, alive = self._onlooker.now(), self._alive()
        rows = self._rows(self._all_ids()).values()
        over = {row.id for row in rows if row.state is State.LEASED and row.leasable_at <= now}
        for task in found:
            if task.id in over:
                continue
            if holder_of(task.lease_id) in alive:
                raise Broken(f"task {task.id} was found stalled, and its lease is not over")
            if self._taken_up(task.id, task.lease_id):
                raise Broken(f"task {task.id} was found stalled, and runs elsewhere than its holder, who is dead")
        if len(found) < limit and (missed := over - {task.id for task in found}):
            raise Broken(f"task {min(missed)} is stalled, and nobody found it")

    def _rows(self, ids: Iterable[int]) -> Rows:
        return {task.id: task for task in self._onlooker.get(sorted(ids))}


def _was_let_go(one: Settlement) -> bool:
    return one.failure is not None and one.failure.message == LET_GO.error.message


def _is_held(row: Task, task: Leased) -> bool:
    return row.state is State.LEASED and row.lease_id == task.lease_id


def _check_settled(before: Rows, after: Rows, settlements: Sequence[Settlement], answer: Turn) -> None:
    """Settling changes what is held under that very lease, and nothing else."""
    lost = {(task.id, task.lease_id) for task in answer.lost}
    seen = {task.id for task in answer.leased}
    for one in settlements:
        task = one.task
        if task.id not in seen:
            _settled(before.get(task.id), after.get(task.id), one, answer.now, (task.id, task.lease_id) in lost)
        seen.add(task.id)


def _settled(before: Task | None, after: Task | None, one: Settlement, now: int, lost: bool) -> None:
    if before is None or after is None:
        if before is not after:
            raise Broken(f"task {one.task.id} was changed by a settlement: {_changed(before, after)}")
        return
    to, held = one.transition, _is_held(before, one.task)
    if lost or not held:
        if after != before:
            raise Broken(
                f"task {before.id} was changed by a settlement whose lease was over: {_changed(before, after)}"
            )
        if held and not (one.only_if_over and before.leasable_at > now):
            raise Broken(f"task {before.id} is held under the lease that was settled, and the answer says it is lost")
        return
    starts = before.starts - (not to.started)
    written = (after.state, after.attempts, after.parks, after.starts)
    if written != (to.state, to.attempts, to.parks, starts):
        raise Broken(f"task {before.id} was settled as {to.rule}, and what stands there is {written}")
    if to.state is State.PENDING and after.eta != to.eta:
        raise Broken(f"task {before.id} is due at another time than its settlement says")


def _check_leased(after: Rows, answer: Turn, want: Want, queues: Sequence[QueueSettings]) -> None:
    """What is leased is due and wanted, and stands in the order in which it is to start."""
    tasks = answer.leased
    if paused := {queue.name for queue in queues if queue.paused}.intersection(task.queue for task in tasks):
        raise Broken(f"queue {min(paused)} is paused, and tasks were leased from it")
    tight = {queue.name for queue in queues if queue.limits}
    if len(tasks) > want.free + want.ahead:
        raise Broken(f"{len(tasks)} tasks were leased and {want.free + want.ahead} were wanted")
    in_front = [task.retry.at_most_once or task.queue in tight for task in tasks]
    if sum(in_front) > want.free:
        raise Broken(f"{sum(in_front)} tasks that need a slot were leased for {want.free} free ones: the rest is ahead")
    if in_front != sorted(in_front, reverse=True):
        raise Broken("tasks that need a slot do not stand in front")
    for task in tasks:
        _leased(task, after[task.id], answer.now, want)


def _leased(task: Leased, row: Task, now: int, want: Want) -> None:
    if task.lease_id != want.lease_id:
        raise Broken(f"task {task.id} was leased, and nobody wanted it")
    until = now + want.lease_us
    if (row.state, row.lease_id, row.leasable_at, task.leased_until) != (State.LEASED, task.lease_id, until, until):
        raise Broken(f"task {task.id} was leased until {until} and stands as {row.state.name} until {row.leasable_at}")
    if row.starts != task.starts:
        raise Broken(f"task {task.id} was leased with {task.starts} starts and stands with {row.starts}")


def _check_renewed(
    before: Rows, after: Rows, leases: Sequence[Leased], until: int, lost: Sequence[Leased], unwanted: Sequence[Leased]
) -> None:
    """What is held is held for longer, and nothing else changes."""
    gone = {task.id for task in lost}
    to_cancel = {task.id for task in unwanted}
    for task in leases:
        row, now = before.get(task.id), after.get(task.id)
        held = row is not None and _is_held(row, task)
        if held == (task.id in gone):
            raise Broken(f"task {task.id} is {'' if held else 'not '}held, and its renewal says otherwise")
        if not held and now != row:
            raise Broken(f"task {task.id} was changed by a renewal of a lease that was over: {_changed(row, now)}")
        if held and (now is None or now.leasable_at != until):
            raise Broken(f"task {task.id} was renewed until {until}, and that is not what stands there")
        if held and row is not None and row.cancel_requested != (task.id in to_cancel):
            raise Broken(f"task {task.id} is to be cancelled, and its renewal does not say so")


def _changed(before: Task | None, after: Task | None) -> str:
    if before is None or after is None:
        return "it is gone" if after is None else "it is there"
    names = [name for name in Task.__slots__ if getattr(before, name) != getattr(after, name)]
    return ", ".join(f"{name} {getattr(before, name)} -> {getattr(after, name)}" for name in names)
