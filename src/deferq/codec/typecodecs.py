"""`register_codec`: how types of the application are stored in strict JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

from deferq.codec.mainmodule import MAIN_NAMES, main_name
from deferq.errors import ConfigError
from deferq.registry import Registry, TypeCodec
from deferq.registry import registry as default_registry

T = TypeVar("T")

_STORED: Final = frozenset(
    {
        *("builtins.NoneType", "builtins.bool", "builtins.int", "builtins.float", "builtins.str", "builtins.bytes"),
        *("builtins.list", "builtins.tuple", "builtins.dict", "builtins.set", "builtins.frozenset"),
        *("datetime.datetime", "datetime.date", "datetime.time", "datetime.timedelta", "decimal.Decimal", "uuid.UUID"),
    }
)


def register_codec(
    kind: type[T],
    tag: str | None = None,
    encode: Callable[[T], Any] | None = None,
    decode: Callable[[Any], T] | None = None,
) -> type[T]:
    """Let strict JSON store values of exactly the type `kind`.

    Register it wherever its tasks are deferred or run: in the module that defines it. An Enum, a dataclass or a
    NamedTuple needs no functions, so that `@register_codec` may stand above it.

    Args:
        kind: the class.
        tag: the name it is stored under; None: its module and name. Keep it when the class is renamed or moved.
        encode: gives what strict JSON stores, or values of other registered types.
        decode: gives the value again.

    Returns `kind`. That `decode(encode(x)) == x` is tried each time such a value is deferred or returned. Raises
    ConfigError for a type that needs both functions, for one that strict JSON stores anyway, and for a tag that is
    malformed or taken.
    """
    add_codec(default_registry, kind, tag, encode, decode)
    return kind


def add_codec(
    registry: Registry,
    kind: type[Any],
    tag: str | None = None,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
) -> None:
    """`register_codec` for a registry other than the default one."""
    if not isinstance(kind, type):
        raise ConfigError("register_codec: expected a class, such as register_codec(Color).")
    if f"{kind.__module__}.{kind.__qualname__}" in _STORED:
        raise ConfigError(f"register_codec: strict JSON stores a {kind.__qualname__} as it is.")
    if (encode is None) != (decode is None):
        raise ConfigError(f"register_codec: {kind.__qualname__} needs both encode and decode, or none of them.")
    by_fields = encode is None and not _is_enum(kind)
    if encode is None or decode is None:
        encode, decode = _derived(kind)
    registry.register_codec(TypeCodec(kind, _tag_of(kind) if tag is None else tag, encode, decode, by_fields))


def _tag_of(kind: type) -> str:
    module = (main_name() or kind.__module__) if kind.__module__ in MAIN_NAMES else kind.__module__
    return f"{module}.{kind.__qualname__}"


def _is_enum(kind: type) -> bool:
    enum = sys.modules.get("enum")  # whoever has one has loaded it
    return enum is not None and issubclass(kind, enum.Enum)


def _derived(kind: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """The two functions for a class that says itself what it consists of."""
    if _is_enum(kind):
        if issubclass(kind, sys.modules["enum"].Flag):  # several at once have no name of their own
            return (lambda member: member.value), kind
        return (lambda member: member.name), kind.__getitem__
    if "__dataclass_fields__" in vars(kind):
        return _fields_of(kind), _built(kind)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return kind._asdict, _built(kind)
    raise ConfigError(
        f"register_codec: {kind.__qualname__} is no Enum, dataclass or NamedTuple, so that it needs encode and decode:"
        f" register_codec({kind.__qualname__}, tag, encode, decode)."
    )


def _fields_of(kind: Any) -> Callable[[Any], dict[str, Any]]:
    from dataclasses import fields

    names = [field.name for field in fields(kind) if field.init]
    return lambda value: {name: getattr(value, name) for name in names}


def _built(kind: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda values: kind(**values)
