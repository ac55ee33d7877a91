"""How a worker hands a task with an url of its own to the application, within its own process.

The runtime knows no transport: who can deliver is told to the executor (see `deferq.http.delivering`).
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import NamedTuple, Protocol

from deferq.current import CurrentTask
from deferq.model.outcome import ErrorText, Outcome, Parked
from deferq.model.task import Leased

NOT_DELIVERED = Parked(
    error=ErrorText(
        error_type="NotDelivered",
        message="The task has an url, and this worker knows no application to deliver it to. Name one: deferq worker"
        " module:app, or wrap it with wrap_wsgi or wrap_asgi.",
    ),
    reason="parked: no worker that delivers took it",
)


#: The same for one that is not delivered at all.
NOT_PULLED = Parked(
    error=ErrorText(
        error_type="NotPulled",
        message="The task is to be pulled, and its queue is declared as one that workers serve. Declare it as a pull"
        " queue again, with Queue(pull=True) or 'mode: pull' in queue.yaml.",
    ),
    reason="parked: it waits for somebody to pull it",
)


class Delivery(NamedTuple):
    """One attempt at a task that is delivered: the worker around it holds the lease, and settles what comes of it."""

    task: Leased
    #: What the attempt sees of itself; a cancellation reaches it there.
    current: CurrentTask


class Deliverer(Protocol):
    """Whoever brings a delivery to the application and says what came of it. It may raise what the application did."""

    @property
    def is_async(self) -> bool:
        """Whether `deliver` is a coroutine function."""

    def deliver(self, delivery: Delivery) -> Outcome | Awaitable[Outcome]:
        """Let the application run the task."""


class Delivered(NamedTuple):
    """What a delivery returned, which is no result to be stored."""

    outcome: Outcome


class NoApplication:
    """The deliverer of a worker that knows no application. It leases no such tasks, but may be sent one."""

    is_async = False

    def deliver(self, delivery: Delivery) -> Outcome:
        """Leave it to others."""
        return NOT_DELIVERED


class Switch:
    """Whether something is so now, for those who ask again and again."""

    __slots__ = ("on",)

    def __init__(self, on: bool) -> None:
        self.on = on

    def __bool__(self) -> bool:
        return self.on
