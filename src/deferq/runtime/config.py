"""What can be set about a worker."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from deferq.errors import InvalidOption
from deferq.model.queue import check_queue_name
from deferq.model.retry import is_seconds
from deferq.runtime.delivery import Switch


def default_threads() -> int:
    """Tasks mostly wait for something, so there are more threads than processors, but not many more."""
    return min(8, 2 * (os.cpu_count() or 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Settings of one worker. A value that makes no sense raises InvalidOption, which names the field."""

    #: How many plain functions run at a time.
    threads: int = field(default_factory=default_threads)
    #: How many coroutines run at a time.
    async_slots: int = 100
    #: How long a lease lasts, in seconds. The worker renews it from a thread of its own process, so a task that holds
    #: the interpreter lock for longer than this may run twice.
    lease_s: float = 120.0
    #: The longest it sleeps, in seconds, when no bell rings.
    poll_s: float = 1.0
    #: How long running tasks may go on after a stop, in seconds.
    drain_s: float = 30.0
    #: The most tasks leased, or settled, in one transaction.
    batch: int = 200
    #: Leases ahead what it can start within so many seconds.
    prefetch_s: float = 0.15
    #: Queues to serve; None: all.
    queues: tuple[str, ...] | None = None
    #: Serve this route and unrouted tasks; None: every route.
    route: str | None = None
    #: Serve exactly these routes instead, None among them for tasks without one; None: as `route` says.
    routes: tuple[str | None, ...] | None = None
    #: Lease tasks with an url too, and deliver them to the application.
    delivers: bool | Switch = False
    #: Stop by itself once nothing is due and nothing runs. Tasks of dead workers are looked for first.
    until_idle: bool = False

    @property
    def wanted_routes(self) -> tuple[str | None, ...] | None:
        """Every route that is served, None among them for tasks without one; None: all."""
        return self.routes if self.routes or self.route is None else (None, self.route)

    def __post_init__(self) -> None:
        for name in ("threads", "async_slots", "batch"):
            _count(name, getattr(self, name), 10_000)
        for name in ("lease_s", "poll_s"):
            _seconds(name, getattr(self, name), above_zero=True)
        for name in ("drain_s", "prefetch_s"):
            _seconds(name, getattr(self, name), above_zero=False)
        if self.poll_s > self.lease_s / 3:
            raise InvalidOption(
                f"worker: poll_s ({self.poll_s}) may be a third of lease_s ({self.lease_s}) at most, or leases could"
                " run out between two looks; lower it or make the lease longer.",
                field="poll_s",
            )
        if isinstance(self.queues, str):
            raise InvalidOption('worker: queues must be a list of names, such as ["mail"].', field="queues")
        for queue in self.queues or ():
            check_queue_name(queue)
        if self.queues is not None and not self.queues:
            raise InvalidOption(
                "worker: queues is empty, so it would never run a task; name one or pass None.", field="queues"
            )


def _count(name: str, value: object, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidOption(f"worker: {name} must be a whole number from 1 to {most}.", field=name)


def _seconds(name: str, value: object, *, above_zero: bool) -> None:
    if not is_seconds(value):
        raise InvalidOption(f"worker: {name} must be a number of seconds, not negative.", field=name)
    if above_zero and value == 0:
        raise InvalidOption(f"worker: {name} must be more than 0 seconds.", field=name)
