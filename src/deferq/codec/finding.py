"""From a target to the callable.

The text comes from a store, so it is judged before anything happens: its form, then the allow-list, then the import.
What cannot be found here may be known to a newer release, so that a miss is `TargetUnknown` and never a crash.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from types import MethodType, ModuleType
from typing import Any, Final, NamedTuple

from deferq.codec.mainmodule import MAIN_NAMES, main_name, spellings
from deferq.errors import TargetNotAllowed, TargetUnknown
from deferq.registry import TARGET_ATTRIBUTE, Registry, is_object_name

TARGET_LENGTH_MAX: Final = 400
_SKEW: Final = "Run it with a release that has it, or add this name to `aliases` of what it is called now."
_CACHED_MAX = 4096


class Found(NamedTuple):
    """A target that was found, and how to call it."""

    fn: Callable[..., Any]
    #: Whether calling it gives a coroutine that has to be awaited.
    is_async: bool


_found: dict[tuple[str, Registry, tuple[str, ...] | None], tuple[int, Found]] = {}


def find_target(target: str, registry: Registry, allow: tuple[str, ...] | None = None) -> Callable[..., Any]:
    """The callable that `target` names, in this process.

    Args:
        target: text of a stored task; aliases are followed.
        registry: where aliases and registered objects are looked up.
        allow: module prefixes ("myapp." is `myapp` and everything below), or None for no limit. Registered objects
            are allowed by being registered.

    Raises:
        TargetNotAllowed: the text is no target, or lies outside `allow`; nothing was imported for it, unless an
            allowed module leads to something that lives in another one.
        TargetUnknown: this process has no such module, class or function, or importing it failed.
    """
    return find(target, registry, allow).fn


def find(target: str, registry: Registry, allow: tuple[str, ...] | None = None) -> Found:
    """Like `find_target`, with the knowledge whether the callable is async. Remembers what it found."""
    cached = _found.get((target, registry, allow))
    if cached is not None and cached[0] == registry.version:
        return cached[1]
    version = registry.version
    found = _find(registry.canonical(target), registry, allow)
    if len(_found) >= _CACHED_MAX:
        _found.clear()
    _found[target, registry, allow] = (version, found)
    return found


def forget() -> None:
    """Drop what was remembered."""
    _found.clear()


def resolve(target: str, registry: Registry) -> Any:
    """The object that stands under `target`, wrappers and all. Raises like `find_target`."""
    module, parts = _parsed(target)
    if module.startswith("@"):
        return _registered(module[1:], parts[0], registry)
    return _imported(target, module, parts)


def unwrapped(found: Any) -> Any:
    """What deferq's own wrappers stand for: calling the wrapper in a worker would only defer once more."""
    if isinstance(found, MethodType):
        inner = unwrapped(found.__func__)
        return found if inner is found.__func__ else MethodType(inner, found.__self__)
    while isinstance(getattr(found, TARGET_ATTRIBUTE, None), str) and hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    return found


def _find(target: str, registry: Registry, allow: tuple[str, ...] | None) -> Found:
    module, _ = _parsed(target)
    limited = allow is not None and not module.startswith("@")
    if limited:
        _check_allowed(target, module, allow or ())
    found = resolve(target, registry)
    if limited:
        check_homes(target, found, allow or ())
    fn = unwrapped(found)
    if not callable(fn):
        raise TargetUnknown(f"{target}: what has this name is not callable here. {_SKEW}")
    return Found(fn, inspect.iscoroutinefunction(fn))


def _parsed(target: object) -> tuple[str, list[str]]:
    """Module (or @name) and the parts of the qualname; raises TargetNotAllowed, without echo, if it is no target."""
    if not isinstance(target, str) or len(target) > TARGET_LENGTH_MAX:
        raise TargetNotAllowed(
            f"The target is no text of at most {TARGET_LENGTH_MAX} characters; it will not be looked up."
        )
    module, _, qualname = target.partition(":")
    parts = qualname.split(".")
    well_formed = _method_of_registered(module, parts) if module.startswith("@") else _names_fit(module, parts)
    if not well_formed:
        raise TargetNotAllowed("The target is not module:qualname and not @name:method; it will not be looked up.")
    return module, parts


