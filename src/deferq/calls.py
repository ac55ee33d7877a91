"""A Call: a target with its arguments, not deferred yet, and options that may still be added."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, Unpack

if TYPE_CHECKING:
    from deferq.handles import TaskHandle
    from deferq.options import CallOptions

P = ParamSpec("P")
R = TypeVar("R")


class Deferrer(Protocol):
    """Whoever stores a call."""

    def put_call(self, call: Call[Any]) -> TaskHandle:
        """Store it; returns the hold on the new task."""

    async def put_call_async(self, call: Call[Any]) -> TaskHandle:
        """The same for a coroutine."""


class Call(Generic[R]):
    """`fn(*args, **kwargs)`, to be called later. Made by `call(fn, ...)`; never changed once made."""

    __slots__ = ("_deferrer", "args", "fn", "kwargs", "options")

    def __init__(
        self,
        deferrer: Callable[[], Deferrer],
        fn: Callable[..., R],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._deferrer = deferrer
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.options = options

    def __repr__(self) -> str:
        return f"<Call {getattr(self.fn, '__qualname__', type(self.fn).__name__)}>"

    def with_options(self, **options: Unpack[CallOptions]) -> Call[R]:
        """The same call with these options on top of those it has."""
        return Call(self._deferrer, self.fn, self.args, self.kwargs, {**(self.options or {}), **options})

    def defer(self, **options: Unpack[CallOptions]) -> TaskHandle:
        """Store the call as a task.

        Options: see `CallOptions`. Raises a CallError, or TypeError if the function does not take these arguments;
        StoreError if the store cannot be written.
        """
        return self._deferrer().put_call(self.with_options(**options) if options else self)

    async def defer_async(self, **options: Unpack[CallOptions]) -> TaskHandle:
        """The same from a coroutine: the event loop goes on while the store commits."""
        return await self._deferrer().put_call_async(self.with_options(**options) if options else self)
