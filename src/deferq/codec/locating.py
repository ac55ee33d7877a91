"""From something callable to its target, and to the arguments that stand before the caller's own.

Whatever is deferred must be found again by name, in another process, perhaps after a deploy. So the name is looked up
once right here, and what does not lead back to the very same object is refused at the call, with the fix.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, NamedTuple, NoReturn

from deferq.codec.finding import resolve, unwrapped
from deferq.codec.mainmodule import MAIN_NAMES, main_file, main_name
from deferq.codec.refusals import refuse_nameless, refuse_uncallable
from deferq.errors import NotDeferrable, TargetNotAllowed, TargetUnknown
from deferq.registry import TARGET_ATTRIBUTE, Registry
from deferq.registry import registry as default_registry

_CACHED_MAX = 4096
_NO_KWARGS: Mapping[str, Any] = MappingProxyType({})


class Located(NamedTuple):
    """Where a callable is found again, and what goes before the caller's arguments."""

    target: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = _NO_KWARGS


_known: dict[FunctionType, Located] = {}


def locate(fn: Callable[..., Any], registry: Registry = default_registry) -> Located:
    """The target of `fn`, with the instance of a bound method or the arguments of a partial.

    Raises NotDeferrable, saying what it is, why another process could not find it, and what to pass instead.
    """
    if type(fn) is FunctionType:
        known = _known.get(fn)
        return _remembered(fn, registry) if known is None else known
    if type(fn) is MethodType:
        return _of_method(fn, registry)
    return _locate(fn, registry)


def forget() -> None:
    """Drop what was remembered."""
    _known.clear()


def _remembered(fn: FunctionType, registry: Registry) -> Located:
    located = _locate(fn, registry)
    if len(_known) >= _CACHED_MAX:
        _known.clear()
    _known[fn] = located
    return located


def _locate(fn: Any, registry: Registry) -> Located:
    refuse_uncallable(fn)
    declared = getattr(fn, TARGET_ATTRIBUTE, None)
    if isinstance(declared, str):
        return Located(declared)
    if isinstance(fn, partial):
        return _of_partial(fn, registry)
    if isinstance(fn, BuiltinFunctionType) and not isinstance(fn.__self__, ModuleType | None):
        return _of_builtin_method(fn, registry)
    if isinstance(getattr(fn, "__qualname__", None), str):
        return Located(_own_name(fn, registry))
    return _of_instance(fn, registry)


def _of_partial(fn: partial[Any], registry: Registry) -> Located:
    """Flattened: the same call without the partial."""
    placeholder = getattr(functools, "Placeholder", fn)  # Python 3.14
    if any(arg is placeholder for arg in fn.args):
        raise NotDeferrable("This partial has a Placeholder, which is filled only in the call; give all arguments.")
    inner = locate(fn.func, registry)
    return Located(inner.target, (*inner.args, *fn.args), {**inner.kwargs, **fn.keywords})


def _of_method(fn: MethodType, registry: Registry) -> Located:
    owner, function = fn.__self__, fn.__func__
    by_name = _through_owner(fn, registry)
    if by_name is not None:
        return by_name
    # A bound method is a call of its function with the instance in front, whatever kind of callable that is.
    inner = locate(function, registry)
    return Located(inner.target, (*inner.args, owner), inner.kwargs)


def _of_builtin_method(fn: BuiltinFunctionType, registry: Registry) -> Located:
    by_name = _through_owner(fn, registry)
    if by_name is not None:
        return by_name
    owner, name = fn.__self__, fn.__name__
    home = next((cls for cls in type(owner).__mro__ if name in vars(cls)), type(owner))
    target = _checked(f"{_module_of(home)}:{home.__qualname__}.{name}", vars(home).get(name), registry)
    return Located(target, (owner,))


