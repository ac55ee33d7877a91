"""Why strict JSON does not store a value of some type, and what to do instead."""

from __future__ import annotations

from collections import deque
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from deferq.codec.faults import advice_for, type_name
from deferq.codec.strictjson.scalars import BY_TYPE

_STORED = (bool, int, float, str, list, dict, tuple, set, frozenset, *BY_TYPE)
_BETTER: tuple[tuple[tuple[type, ...], str], ...] = (
    ((bytearray, memoryview), "strict JSON stores bytes; pass bytes(...) of it."),
    ((range, deque), "strict JSON stores lists; pass list(...) of it."),
    ((FunctionType, BuiltinFunctionType, MethodType), "strict JSON stores no functions; pass its name."),
    ((type,), "strict JSON stores no classes; pass its name."),
)


def advice(value: Any) -> str:
    """The end of a sentence about `value`. Nothing of it is called: not its repr, and no property."""
    kind = type(value)
    general = advice_for(value)
    if general is not None:
        return general
    for kinds, text in _BETTER:
        if issubclass(kind, kinds):
            return text
    name = kind.__qualname__
    if issubclass(kind, Enum) or hasattr(kind, "__dataclass_fields__") or hasattr(kind, "_fields"):
        return f"strict JSON has to know the class: call register_codec({name}) where it is defined."
    for plain in _STORED:
        if issubclass(kind, plain):
            return (
                f"it is a {type_name(value)}, and would come back as a plain {plain.__name__}; pass"
                f" {plain.__name__}(...) of it, or call register_codec({name}, tag, encode, decode)."
            )
    return (
        f"strict JSON knows no {type_name(value)}; pass plain values, or a key by which the task can load it, or call"
        f" register_codec({name}, tag, encode, decode)."
    )
