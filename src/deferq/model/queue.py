"""Queues: a place for tasks, with a name and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deferq.errors import InvalidName, InvalidOption
from deferq.frozen import Frozen
from deferq.model.checks import check_route
from deferq.model.retry import RetryPolicy

if TYPE_CHECKING:
    from deferq.model.limits import Limits

DEFAULT_QUEUE = "default"
_QUEUE_NAME = r"[a-zA-Z0-9_-]{1,100}"  # compiled when it is first needed: importing deferq is to be quick


class Queue(Frozen):
    """What the application declares about a queue.

    The limits hold over all workers together. What an operator says of the limits, and of pausing, wins over what is
    declared here. Retry policy and route go with each task when it is deferred, so a change concerns later tasks alone.
    """

    __slots__ = (  # noqa: RUF023 – the order in which they are shown
        "rate",
        "bucket_size",
        "max_concurrent",
        "retry",
        "route",
        "paused",
        "pull",
        "source",
    )

    #: How fast its tasks start: "5/s", "0.5/s", "100/m", "10/h", "1/d". None: no limit.
    rate: str | None
    #: How many may start at once after a pause; goes with a rate. None: 5, or more if the rate is above 50 a second.
    bucket_size: int | None
    #: How many may run at a time. None: no limit.
    max_concurrent: int | None
    #: Retry policy of its tasks, unless the call or the deferrable brings one, which then holds as a whole.
    retry: RetryPolicy | None
    #: Which group of workers its tasks are meant for, unless the call says so. None: any.
    route: str | None
    #: Whether it accepts tasks and gives none, until an operator resumes it.
    paused: bool
    #: Whether the application leases its tasks itself: App Engine's pull queue.
    pull: bool
    #: The name of the file that declares it; None: code does.
    source: str | None

    def __init__(
        self,
        *,
        rate: str | float | None = None,
        bucket_size: int | None = None,
        max_concurrent: int | None = None,
        retry: RetryPolicy | None = None,
        route: str | None = None,
        paused: bool = False,
        pull: bool = False,
        source: str | None = None,
    ) -> None:
        """`rate` may be a number per second. Raises InvalidOption, which names the field."""
        if (rate, bucket_size, max_concurrent) != (None, None, None):
            rate = _checked_rate(rate, bucket_size, max_concurrent)
        self._fill(
            rate=rate,
            bucket_size=bucket_size,
            max_concurrent=max_concurrent,
            retry=retry,
            route=check_route(route),
            paused=_truth("paused", paused),
            pull=_truth("pull", pull),
            source=_text("source", source),
        )

    @property
    def limits(self) -> Limits:
        """Its limits by themselves."""
        from deferq.model.limits import Limits

        return Limits(rate=self.rate, bucket_size=self.bucket_size, max_concurrent=self.max_concurrent)

    def to_dict(self) -> dict[str, Any]:
        """Itself as plain data, without what nobody said: for the store, and for a process that imports nothing."""
        said = {name: value for name in self.__slots__ if (value := getattr(self, name)) not in (None, False)}
        if self.retry is not None:
            said["retry"] = {name: getattr(self.retry, name) for name in self.retry.__slots__}
        return said

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Queue:
        """The inverse of `to_dict`. Fields of a newer deferq are passed over."""
        known = {name: value for name, value in plain.items() if name in cls.__slots__}
        if (retry := known.get("retry")) is not None:
            policy = {name: value for name, value in retry.items() if name in RetryPolicy.__slots__}
            known["retry"] = RetryPolicy(**policy)
        return cls(**known)


def _truth(field: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidOption(f"{field}: expected True or False.", field=field)


def _text(field: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise InvalidOption(f"{field}: expected text.", field=field)


def _checked_rate(rate: Any, bucket_size: int | None, max_concurrent: int | None) -> str | None:
    from deferq.model.limits import Limits

    limits = Limits(rate=rate, bucket_size=bucket_size, max_concurrent=max_concurrent)
    if limits.bucket_size is not None and limits.rate is None:
        raise InvalidOption(
            'bucket_size: it goes with a rate, and there is none. Give it one, such as rate="5/s".',
            field="bucket_size",
        )
    return limits.rate


def check_queue_name(name: object) -> str:
    """Return `name` if it can name a queue: 1 to 100 ASCII letters, digits, dashes or underscores.

    Raises InvalidName otherwise, without echoing the name.
    """
    if isinstance(name, str) and re.fullmatch(_QUEUE_NAME, name):
        return name
    raise InvalidName(
        "queue: a queue name has 1 to 100 ASCII letters, digits, '-' or '_', and this one has not.", field="queue"
    )
