"""A deferred call on its way into the store: what is shown of it, what is sealed, and what is kept beside it."""

from __future__ import annotations

from types import BuiltinMethodType, MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from deferq.codec.inert import triple_target
from deferq.codec.mainmodule import MAIN_NAMES, main_name
from deferq.codec.targets import TARGET_LENGTH_MAX
from deferq.registry import DeferrableOptions, registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from deferq.codec.codec import Codec

#: What is shown of a body that names nothing.
UNKNOWN: Final = "deferq.compat.appengine.deferred.deferred:run"


class Sealed(NamedTuple):
    """What the engine stores of it."""

    payload: bytes
    spill: bytes | None


class DeferredCall:
    """A pickle of (callable, args, kwargs), and the target that people see."""

    __slots__ = ("_loader", "beside", "pickled", "target")

    def __init__(
        self,
        target: str,
        pickled: bytes,
        loader: Callable[[str], bytes] | None = None,
        *,
        beside: bool = False,
    ) -> None:
        """`loader`: the pickle is too large to travel; this makes the one of a call that fetches it by its key.

        `beside`: it belongs to no transaction, whatever is open.
        """
        self.target = target
        self.pickled = pickled
        self.beside = beside
        self._loader = loader

    @classmethod
    def of(cls, fn: Any, pickled: bytes, *, beside: bool = False) -> DeferredCall:
        """The call of `fn`."""
        return cls(target_of(fn), pickled, beside=beside)

    @classmethod
    def in_body(cls, body: bytes) -> DeferredCall:
        """A call that somebody has pickled; it is not restored for this."""
        target = triple_target(body)
        return cls(target if target and len(target) <= TARGET_LENGTH_MAX else UNKNOWN, body)

    def spilled(self, loader: Callable[[str], bytes]) -> DeferredCall:
        """The same call, kept beside its task."""
        return DeferredCall(self.target, self.pickled, loader, beside=self.beside)

    @property
    def declared(self) -> DeferrableOptions:
        """What was declared for the callable."""
        return registry.options_for(self.target) or _UNDECLARED

    def body(self, task_id: int) -> bytes:
        """What a delivery of the task brings: the pickle, or that of the call which fetches it."""
        return self.pickled if self._loader is None else self._loader(str(task_id))

    def sealed(self, codec: Codec, task_id: int, url: str | None) -> Sealed:
        """Signed for this task. Raises a CallError."""
        payload = codec.encode_triple(task_id, self.target, self.body(task_id), url=url)
        return Sealed(payload, None if self._loader is None else codec.seal_spill(task_id, self.target, self.pickled))


_UNDECLARED = DeferrableOptions()


def target_of(fn: Any) -> str:
    """`module:qualname` of a callable, or of its class: nothing is looked up by it."""
    named = fn.__func__ if isinstance(fn, MethodType) else fn
    if not isinstance(getattr(named, "__qualname__", None), str):
        named = type(named)
    module = getattr(named, "__module__", None)
    if module is None and isinstance(named, BuiltinMethodType):
        module = type(named.__self__).__module__
    if module in MAIN_NAMES:
        module = main_name() or module
    return f"{module or 'builtins'}:{named.__qualname__}"[:TARGET_LENGTH_MAX]
