"""What the inert reader makes of a payload: descriptions, never the values themselves.

A number, a truth value and None stand for themselves. Text and bytes are places in the payload, so that a text of
16 MiB takes no more room here than a short one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

SpanForm = Literal["utf-8", "escaped", "literal", "ascii", "json", "bytes", "bytearray", "integer", "digits"]
ItemsForm = Literal["list", "tuple", "set", "frozenset", "unfinished"]
MadeBy = Literal[
    "call", "new", "changed", "named", "persistent id", "extension", "out-of-band buffer", "read-only buffer"
]


class Span:
    """A text, bytes or a long number, as it stands in the payload."""

    __slots__ = ("end", "form", "start")

    def __init__(self, form: SpanForm, start: int, end: int) -> None:
        self.form = form
        self.start = start
        self.end = end


class Name:
    """Something looked up by name: a class or a function of a module."""

    __slots__ = ("module", "qualname", "shown")

    def __init__(self, module: str, qualname: str, shown: str) -> None:
        """`module` and `qualname` are empty if they are too long to be any; `shown` is what to print."""
        self.module = module
        self.qualname = qualname
        self.shown = shown

    @property
    def key(self) -> str:
        """`module.qualname`."""
        return f"{self.module}.{self.qualname}"


class Items:
    """A list, a tuple or a set: its first items, and how many there are."""

    __slots__ = ("count", "form", "kept", "shared")

    def __init__(self, form: ItemsForm) -> None:
        self.form = form
        self.kept: list[Node] = []
        self.count = 0
        self.shared = False


class Pairs:
    """A dict: its first keys and values one after the other, and how many pairs there are."""

    __slots__ = ("count", "kept", "plain", "shared")

    def __init__(self, *, plain: bool = False) -> None:
        """`plain`: it is a dict and nothing else, even with a key that looks like a tag."""
        self.plain = plain
        self.kept: list[Node] = []
        self.count = 0
        self.shared = False

    def __iter__(self) -> Iterator[tuple[Node, Node]]:
        places = range(0, len(self.kept) - 1, 2)
        return ((self.kept[place], self.kept[place + 1]) for place in places)


class Lost:
    """Something that is not kept, since there is too much."""

    __slots__ = ()


class Made:
    """What restoring would make by running code: an object, or the answer of a function."""

    __slots__ = ("args", "by", "items", "kwargs", "of", "pairs", "shared", "states")

    def __init__(self, by: MadeBy, of: Node, args: Node = None, kwargs: Node = None) -> None:
        self.by = by
        self.of = of
        self.args = args
        self.kwargs = kwargs
        #: Added to it once it is made.
        self.items: Items | Lost | None = None
        self.pairs: Pairs | Lost | None = None
        self.states: Items | Lost | None = None
        self.shared = False


LOST: Final = Lost()

Node: TypeAlias = Span | Name | Items | Pairs | Made | Lost | bool | int | float | None
#: What can hold other nodes, and be met more than once.
HOLDERS: Final = (Items, Pairs, Made)
