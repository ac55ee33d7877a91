"""`current_task().settle_within(...)`: a task writes its own success in the transaction of its effect.

If that commits, the task has succeeded, whatever happens afterwards: its worker may die, its function may fail. If it
rolls back, nothing was settled, and the end of the function counts as ever. The lease id is the fence here too.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from deferq.engines.base import Settlement
from deferq.errors import LeaseLost, StoreError
from deferq.model.outcome import SUCCEEDED, ErrorText, Failed, Outcome, Succeeded
from deferq.model.retry import DEFAULT_RETRY
from deferq.model.task import Leased
from deferq.model.transitions import decide
from deferq.transactions import joining

if TYPE_CHECKING:
    from deferq.codec.codec import Codec
    from deferq.engines.base import LeasingEngine
    from deferq.transactions.joining import Transaction

logger = logging.getLogger("deferq")


class Settler:
    """Settles tasks of one engine in transactions of theirs."""

    def __init__(self, engine: LeasingEngine, codec: Codec) -> None:
        self._engine = engine
        self._codec = codec

    def settle(self, task: Leased, duration_s: float, within: Any, result: object) -> Settlement:
        """Write the success of `task`; returns what was written, which stands once the transaction commits."""
        settlement = self._settlement(task, duration_s, result)
        transaction = joining.required(self._engine, within)
        transaction.run(partial(self._write, transaction, settlement))
        return settlement

    async def settle_async(self, task: Leased, duration_s: float, within: Any, result: object) -> Settlement:
        """The same from a coroutine."""
        settlement = self._settlement(task, duration_s, result)
        transaction = await joining.required_async(self._engine, within)
        await transaction.run_async(partial(self._write, transaction, settlement))
        return settlement

    def stands(self, settlement: Settlement, outcome: Outcome) -> bool:
        """Whether it was committed; then it counts, and what its function came to is worth a line at the most."""
        try:
            stands = joining.within_of(self._engine).is_settled(settlement)
        except StoreError:  # whoever settles it finds out
            return False
        if stands and not isinstance(outcome, Succeeded):
            _complain(settlement.task, outcome)
        return stands

    def _settlement(self, task: Leased, duration_s: float, result: object) -> Settlement:
        transition = decide(task, SUCCEEDED, DEFAULT_RETRY, self._engine.now(), 0.0)
        sealed = None if result is None else self._codec.seal_result(task.id, task.target, result)
        return Settlement(task, transition, int(duration_s * 1e6), sealed)

    def _write(self, transaction: Transaction, settlement: Settlement) -> None:
        within, connection = joining.within_of(self._engine), transaction.connection()
        within.prepare(connection)
        if not within.settle(connection, settlement):
            task = settlement.task
            raise LeaseLost(
                f"Task {task.id} ({task.target}) is not this attempt's any more: its lease is over, and another worker"
                " holds it or has ended it. Let this error roll the transaction back."
            )


def _complain(task: Leased, outcome: Outcome) -> None:
    error = outcome.error if isinstance(outcome, Failed) else ErrorText(error_type=type(outcome).__name__, message="")
    logger.error(
        "task %d %s (queue %s, attempt %d) had settled itself as succeeded and stays so, and then ended otherwise:"
        " %s: %s%s",
        task.id,
        task.target,
        task.queue,
        task.attempt,
        error.error_type,
        error.message,
        f"\n{error.traceback.rstrip()}" if error.traceback else "",
    )