def _through_owner(fn: MethodType | BuiltinFunctionType, registry: Registry) -> Located | None:
    """A method of a registered object, or of a class; None for a method of any other object."""
    prefix = _owner_prefix(fn.__self__, registry)
    if prefix is None:
        return None
    refuse_uncallable(fn)
    return Located(_checked(prefix + getattr(fn, "__name__", ""), fn, registry))


def _owner_prefix(owner: object, registry: Registry) -> str | None:
    registered = registry.name_of(owner)
    if registered is not None:
        return f"@{registered}:"
    if isinstance(owner, type):
        refuse_nameless(owner)
        return f"{_module_of(owner)}:{owner.__qualname__}."
    return None


def _of_instance(fn: Any, registry: Registry) -> Located:
    registered = registry.name_of(fn)
    if registered is not None:
        return Located(f"@{registered}:__call__")
    kind = type(fn)
    refuse_nameless(kind)
    inner = locate(kind.__call__, registry)
    return Located(inner.target, (*inner.args, fn), inner.kwargs)


def _own_name(fn: Any, registry: Registry) -> str:
    """The target by the function's or class's own name."""
    refuse_nameless(fn)
    return _checked(f"{_module_of(fn)}:{fn.__qualname__}", fn, registry)


def _module_of(fn: Any) -> str:
    """The name of its module for other processes."""
    home = getattr(fn, "__objclass__", fn)  # str.upper has no module of its own
    module = getattr(home, "__module__", None) or getattr(getattr(home, "__self__", None), "__name__", None)
    module = module or "builtins"  # str.maketrans says nothing; a wrong guess does not survive the look-up
    return _name_of_main(fn) if module in MAIN_NAMES else str(module)


def _name_of_main(fn: Any) -> str:
    name = main_name()
    if name is not None:
        return name
    if main_file() is None:
        raise NotDeferrable(
            f"{fn.__qualname__} was typed into an interactive session, and no worker can import that;"
            " put it into a file and import it from there."
        )
    raise NotDeferrable(
        f"{fn.__qualname__} is defined in {main_file()!r}, which no worker can import under that name;"
        " rename the file to letters, digits and underscores with the ending .py, or move the function into a module."
    )


def _checked(target: str, fn: Any, registry: Registry) -> str:
    """`target`, if looking it up leads back to `fn`."""
    try:
        found = resolve(target, registry)
    except (TargetUnknown, TargetNotAllowed) as error:
        raise NotDeferrable(
            f"{_shown(target)} cannot be found again under its own name, so no worker could call it;"
            " it was renamed, deleted or decorated without functools.wraps. Give it the name it has in its module."
        ) from error
    if found is not fn and not _equal_methods(found, fn) and unwrapped(found) is not fn:
        _refuse_other(target, found, fn)
    return target


def _equal_methods(found: Any, fn: Any) -> bool:
    """Bound methods are made anew by every look-up."""
    bound = isinstance(fn, MethodType | BuiltinFunctionType) and type(found) is type(fn)
    return bound and (found == fn or unwrapped(found) == fn)


def _refuse_other(target: str, found: Any, fn: Any) -> NoReturn:
    # Running the decorated version instead would be a guess, and an endless one if the decorator is what defers.
    if any(inner is fn for inner in _wrapped_chain(found)):
        raise NotDeferrable(
            f"{_shown(target)} names a decorated version of this function, and that is what a worker would call;"
            " pass the decorated one, or use @call_deferred if the decorator is there to defer it."
        )
    raise NotDeferrable(
        f"{_shown(target)} names something else than what was passed: it was replaced, or decorated without"
        " functools.wraps. Pass what has this name, or give it a name of its own."
    )


def _wrapped_chain(found: Any) -> list[Any]:
    chain = [found]
    while len(chain) < 100 and (inner := getattr(chain[-1], "__wrapped__", None)) is not None:
        chain.append(inner)
    return chain


def _shown(target: str) -> str:
    return target if len(target) <= 120 else target[:119] + "…"
