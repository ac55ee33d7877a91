"""Queues: a place for tasks, with a name and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, assert_never

from deferq.errors import InvalidName, InvalidOption
from deferq.model.limits import FIELDS, NO_LIMITS, Limits
from deferq.model.retry import RetryPolicy

DEFAULT_QUEUE = "default"
_QUEUE_NAME = re.compile(r"[a-zA-Z0-9_-]{1,100}")
#: The value of one limit.
Limit = str | int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What the application declares about a queue. Raises InvalidOption, which names the field.

    The limits hold over all workers together, and an operator's wins over the one declared here.
    """

    #: How fast its tasks start: "5/s", "0.5/s", "100/m", "10/h", "1/d", or a number per second. None: no limit.
    rate: str | float | None = None
    #: How many may start at once after a pause; goes with a rate. None: 5, or more if the rate is above 50 a second.
    bucket_size: int | None = None
    #: How many may run at a time. None: no limit.
    max_concurrent: int | None = None
    #: Retry policy of its tasks, unless the call or the deferrable brings one.
    retry: RetryPolicy | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", self.limits.rate)
        if self.bucket_size is not None and self.rate is None:
            raise InvalidOption(
                'bucket_size: it goes with a rate, and there is none. Give it one, such as rate="5/s".',
                field="bucket_size",
            )

    @property
    def limits(self) -> Limits:
        """Its limits by themselves."""
        return Limits(
            rate=self.rate,  # type: ignore[arg-type]  # a number is brought into a text's form
            bucket_size=self.bucket_size,
            max_concurrent=self.max_concurrent,
        )

    def to_dict(self) -> dict[str, Any]:
        """Itself as plain data, for a process that does not import the application."""
        plain: dict[str, Any] = dict(given(self.limits))
        if self.retry is not None:
            plain["retry"] = {each.name: getattr(self.retry, each.name) for each in fields(self.retry)}
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Queue:
        """The inverse of `to_dict`."""
        retry = plain.get("retry")
        return cls(**{**plain, "retry": None if retry is None else RetryPolicy(**retry)})


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """What the store knows about a queue."""

    name: str
    #: A paused queue accepts tasks and leases none.
    paused: bool = False
    #: What the application has declared.
    declared: Limits = NO_LIMITS
    #: What an operator has set, by field; it wins until it is reset. None as a value: no limit.
    chosen: Mapping[str, Limit] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        """What holds."""
        limits = replace(self.declared, **self.chosen)  # type: ignore[arg-type]
        return limits if limits.rate is not None else replace(limits, bucket_size=None)

    def origin(self, limit: str) -> str | None:
        """Who says so: "set" by an operator, "declared" by the application; None: nobody."""
        if limit in self.chosen:
            return "set"
        return None if getattr(self.declared, limit) is None else "declared"


def given(limits: Limits) -> dict[str, Limit]:
    """The limits that are there, by field."""
    return {name: value for name in FIELDS if (value := getattr(limits, name)) is not None}


# ---- what can be changed


class Pause(NamedTuple):
    """Lease none of its tasks any more. Those that are leased go on."""


class Resume(NamedTuple):
    """Lease its tasks again."""


class Declare(NamedTuple):
    """The application says so."""

    limits: Limits


class SetLimits(NamedTuple):
    """An operator says so, by field; None: no limit. It wins over what is declared. Other fields stay as they are."""

    chosen: Mapping[str, Limit]


class ResetLimits(NamedTuple):
    """What is declared holds again."""


QueueChange = Pause | Resume | Declare | SetLimits | ResetLimits


def changed(settings: QueueSettings, change: QueueChange) -> QueueSettings:
    """The settings after `change`. Raises InvalidOption if a limit makes no sense."""
    match change:
        case Pause():
            return replace(settings, paused=True)
        case Resume():
            return replace(settings, paused=False)
        case Declare(limits):
            return replace(settings, declared=limits)
        case SetLimits(chosen):
            return replace(settings, chosen={**settings.chosen, **_checked(chosen)})
        case ResetLimits():
            return replace(settings, chosen={})
        case _:
            assert_never(change)


def _checked(chosen: Mapping[str, Limit]) -> dict[str, Limit]:
    for name in chosen:
        if name not in FIELDS:
            raise InvalidOption(f"There is no limit {name!r}. There are: {', '.join(FIELDS)}.", field=name)
    limits = Limits(**chosen)  # type: ignore[arg-type]
    return {name: getattr(limits, name) for name in chosen}


def check_queue_name(name: object) -> str:
    """Return `name` if it can name a queue: 1 to 100 ASCII letters, digits, dashes or underscores.

    Raises InvalidName otherwise, without echoing the name.
    """
    if isinstance(name, str) and _QUEUE_NAME.fullmatch(name):
        return name
    raise InvalidName(
        "queue: a queue name has 1 to 100 ASCII letters, digits, '-' or '_', and this one has not.", field="queue"
    )
