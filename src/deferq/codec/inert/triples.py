"""Calls that name their own callable: what is in them, and what they call (see `deferq.codec.triples`)."""

from __future__ import annotations

from typing import Final, NamedTuple

from deferq.codec.inert.arguments import Call
from deferq.codec.inert.nodes import Items, Made, Name, Node, Pairs
from deferq.codec.inert.reading import Reading, read_pickle
from deferq.codec.inert.text import text_of
from deferq.codec.triples import MODULES, OURS

_ITEMS_OF_TARGET = 20
_HOMES: Final = {*MODULES, OURS}


class TripleNodes(NamedTuple):
    """The three parts, as far as they are a call."""

    callable: Node
    args: Items
    kwargs: Pairs

    @property
    def member(self) -> bool:
        """Whether a method is called by its name: the object and the name are the first arguments."""
        return _is_ours(self.callable, "invoke_member") and len(self.args.kept) >= 2

    @property
    def fetched(self) -> bool:
        """Whether the call itself is kept beside the task."""
        return _is_ours(self.callable, "run_from_datastore")

    def call(self, before: Pairs | None) -> Call:
        """To be printed as any other call; the name of a method is part of the target."""
        args = self.args
        if self.member:
            args = Items("tuple")
            args.kept, args.count = [self.args.kept[0], *self.args.kept[2:]], self.args.count - 1
        return args, self.kwargs, before


class TripleReading(NamedTuple):
    """What was read of a body."""

    reading: Reading
    #: What stood before the call; None: nothing.
    before: Pairs | None


def read_triple(data: bytes, start: int, keep: int) -> TripleReading:
    """The call at `start`, and what is to be known before it is restored."""
    first = read_pickle(data, start, keep)
    if not first.whole or not isinstance(first.value, Pairs):
        return TripleReading(first, None)
    known = {text_of(data, key): (key, value) for key, value in first.value}
    second = read_pickle(data, first.end, keep, text_of(data, known.get("main", (None, None))[1]))
    before = Pairs()
    before.kept = list(known.get("context", ()))
    before.count = len(before.kept) // 2
    return TripleReading(second._replace(steps=first.steps + second.steps), before)


def triple_in(node: Node) -> TripleNodes | None:
    """None: it is no such call."""
    if not isinstance(node, Items) or node.count != 3 or len(node.kept) != 3:
        return None
    fn, args, kwargs = node.kept
    return TripleNodes(fn, args, kwargs) if isinstance(args, Items) and isinstance(kwargs, Pairs) else None


def triple_target(body: bytes) -> str | None:
    """`module:qualname` of what the call in `body` calls, read without restoring it; None: it cannot be told."""
    triple = triple_in(read_triple(body, 0, _ITEMS_OF_TARGET).reading.value)
    if triple is None:
        return None
    if not triple.member:
        return _named(triple.callable)
    owner, member = _named(triple.args.kept[0]), text_of(body, triple.args.kept[1])
    return f"{owner}.{member}" if owner and member and member.isidentifier() else None


def _named(node: Node) -> str | None:
    """The name of a function or class, or of the class of an object."""
    name = _made_of(node) if isinstance(node, Made) else node
    if not isinstance(name, Name) or not _is_dotted(name.module) or not _is_dotted(name.qualname):
        return None
    return f"{name.module}:{name.qualname}"


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _made_of(made: Made) -> Node:
    """The class of an object; the first protocols have a function make it."""
    args = made.args
    if isinstance(made.of, Name) and made.of.key == "copyreg._reconstructor" and isinstance(args, Items) and args.kept:
        return args.kept[0]
    return made.of


def _is_ours(node: Node, name: str) -> bool:
    return isinstance(node, Name) and node.qualname == name and node.module in _HOMES
