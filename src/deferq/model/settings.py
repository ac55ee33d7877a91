"""What the store knows about a queue, and how that changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, assert_never

from deferq.errors import InvalidOption
from deferq.model.limits import FIELDS, Limit, Limits
from deferq.model.queue import Queue

NOTHING_DECLARED = Queue()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """What the store knows about a queue."""

    name: str
    #: What the application has declared.
    declared: Queue = NOTHING_DECLARED
    #: What an operator has set, by field; it wins until it is reset. None as a value: no limit.
    chosen: Mapping[str, Limit] = field(default_factory=dict)
    #: Whether an operator has paused it, or let it go on although it is declared to be paused; None: neither.
    chosen_pause: bool | None = None

    @property
    def paused(self) -> bool:
        """A paused queue accepts tasks and leases none."""
        return self.declared.paused if self.chosen_pause is None else self.chosen_pause

    @property
    def limits(self) -> Limits:
        """What holds."""
        limits = replace(self.declared.limits, **self.chosen)  # type: ignore[arg-type]
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

    queue: Queue


class SetLimits(NamedTuple):
    """An operator says so, by field; None: no limit. It wins over what is declared. Other fields stay as they are."""

    chosen: Mapping[str, Limit]


class ResetLimits(NamedTuple):
    """What is declared holds again. A queue that an operator has paused stays so."""


QueueChange = Pause | Resume | Declare | SetLimits | ResetLimits


def changed(settings: QueueSettings, change: QueueChange) -> QueueSettings:
    """The settings after `change`. Raises InvalidOption if a limit makes no sense."""
    match change:
        case Pause():
            return replace(settings, chosen_pause=True)
        case Resume():
            return replace(settings, chosen_pause=False if settings.declared.paused else None)
        case Declare(queue):
            return replace(settings, declared=queue)
        case SetLimits(chosen):
            return replace(settings, chosen={**settings.chosen, **_checked(chosen)})
        case ResetLimits():
            return replace(settings, chosen={}, chosen_pause=settings.chosen_pause or None)
        case _:
            assert_never(change)


def _checked(chosen: Mapping[str, Limit]) -> dict[str, Limit]:
    for name in chosen:
        if name not in FIELDS:
            raise InvalidOption(f"There is no limit {name!r}. There are: {', '.join(FIELDS)}.", field=name)
    limits = Limits(**chosen)  # type: ignore[arg-type]
    return {name: getattr(limits, name) for name in chosen}
