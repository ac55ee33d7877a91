"""Declaring what a function brings along when it is deferred."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial, update_wrapper
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from deferq.calls import Call
from deferq.codec.mainmodule import MAIN_NAMES, main_name
from deferq.codec.refusals import refuse_nameless
from deferq.default import call, default
from deferq.errors import InvalidOption, NotDeferrable
from deferq.handles import TaskHandle
from deferq.model.checks import check_priority
from deferq.model.queue import check_queue_name
from deferq.model.retry import RetryPolicy
from deferq.model.urls import check_url
from deferq.options import check_retry, check_seconds, check_tags, check_timeout
from deferq.registry import TARGET_ATTRIBUTE, DeferrableOptions
from deferq.registry import registry as default_registry
from deferq.suggest import did_you_mean
from deferq.transactions import detecting

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S")
Q = ParamSpec("Q")
T = TypeVar("T")

_OPTION_NAMES = ("queue", "retry", "timeout", "expires", "priority", "tags", "url", "aliases")


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
    url: str | None = None,
    aliases: Iterable[str] = (),
) -> Callable[[F], F]: ...
def deferrable(fn: Any = None, /, **options: Any) -> Any:
    """Declare defaults for a function. Calling it runs it now, as ever; `defer` and `call` use the defaults.

    The options queue, retry, timeout, expires, priority, tags and url are those of `call(...).defer(...)`; `aliases`
    are the targets (`module:qualname`) it had before: tasks stored under them run this function.

    Raises InvalidOption (for an option that does not exist TypeError) here, where the function is declared.
    """
    if fn is not None:
        return _declare(fn, DeferrableOptions())
    declared = _checked(options)
    return lambda fn: _declare(fn, declared)


def _declare(fn: F, options: DeferrableOptions) -> F:
    detecting.notice()
    default_registry.declare(_own_target(fn), fn, options)
    return fn


def _checked(given: Mapping[str, Any]) -> DeferrableOptions:
    for name in given:
        if name not in _OPTION_NAMES:
            hint = did_you_mean(name, _OPTION_NAMES, otherwise=f" There are: {', '.join(_OPTION_NAMES)}.")
            raise TypeError(f"A deferrable has no option {name!r}.{hint}")
    queue, expires, priority = given.get("queue"), given.get("expires"), given.get("priority")
    return DeferrableOptions(
        queue=None if queue is None else check_queue_name(queue),
        retry=check_retry(given.get("retry")),
        timeout_s=check_timeout(given.get("timeout")),
        expires_s=None if expires is None else check_seconds("expires", expires),
        priority=None if priority is None else check_priority(priority),
        tags=check_tags(given.get("tags", ())),
        url=None if given.get("url") is None else check_url(given["url"]),
        aliases=_checked_aliases(given.get("aliases", ())),
    )


def _checked_aliases(value: Any) -> tuple[str, ...]:
    aliases = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (None,)
    if not all(isinstance(alias, str) and ":" in alias for alias in aliases):
        raise InvalidOption(
            'aliases: expected a list of the targets it had, such as ["old.module:send"].', field="aliases"
        )
    return aliases


def _own_target(fn: Any) -> str:
    """The target a function will have once its module is loaded; it cannot be looked up while it is being decorated."""
    if not isinstance(getattr(fn, "__qualname__", None), str):
        raise NotDeferrable(f"A {type(fn).__qualname__} has no name of its own; decorate a function or a class.")
    refuse_nameless(fn)
    module = main_name() if fn.__module__ in MAIN_NAMES else fn.__module__
    return f"{module}:{fn.__qualname__}"


class CallDeferred(Generic[P, R]):
    """A function whose call defers it. `.now(...)` runs it here and now, `.call(...)` makes a Call."""

    def __init__(self, fn: Callable[P, R], target: str) -> None:
        #: A function, or the staticmethod or classmethod that `call_deferred` stands above.
        self._kind: type[Any] = type(fn)
        self._fn: Callable[P, R] = _function_of(fn)
        update_wrapper(self, self._fn)
        setattr(self, TARGET_ATTRIBUTE, target)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle:
        if args and self._is_class_method_of(args[0]):
            bound: Callable[..., TaskHandle] = BoundCallDeferred(self, args[0])
            return bound(*args[1:], **kwargs)
        return default().defer(self, *args, **kwargs)

    def now(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now."""
        return self._fn(*args, **kwargs)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[TaskHandle]:
        """A Call of it, to be deferred with options or in bulk."""
        return call(self, *args, **kwargs)

    def __reduce__(self) -> str:
        """Pickled by its name, as a function is."""
        return self._fn.__qualname__

    def _is_class_method_of(self, owner: object) -> bool:
        """Whether it stands below a @classmethod: since Python 3.13 that puts the class in front and asks nobody."""
        if not isinstance(owner, type):
            return False
        from inspect import getattr_static

        found = getattr_static(owner, self._fn.__name__, None)
        return isinstance(found, classmethod) and found.__func__ is self

    @overload
    def __get__(self, instance: None, owner: type) -> CallDeferred[P, R]: ...
    @overload
    def __get__(
        self: CallDeferred[Concatenate[S, Q], T], instance: S, owner: type[S] | None = None
    ) -> BoundCallDeferred[Q, T]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if self._kind is classmethod:
            return BoundCallDeferred(self, owner)
        return self if instance is None or self._kind is staticmethod else BoundCallDeferred(self, instance)


