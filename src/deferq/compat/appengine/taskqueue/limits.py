"""The numbers and the names of App Engine's task queue."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

MAX_QUEUE_NAME_LENGTH: Final = 100
MAX_TASK_NAME_LENGTH: Final = 500
#: Bytes of a push task: method, url, headers and payload together.
MAX_PUSH_TASK_SIZE_BYTES: Final = 102_400
MAX_TASK_SIZE_BYTES: Final = MAX_PUSH_TASK_SIZE_BYTES
MAX_PULL_TASK_SIZE_BYTES: Final = 1_048_576
#: Bytes of all tasks that one call adds to a transaction.
MAX_TRANSACTIONAL_REQUEST_SIZE_BYTES: Final = 1_048_576
MAX_URL_LENGTH: Final = 2_083
MAX_TASKS_PER_ADD: Final = 100
#: Tasks that one transaction may add.
MAX_TASKS_PER_TRANSACTION: Final = 5
MAX_TASKS_PER_LEASE: Final = 1_000
#: Seconds: a week.
MAX_LEASE_SECONDS: Final = 604_800
MAX_TAG_LENGTH: Final = 500
MIN_DISPATCH_DEADLINE: Final = timedelta(seconds=15)
MAX_DISPATCH_DEADLINE: Final = timedelta(hours=24)
#: Seconds: thirty days.
MAX_COUNTDOWN_SECONDS: Final = 2_592_000

TASK_NAME_PATTERN: Final = r"^[a-zA-Z0-9_-]{1,500}$"
QUEUE_NAME_PATTERN: Final = r"^[a-zA-Z0-9-]{1,100}$"

DEFAULT_QUEUE: Final = "default"
#: The url of a task that has none is this and the name of its queue.
DEFAULT_QUEUE_PATH: Final = "/_ah/queue/"

METHODS: Final = ("POST", "GET", "HEAD", "PUT", "DELETE")
#: Of a task that is not delivered, but leased by whoever wants it.
PULL: Final = "PULL"


class Version:
    """Which version of the application a task is meant for, where it has no name."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<{self._name}>"


DEFAULT_APP_VERSION: Final = Version("DefaultApplicationVersion")
UNKNOWN_APP_VERSION: Final = Version("UnknownApplicationVersion")
