"""Queues: a place for tasks, with a name and settings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deferq.errors import InvalidName
from deferq.model.retry import RetryPolicy

DEFAULT_QUEUE = "default"
_QUEUE_NAME = re.compile(r"[a-zA-Z0-9_-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What the application declares about a queue."""

    #: Retry policy of its tasks, unless the call or the deferrable brings one.
    retry: RetryPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """What the store knows about a queue."""

    name: str
    #: A paused queue accepts tasks and leases none.
    paused: bool = False


def check_queue_name(name: object) -> str:
    """Return `name` if it can name a queue: 1 to 100 ASCII letters, digits, dashes or underscores.

    Raises InvalidName otherwise, without echoing the name.
    """
    if isinstance(name, str) and _QUEUE_NAME.fullmatch(name):
        return name
    raise InvalidName(
        "queue: a queue name has 1 to 100 ASCII letters, digits, '-' or '_', and this one has not.", field="queue"
    )