def _method_of_registered(module: str, parts: list[str]) -> bool:
    method = parts[0]
    named = is_object_name(module[1:]) and len(parts) == 1
    return named and method.isidentifier() and (_is_plain(method) or method == "__call__")


def _names_fit(module: str, parts: list[str]) -> bool:
    """Identifiers only, and no `__name__` but the ends of `pkg.__main__` and `Class.__call__`."""
    modules = module.split(".")
    if not all(name.isidentifier() for name in (*modules, *parts)):
        return False
    inner = [*_without_last(modules, "__main__"), *_without_last(parts, "__call__")]
    return all(_is_plain(name) for name in inner)


def _without_last(names: list[str], permitted: str) -> list[str]:
    return names[:-1] if len(names) > 1 and names[-1] == permitted else names


def _is_plain(name: str) -> bool:
    return not (name.startswith("__") and name.endswith("__"))


def check_allowed(target: str, allow: tuple[str, ...]) -> None:
    """Raise TargetNotAllowed for a target that no worker with this allow-list would call. Nothing is looked up."""
    module, _ = _parsed(target)
    if not module.startswith("@"):
        _check_allowed(target, module, allow)


def check_homes(target: str, found: Any, allow: tuple[str, ...]) -> None:
    """Raise TargetNotAllowed if what was found lives in a module that is not allowed."""
    for home in _homes(found):
        _check_allowed(target, home, allow)


def _check_allowed(target: str, module: str, allow: tuple[str, ...]) -> None:
    for prefix in allow:
        package = prefix.rstrip(".")
        if module == package or module.startswith(package + "."):
            return
    raise TargetNotAllowed(
        f"{target} leads to the module {module!r}, which is not on this application's allow-list. Add its prefix to"
        " `allow` if it is yours."
    )


def _homes(found: Any) -> list[str]:
    """The modules that what was found lives in: of the function and, for a class method, of the class."""
    owner = getattr(found, "__self__", None)
    homes = [found.__module__ if isinstance(getattr(found, "__module__", None), str) else _class_of(found).__module__]
    if isinstance(owner, type):
        homes.append(owner.__module__)
    return [(main_name() or home) if home in MAIN_NAMES else home for home in homes]


def _class_of(found: Any) -> type:
    """The class a built-in method belongs to."""
    owner = getattr(found, "__objclass__", None) or getattr(found, "__self__", None) or type(found)
    return owner if isinstance(owner, type) else type(owner)


def _registered(name: str, method: str, registry: Registry) -> Any:
    """The bound method. Only what the class defines counts: an attribute of the instance could be anything."""
    owner = registry.object(name)
    kind = owner if isinstance(owner, type) else type(owner)
    try:
        if hasattr(kind, method):
            return getattr(owner, method)
    except Exception as error:
        raise TargetUnknown(f"@{name}:{method}: looking it up failed with {type(error).__name__}. {_SKEW}") from error
    raise TargetUnknown(f"@{name}:{method}: the registered {kind.__qualname__} has no such method. {_SKEW}")


def _imported(target: str, module: str, parts: list[str]) -> Any:
    """Try each spelling of the module; the error of the last one counts."""
    cause: BaseException | None = None
    for spelling in spellings(module):
        try:
            return _walk(target, import_module(spelling), parts)
        except (KeyboardInterrupt, TargetNotAllowed):
            raise
        except BaseException as error:  # SystemExit too: a module that ends the program must not end the worker
            cause = error
    raise TargetUnknown(
        f"{target} cannot be found in this process: {type(cause).__name__}: {cause}. {_SKEW}"
    ) from cause


def _walk(target: str, holder: Any, parts: list[str]) -> Any:
    """From the module through classes only: a module that another one imported is no way to reach its functions."""
    for part in parts:
        if isinstance(holder, type):
            holder = getattr(holder, _mangled(holder, part))
        elif isinstance(holder, ModuleType) and part is parts[0]:
            holder = getattr(holder, part)
        else:
            raise TargetNotAllowed(
                f"{target} leads through something that is neither its module nor a class; defer it by the"
                " module that defines it."
            )
    return holder


def _mangled(owner: type, part: str) -> str:
    """The attribute that `__part` is stored under in a class body."""
    private = part.startswith("__") and not part.endswith("__")
    return f"_{owner.__name__.lstrip('_')}{part}" if private else part
