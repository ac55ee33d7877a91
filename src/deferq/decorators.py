"""Declaring what a function brings along when it is deferred."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from deferq.calls import Call
from deferq.codec.mainmodule import MAIN_NAMES, main_name
from deferq.codec.targets import TARGET_ATTRIBUTE
from deferq.default import call, default
from deferq.errors import NotDeferrable
from deferq.handles import TaskHandle
from deferq.model.queue import check_queue_name
from deferq.model.retry import RetryPolicy
from deferq.model.task import check_priority
from deferq.options import check_retry, check_seconds, check_tags, check_timeout
from deferq.registry import DeferrableOptions
from deferq.registry import registry as default_registry

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S")


@overload
def deferrable(fn: F, /) -> F: ...
@overload
def deferrable(
    *,
    queue: str | None = None,
    retry: RetryPolicy | None = None,
    timeout: float | timedelta | None = None,
    expires: float | timedelta | None = None,
    priority: int | None = None,
    tags: Iterable[str] = (),
    aliases: Iterable[str] = (),
) -> Callable[[F], F]: ...
def deferrable(fn: Any = None, /, **options: Any) -> Any:
    """Declare defaults for a function. Calling it runs it now, as ever; `defer` and `call` use the defaults.

    The options queue, retry, timeout, expires, priority and tags are those of `call(...).defer(...)`; `aliases` are the
    targets (`module:qualname`) it had before: tasks stored under them run this function.

    Raises InvalidOption here, where the function is declared, and not when it is deferred.
    """
    if fn is not None:
        return _declare(fn, DeferrableOptions())
    declared = _checked(**options)
    return lambda fn: _declare(fn, declared)


def _declare(fn: F, options: DeferrableOptions) -> F:
    default_registry.declare(_own_target(fn), fn, options)
    return fn


def _checked(
    *,
    queue: str | None = None,
    retry: RetryPolicy | None = None,
    timeout: float | timedelta | None = None,
    expires: float | timedelta | None = None,
    priority: int | None = None,
    tags: Iterable[str] = (),
    aliases: Iterable[str] = (),
) -> DeferrableOptions:
    return DeferrableOptions(
        queue=None if queue is None else check_queue_name(queue),
        retry=check_retry(retry),
        timeout_s=check_timeout(timeout),
        expires_s=None if expires is None else check_seconds("expires", expires),
        priority=None if priority is None else check_priority(priority),
        tags=check_tags(tags),
        aliases=tuple(aliases),
    )


def _own_target(fn: Any) -> str:
    """The target a function will have once its module is loaded; it cannot be looked up while it is being decorated."""
    if "<locals>" in fn.__qualname__:
        raise NotDeferrable(
            f"{fn.__qualname__} is defined inside a function, where no other process can find it. Move it to the top"
            " level of its module."
        )
    module = main_name() if fn.__module__ in MAIN_NAMES else fn.__module__
    return f"{module}:{fn.__qualname__}"


class CallDeferred(Generic[P, R]):
    """A function whose call defers it. `.now(...)` runs it here and now, `.call(...)` makes a Call."""

    def __init__(self, fn: Callable[P, R], target: str) -> None:
        update_wrapper(self, fn)
        self._fn = fn
        setattr(self, TARGET_ATTRIBUTE, target)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle:
        return default().defer(self, *args, **kwargs)

    def now(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now."""
        return self._fn(*args, **kwargs)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[TaskHandle]:
        """A Call of it, to be deferred with options or in bulk."""
        return call(self, *args, **kwargs)

    @overload
    def __get__(self, instance: None, owner: type) -> CallDeferred[P, R]: ...
    @overload
    def __get__(
        self: CallDeferred[Concatenate[S, P], R], instance: S, owner: type[S] | None = None
    ) -> BoundCallDeferred[P, R]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else BoundCallDeferred(self, instance)


class BoundCallDeferred(Generic[P, R]):
    """A `call_deferred` method of one instance."""

    def __init__(self, deferred: CallDeferred[Any, R], instance: Any) -> None:
        self._deferred = deferred
        self._instance = instance

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle:
        return self._deferred(self._instance, *args, **kwargs)

    def now(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now."""
        return self._deferred.now(self._instance, *args, **kwargs)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[TaskHandle]:
        """A Call of it, to be deferred with options or in bulk."""
        return self._deferred.call(self._instance, *args, **kwargs)


@overload
def call_deferred(fn: Callable[P, R], /) -> CallDeferred[P, R]: ...
@overload
def call_deferred(
    *,
    queue: str | None = None,
    retry: RetryPolicy | None = None,
    timeout: float | timedelta | None = None,
    expires: float | timedelta | None = None,
    priority: int | None = None,
    tags: Iterable[str] = (),
    aliases: Iterable[str] = (),
) -> Callable[[Callable[P, R]], CallDeferred[P, R]]: ...
def call_deferred(fn: Any = None, /, **options: Any) -> Any:
    """Make calling a function defer it; `.now(...)` runs it. Arguments as for `deferrable`."""
    if fn is not None:
        return _wrap(fn, DeferrableOptions())
    declared = _checked(**options)
    return lambda fn: _wrap(fn, declared)


def _wrap(fn: Callable[P, R], options: DeferrableOptions) -> CallDeferred[P, R]:
    target = _own_target(fn)
    wrapped = CallDeferred(fn, target)
    default_registry.declare(target, wrapped, options)
    return wrapped


def register(name: str, obj: object) -> None:
    """Give a long-lived object a name, so that `defer(obj.method, ...)` stores the name and never the instance.

    Register it wherever its tasks run, too. Raises ConfigError if the name is malformed or taken by another object.
    """
    default_registry.register(name, obj)
