"""What was committed of a question whose answer got lost? All of it, or nothing: the store shows which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from deferq.engines.answers import Stored
from deferq.engines.base import Turn
from deferq.model.state import State
from deferq.model.task import Leased, NewTask, Task
from deferq.runtime.dispatcher import Effect, Renew, TakeTurn

if TYPE_CHECKING:
    from deferq.testing.simulate.worker import Node
    from deferq.testing.simulate.world import SimulatedWorld


def of_effect(world: SimulatedWorld, node: Node, effect: Effect) -> None:
    """Tell the history what a worker has not learnt."""
    rows = world.rows()
    if isinstance(effect, TakeTurn):
        _of_turn(world, node, effect, rows)
    elif isinstance(effect, Renew):
        for row in rows.values():
            world.history.accounts[row.id].until = row.leasable_at
    world.look(rows)


def of_put(world: SimulatedWorld, who: str, tasks: Sequence[NewTask]) -> None:
    """Tell the history what a producer has not learnt."""
    history, now = world.history, world.clock()
    stored = {row.id for row in world.engine.get([task.id for task in tasks])}
    new = [task for task in tasks if task.id in stored and task.id not in history.accounts]
    answers = [Stored(task.id, history.names.pending_holder(task, history.accounts, now)) for task in new]
    history.put(world.now, now, who, new, answers)
    world.look()


def _of_turn(world: SimulatedWorld, node: Node, effect: TakeTurn, rows: Mapping[int, Task]) -> None:
    accounts, want = world.history.accounts, effect.want
    leased = [
        _leased(accounts[row.id].task, row)
        for row in rows.values()
        if want is not None and row.state is State.LEASED and row.lease_id == want.lease_id
    ]
    lost = tuple(one.task for one in effect.settlements if not accounts[one.task.id].holds(one.task.lease_id))
    held = [one.task for one in effect.settlements if one.task not in lost]
    settled = [task for task in held if not _is_held(rows.get(task.id), task)]
    if leased or settled:
        lost += tuple(task for task in held if task not in settled)
        world.history.turn(world.now, node.name, effect, Turn(world.clock(), lost, leased, None))


def _is_held(row: Task | None, task: Leased) -> bool:
    return row is not None and row.state is State.LEASED and row.lease_id == task.lease_id


def _leased(task: NewTask, row: Task) -> Leased:
    """What a lease took, read from its row."""
    return Leased(
        id=row.id,
        queue=row.queue,
        target=row.target,
        priority=row.priority,
        eta=row.eta,
        attempts=row.attempts,
        starts=row.starts,
        parks=row.parks,
        expires_at=row.expires_at,
        name=row.name,
        route=row.route,
        url=row.url,
        options=task.options,
        payload=task.payload,
        first_due=row.first_due,
        lease_id=row.lease_id or 0,
        leased_until=row.leasable_at,
        cancel_requested=row.cancel_requested,
    )
