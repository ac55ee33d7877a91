"""What can never be called later, each with its own message: what it is, why not, and what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType, ModuleType
from typing import Any

from deferq.errors import NotDeferrable


def refuse_uncallable(fn: Any) -> None:
    """Raise NotDeferrable unless calling `fn` later would do something."""
    for applies, message in _UNCALLABLE:
        if applies(fn):
            raise NotDeferrable(message.format(type=type(fn).__qualname__, name=_name(fn)))


def refuse_nameless(fn: Any) -> None:
    """Raise NotDeferrable for a function or class that no other process can look up by name."""
    qualname = fn.__qualname__
    if qualname.endswith("<lambda>"):
        raise NotDeferrable(
            "A lambda has no stable name, so no worker can find it; write a function with def at the top of a module."
        )
    if "<locals>" in qualname:
        outer, _, inner = qualname.rpartition(".<locals>.")
        raise NotDeferrable(
            f"{inner} is defined inside the function {outer}, and exists only while that runs;"
            " move it to the top of a module and pass what it needs as arguments."
        )


def _is_generator_function(fn: Any) -> bool:
    import inspect  # slow to import, and nobody needs it before a function is deferred

    return inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn)


def _name(fn: Any) -> str:
    name = getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None)
    return name if isinstance(name, str) else type(fn).__qualname__


_Rule = tuple[Callable[[Any], bool], str]
_UNCALLABLE: tuple[_Rule, ...] = (
    (lambda fn: fn is None, "None cannot be called; pass the function itself, not what a call of it returned."),
    (lambda fn: isinstance(fn, ModuleType), "{name} is a module and cannot be called; pass a function of it."),
    (
        lambda fn: isinstance(fn, CoroutineType),
        "{name} was called already and is a coroutine now; pass the function, then its arguments: defer({name}, ...).",
    ),
    (
        lambda fn: isinstance(fn, GeneratorType | AsyncGeneratorType),
        "{name} is a generator, and a generator cannot be stored; pass a function that does the work.",
    ),
    (lambda fn: not callable(fn), "An object of type {type} cannot be called; pass a function, a class or a method."),
    (
        _is_generator_function,
        "{name} is a generator function: calling it runs none of its code; pass a function that does the work.",
    ),
)
