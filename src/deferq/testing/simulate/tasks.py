"""Tasks as `put` receives them, made from a few numbers."""

from __future__ import annotations

from deferq.engines.base import Clock
from deferq.model.retry import DEFAULT_RETRY, RetryPolicy
from deferq.model.task import EPOCH_2020_US, ID_RANDOM_BITS, NewTask, Options
from deferq.testing.simulate.clock import US


class TaskMaker:
    """Makes tasks with ascending ids."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_id = 0

    def __call__(
        self, queue: str, *, in_s: float = 0.0, retry: RetryPolicy = DEFAULT_RETRY, timeout_s: float | None = None
    ) -> NewTask:
        """A task that is due `in_s` seconds from now."""
        now = self._clock()
        self._last_id = max(self._last_id + 1, (now - EPOCH_2020_US) << ID_RANDOM_BITS)
        return NewTask(
            id=self._last_id,
            queue=queue,
            target="app:work",
            priority=0,
            eta=now + round(in_s * US),
            expires_at=None,
            at_most_once=retry.at_most_once,
            name=None,
            if_exists="raise",
            route=None,
            url=None,
            options=Options(retry=retry, timeout_s=timeout_s).encode(),
            payload=b"envelope of %d" % self._last_id,
        )