class BoundCallDeferred(partial[TaskHandle], Generic[P, R]):
    """A `call_deferred` method of one instance or class: a partial, since that stands in front of the arguments."""

    __self__: Any
    __name__: str
    __wrapped__: Callable[P, R]

    def __init__(self, deferred: CallDeferred[Any, R], owner: Any) -> None:
        self.__self__ = owner
        update_wrapper(self, MethodType(_function_of(deferred), owner), updated=())

    @property
    def __deferq_target__(self) -> str | None:  # TARGET_ATTRIBUTE
        """A method of a class or of a registered object goes by that name; None: its function and the instance."""
        registered = default_registry.name_of(self.__self__)
        if registered is not None:
            return f"@{registered}:{self.__name__}"
        return f"{_own_target(self.__self__)}.{self.__name__}" if isinstance(self.__self__, type) else None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle:
        return default().defer(self, *args, **kwargs)

    def now(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now."""
        return self.__wrapped__(*args, **kwargs)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[TaskHandle]:
        """A Call of it, to be deferred with options or in bulk."""
        return call(self, *args, **kwargs)


def _function_of(fn: Any) -> Any:
    """The plain function in a staticmethod, a classmethod or a CallDeferred."""
    if isinstance(fn, staticmethod | classmethod):
        return fn.__func__
    return fn._fn if isinstance(fn, CallDeferred) else fn


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
    url: str | None = None,
    aliases: Iterable[str] = (),
) -> Callable[[Callable[P, R]], CallDeferred[P, R]]: ...
def call_deferred(fn: Any = None, /, **options: Any) -> Any:
    """Make calling a function defer it; `.now(...)` runs it. Arguments as for `deferrable`.

    It may stand above or below @staticmethod, and belongs above @classmethod: below, `.now` and `.call` cannot tell the
    class on every Python.
    """
    if fn is not None:
        return _wrap(fn, DeferrableOptions())
    declared = _checked(options)
    return lambda fn: _wrap(fn, declared)


def _wrap(fn: Callable[P, R], options: DeferrableOptions) -> CallDeferred[P, R]:
    detecting.notice()
    target = _own_target(fn)
    wrapped = CallDeferred(fn, target)
    default_registry.declare(target, wrapped, options)
    return wrapped


def register(name: str, obj: object) -> None:
    """Give a long-lived object a name, so that `defer(obj.method, ...)` stores the name and never the instance.

    Register it wherever its tasks run, too. Raises ConfigError if the name is malformed or taken by another object.
    """
    default_registry.register(name, obj)
