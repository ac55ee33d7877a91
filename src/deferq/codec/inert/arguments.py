"""A payload as a call: which part is which, and how much room each of them has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from deferq.codec.inert.nodes import Items, Node, Pairs
from deferq.codec.inert.printing import Printer
from deferq.codec.inert.text import MORE

Call: TypeAlias = tuple[Items, Pairs, Pairs | None]
Named: TypeAlias = tuple[tuple[str, str], ...]

_NAME_CHARS = 100
#: What every argument gets, however many there are.
_SHARE_MIN = 20


def call_in(node: Node) -> Call | None:
    """(args, kwargs) or (args, kwargs, extras), as payload.py writes it; None for anything else."""
    if not isinstance(node, Items) or not 2 <= node.count <= 3 or len(node.kept) != node.count:
        return None
    args, kwargs, extras = (*node.kept, None)[:3]
    if not isinstance(args, Items) or not isinstance(kwargs, Pairs) or not isinstance(extras, Pairs | None):
        return None
    return (args, kwargs, extras) if args.form in ("tuple", "list") else None


def print_call(printer: Printer, call: Call) -> tuple[tuple[str, ...], Named, Named]:
    """The arguments, those with names, and what is carried along. What one does not need of its room is for others."""
    args, kwargs, extras = call
    carried = printer.names(extras)
    room = _Room(printer, len(args.kept) + len(kwargs.kept) // 2 + len(carried))
    texts = tuple(room.texts(args.kept, args.count))
    named = tuple(room.pairs(list(kwargs), kwargs.count))
    return texts, named, tuple(room.pairs(carried, len(carried)))


class _Room:
    """Shares the characters that there are among the arguments."""

    def __init__(self, printer: Printer, parts: int) -> None:
        self._printer = printer
        self._parts = parts
        self._chars = printer.chars

    def texts(self, nodes: Sequence[Node], count: int) -> Iterator[str]:
        """The arguments, and how many more there are."""
        for nth, node in enumerate(nodes):
            if self._chars <= 0:
                yield self._printer.left_out(count - nth)
                return
            yield self._fill(node)
        if count > len(nodes):
            yield self._printer.left_out(count - len(nodes))

    def pairs(self, pairs: Sequence[tuple[Node, Node]], count: int) -> Iterator[tuple[str, str]]:
        """The arguments with their names, and how many more there are."""
        keys = []
        for key, _ in pairs:
            keys.append(self._printer.key(key, _NAME_CHARS))
            self._chars -= len(keys[-1])
            if self._chars <= 0:
                break
        values = [value for _, value in pairs[: len(keys)]]
        for nth, text in enumerate(self.texts(values, count)):
            yield (keys[nth], text) if nth < len(keys) else (MORE, text)

    def _fill(self, node: Node) -> str:
        text = self._printer.text(node, max(_SHARE_MIN, self._chars // max(1, self._parts)))
        self._parts -= 1
        self._chars -= len(text)
        return text
