"""Context that travels with a task: a language, a tenant, a trace id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar, copy_context
from typing import Any, NamedTuple

from deferq.errors import ConfigError


class Carried(NamedTuple):
    """One value that is read when a task is deferred and set again where it runs."""

    #: The key it is stored under.
    name: str
    #: Returns the value; raises LookupError when there is none to carry.
    get: Callable[[], Any]
    #: Called with the value in the task's own context, before the function.
    set: Callable[[Any], object]


def carriers(items: Iterable[ContextVar[Any] | Carried]) -> tuple[Carried, ...]:
    """What `carry=` was given, in one form; raises ConfigError for anything else, or for a name given twice."""
    carried = tuple(_carrier(item) for item in items)
    names = [one.name for one in carried]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"carry: {name!r} is there twice; give one of them another name.")
    return carried


def _carrier(item: object) -> Carried:
    if isinstance(item, Carried):
        return item
    if isinstance(item, ContextVar):
        # Not item.get: a default is the same over there and need not travel.
        return Carried(item.name, lambda: copy_context()[item], item.set)
    raise ConfigError(
        f"carry: {type(item).__name__} cannot be carried; pass a contextvars.ContextVar, or Carried(name, get, set)."
    )


def capture(carried: Iterable[Carried]) -> dict[str, Any] | None:
    """The values that are set right now, by name; None if none is."""
    values = {}
    for one in carried:
        try:
            values[one.name] = one.get()
        except LookupError:
            continue
    return values or None


def restore(carried: Iterable[Carried], values: Mapping[str, Any]) -> None:
    """Set `values` in the current context, which is the task's own. Names that nobody here carries are passed over."""
    for one in carried:
        if one.name in values:
            one.set(values[one.name])
