"""What the store knows about a queue, and how that changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, assert_never

from deferq.errors import InvalidOption
from deferq.model.limits import FIELDS, NO_LIMITS, Limit, Limits


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
