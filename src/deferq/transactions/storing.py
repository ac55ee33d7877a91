"""Putting tasks into a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from deferq.engines.answers import PutAnswer, Stored
from deferq.transactions.joining import Transaction, within_of

if TYPE_CHECKING:
    from deferq.engines.base import Engine
    from deferq.model.queue import Queue
    from deferq.model.task import NewTask


def store(
    engine: Engine,
    transaction: Transaction,
    make: Callable[[], Sequence[NewTask]],
    declared: Callable[[Sequence[NewTask]], Mapping[str, Queue]],
) -> tuple[Sequence[NewTask], list[PutAnswer]]:
    """Make tasks and store them in `transaction`; the bells are rung once it has committed.

    They are made when the store is open, since opening it must not wait for what the transaction holds.
    """
    within, connection = within_of(engine), transaction.connection()
    within.prepare(connection)
    tasks = make()
    answers = within.put(connection, tasks, declared(tasks))
    ids = [answer.id for answer in answers if isinstance(answer, Stored)]
    if ids and within.rings_for(min(task.eta for task in tasks)):
        transaction.when_committed(within, ids)
    return tasks, answers
