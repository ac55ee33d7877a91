"""Queues: a place for tasks, with a name and settings."""

from __future__ import annotations

import re

from deferq.errors import InvalidName
from deferq.frozen import Frozen
from deferq.model.retry import RetryPolicy

DEFAULT_QUEUE = "default"
_QUEUE_NAME = r"[a-zA-Z0-9_-]{1,100}"  # compiled when it is first needed: importing deferq is to be quick


class Queue(Frozen):
    """What the application declares about a queue."""

    __slots__ = ("retry",)

    #: Retry policy of its tasks, unless the call or the deferrable brings one.
    retry: RetryPolicy | None

    def __init__(self, *, retry: RetryPolicy | None = None) -> None:
        self._fill(retry=retry)


class QueueSettings(Frozen):
    """What the store knows about a queue."""

    __slots__ = ("name", "paused")

    name: str
    #: A paused queue accepts tasks and leases none.
    paused: bool

    def __init__(self, *, name: str, paused: bool = False) -> None:
        self._fill(name=name, paused=paused)


def check_queue_name(name: object) -> str:
    """Return `name` if it can name a queue: 1 to 100 ASCII letters, digits, dashes or underscores.

    Raises InvalidName otherwise, without echoing the name.
    """
    if isinstance(name, str) and re.fullmatch(_QUEUE_NAME, name):
        return name
    raise InvalidName(
        "queue: a queue name has 1 to 100 ASCII letters, digits, '-' or '_', and this one has not.", field="queue"
    )
