"""From values to the text of strict JSON.

    None, True, 7, 1.5, "text", [...], {"key": ...}     as in JSON
    {"$tuple": [...]}                                   a built-in type that JSON has no word for
    {"@shop.Color": "RED"}                              a type that the application has registered
    {"$dict": ["$key", value, ...]}                     a dict with a key that starts like a tag

An object has one such key, and then it is a tag, or none. Types are taken exactly: a subclass would come back as
something else. Nothing is stored that `reading` would not give back, and no call is made but to registered functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from json import JSONEncoder
from math import isfinite
from typing import Any, Final

from deferq.codec.faults import key_step
from deferq.codec.strictjson.advice import advice
from deferq.codec.strictjson.moments import Unwritable
from deferq.codec.strictjson.reading import Reader
from deferq.codec.strictjson.refused import Refused
from deferq.codec.strictjson.scalars import BY_TYPE
from deferq.codec.strictjson.shape import ALIKE_MAX, INT_MAX, INT_MIN, is_reserved, too_alike
from deferq.codec.strictjson.sheet import Sheet
from deferq.errors import PayloadCorrupt
from deferq.registry import Registry, TypeCodec

_quoted = JSONEncoder(ensure_ascii=False).encode


class Writer(Sheet):
    """Writes one document."""

    def __init__(self, registry: Registry, what: str, size_max: int, *, on_trial: bool = False) -> None:
        """What the limits are.

        Args:
            registry: the types that the application has registered.
            what: what is written, for the error about its size.
            size_max: bytes at most.
            on_trial: whether this is part of a trial already.
        """
        super().__init__(what, size_max)
        self._registry = registry
        self._on_trial = on_trial

    def call(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], context: Mapping[str, Any] | None, bound: int
    ) -> bytes:
        """The bytes of a call; raises the error for the caller, which names the argument."""
        self._put("[[")
        for index, value in enumerate(args):
            if index:
                self._put(",")
            try:
                self.write(value)
            except Refused as refused:
                root = f"bound[{index}]" if index < bound else f"args[{index - bound}]"
                raise refused.error(root) from refused.__cause__
        self._put("],")
        self._named("kwargs", kwargs)
        if context is not None:
            self._put(",")
            self._named("carry", context)
        self._put("]")
        return self._bytes()

    def result(self, value: Any) -> bytes:
        """The bytes of a result; raises the error for the caller."""
        try:
            self.write(value)
        except Refused as refused:
            raise refused.error("result") from refused.__cause__
        return self._bytes()

    def _named(self, name: str, values: Mapping[str, Any]) -> None:
        try:
            self._object(values)
        except Refused as refused:
            root = name + refused.steps.pop()
            raise refused.error(root) from refused.__cause__

    def write(self, value: Any) -> None:
        """Add one value; raises Refused or PayloadTooLargeError."""
        self._count(value)
        write = _WRITERS.get(type(value))
        if write is not None:
            write(self, value)
        else:
            self._other(value)

    # ---- what JSON knows

    def _none(self, _: None) -> None:
        self._put("null")

    def _bool(self, value: bool) -> None:
        self._put("true" if value else "false")

    def _int(self, value: int) -> None:
        if not INT_MIN <= value <= INT_MAX:
            raise Refused("it is an integer outside of -2^63 to 2^63 - 1; pass its text.", value)
        self._put(str(value))

    def _float(self, value: float) -> None:
        if not isfinite(value):
            raise Refused("it is not a finite number; pass None, or its text.", value)
        self._put(repr(value))

    def _str(self, value: str) -> None:
        self._check_room(len(value))
        if "\0" in value:
            raise Refused("the text has a NUL character in it, which not every store can hold; pass bytes.", value)
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise Refused("the text has half of a surrogate pair in it; pass bytes.", value) from None
        self._put(_quoted(value))

    # ---- containers

    def _list(self, value: list[Any] | tuple[Any, ...]) -> None:
        self._enter(value)
        self._put("[")
        for index, item in enumerate(tuple(value)):
            if index:
                self._put(",")
            self._part(item, f"[{index}]")
        self._put("]")
        self._leave(value)

    def _tuple(self, value: tuple[Any, ...]) -> None:
        self._put('{"$tuple":')
        self._list(value)
        self._put("}")

    def _dict(self, value: dict[Any, Any]) -> None:
        self._enter(value)
        self._object(value)
        self._leave(value)

    def _object(self, value: Mapping[Any, Any]) -> None:
        entries = tuple(value.items())
        reserved = False
        for index, (key, _) in enumerate(entries):
            if type(key) is not str:
                refused = Refused("the keys of a dict are texts in JSON, and this is none; pass a list of pairs.", key)
                refused.steps.append(f"{{key {index}}}")
                raise refused
            reserved = reserved or is_reserved(key)
        if reserved:
            self._nodes_left -= len(entries)
            self._entries(entries, '{"$dict":[', ",", "]}")
        else:
            self._entries(entries, "{", ":", "}")

    def _entries(self, entries: Iterable[tuple[str, Any]], start: str, between: str, end: str) -> None:
        self._put(start)
        for index, (key, item) in enumerate(entries):
            if index:
                self._put(",")
            try:
                self._str(key)
            except Refused as refused:
                refused.steps.append(f"{{key {index}}}")
                raise
            self._put(between)
            self._part(item, f"[{key_step(key)}]")
        self._put(end)

    def _set(self, value: set[Any] | frozenset[Any]) -> None:
        """The items in the order of their texts, so that equal sets have equal texts."""
        try:
            alike = too_alike(value)
        except Exception as error:  # of an item's own
            raise Refused(f"hashing one of its items raised {type(error).__name__}.", value) from error
        if alike:
            raise Refused(f"more than {ALIKE_MAX} of its items have the same hash; pass a list.", value)
        self._put('{"$set":[' if type(value) is set else '{"$frozenset":[')
        self._enter(value)
        texts = []
        start = len(self._pieces)
        for index, item in enumerate(tuple(value)):
            self._part(item, f"{{item {index}}}")
            texts.append("".join(self._pieces[start:]))
            del self._pieces[start:]
        self._pieces.append(",".join(sorted(texts)))
        self._put("]}")
        self._leave(value)

    def _part(self, value: Any, step: str) -> None:
        try:
            self.write(value)
        except Refused as refused:
            refused.steps.append(step)
            raise

    # ---- what has a tag

    def _other(self, value: Any) -> None:
        scalar = BY_TYPE.get(type(value))
        registered = None if scalar else self._registry.type_codec(type(value))
        if scalar is not None:
            try:
                text = scalar.write(value)
            except Unwritable as error:
                raise Refused(str(error), value) from None
            self._put(f'{{"{scalar.tag}":')
            self._str(text)
            self._put("}")
        elif registered is not None:
            self._registered(value, registered)
        else:
            raise Refused(advice(value), value)

    def _registered(self, value: Any, codec: TypeCodec) -> None:
        """What the application's own function makes of it. The outermost such value is read back at once."""
        outermost, self._on_trial = not self._on_trial, True
        self._enter(value)
        start = len(self._pieces)
        self._put(f'{{"@{codec.tag}":')
        self._encoded(value, codec)
        self._put("}")
        self._leave(value)
        if outermost:
            self._on_trial = False
            self._try("".join(self._pieces[start:]), value)

    def _encoded(self, value: Any, codec: TypeCodec) -> None:
        try:
            plain = codec.encode(value)
        except Exception as error:
            raise Refused(f"encoding it raised {type(error).__name__}; see register_codec().", value) from error
        try:
            self.write(plain)
        except Refused as refused:
            refused.through(codec)
            raise

    def _try(self, text: str, value: Any) -> None:
        """Raise Refused unless `text` gives `value` again: the functions of the application may be wrong."""
        try:
            again = Reader(text, self._registry).document()
            same = self._text_of(again) == text if _has_no_equality(value) else bool(again == value)
        except Exception as error:
            cause = error.__cause__ or error if isinstance(error, PayloadCorrupt) else error
            raise Refused(
                f"reading it back from what was encoded raised {type(cause).__name__}; see register_codec().", value
            ) from error
        if not same:
            raise Refused("what is decoded does not equal what was encoded; see register_codec().", value)

    def _text_of(self, value: Any) -> str:
        return Writer(self._registry, self._what, self._size_max, on_trial=True).result(value).decode()


def _has_no_equality(value: Any) -> bool:
    equality: object = type(value).__eq__
    return equality is object.__eq__


_WRITERS: Final[Mapping[type, Callable[[Writer, Any], None]]] = {
    type(None): Writer._none,
    bool: Writer._bool,
    int: Writer._int,
    float: Writer._float,
    str: Writer._str,
    list: Writer._list,
    tuple: Writer._tuple,
    dict: Writer._dict,
    set: Writer._set,
    frozenset: Writer._set,
}
