"""Tasks as `put` receives them, with everything but the point of the test filled in."""

from __future__ import annotations

from deferq.engines.base import Clock
from deferq.model.retry import DEFAULT_RETRY, RetryPolicy
from deferq.model.task import EPOCH_2020_US, ID_RANDOM_BITS, NewTask, Options
from tests.support.clock import US


class TaskMaker:
    """Makes tasks with ascending ids. Times are given in seconds from now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_id = 0

    def __call__(
        self,
        queue: str = "default",
        *,
        target: str = "app:work",
        in_s: float = 0.0,
        expires_in_s: float | None = None,
        priority: int = 0,
        name: str | None = None,
        if_exists: str = "raise",
        route: str | None = None,
        url: str | None = None,
        retry: RetryPolicy = DEFAULT_RETRY,
        payload: bytes | None = None,
        task_id: int | None = None,
        spill: bytes | None = None,
    ) -> NewTask:
        now = self._clock()
        task_id = self._next_id(now) if task_id is None else task_id
        return NewTask(
            id=task_id,
            queue=queue,
            target=target,
            priority=priority,
            eta=now + round(in_s * US),
            expires_at=None if expires_in_s is None else now + round(expires_in_s * US),
            at_most_once=retry.at_most_once,
            name=name,
            if_exists=if_exists,
            route=route,
            url=url,
            options=Options(retry=retry).encode(),
            payload=b"envelope of %d" % task_id if payload is None else payload,
            spill=spill,
        )

    def many(self, number: int, queue: str = "default", **options: object) -> list[NewTask]:
        return [self(queue, **options) for _ in range(number)]  # type: ignore[arg-type]

    def _next_id(self, now: int) -> int:
        self._last_id = max(self._last_id + 1, (now - EPOCH_2020_US) << ID_RANDOM_BITS)
        return self._last_id
