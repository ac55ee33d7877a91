"""Looking closer at what would be made: its arguments, its bytes, whether anything was added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from deferq.codec.inert.nodes import Items, Made, Name, Node, Span
from deferq.codec.inert.text import text_of

_BYTES_MAX = 1000


class Part:
    """A node among texts."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node


#: Texts and nodes, to be printed one after the other.
Parts: TypeAlias = Sequence[str | Part]
#: Gets what would be made, its arguments and the payload; None: it is not what it is called.
Form: TypeAlias = Callable[[Made, list[Node], bytes], Parts | None]


def args_of(made: Made) -> list[Node] | None:
    """Its arguments, if all of them are there and there are no others."""
    args = made.args
    if made.kwargs is not None or not isinstance(args, Items) or args.count != len(args.kept):
        return None
    return args.kept


def is_plain(made: Made) -> bool:
    """Whether nothing was added to it."""
    return made.by == "call" and made.items is None and made.pairs is None and made.states is None


def bytes_of(node: Node, data: bytes) -> bytes | None:
    """Some bytes, in either of the two ways in which pickle writes them; None for anything else, or for many."""
    if isinstance(node, Span):
        fits = node.form == "bytes" and node.end - node.start <= _BYTES_MAX
        return data[node.start : node.end] if fits else None
    if not isinstance(node, Made) or not isinstance(node.of, Name) or node.of.key != "_codecs.encode":
        return None
    args = args_of(node)
    if args is None or len(args) != 2 or text_of(data, args[1]) != "latin1" or not is_plain(node):
        return None
    text = text_of(data, args[0], _BYTES_MAX)
    return None if text is None else text.encode("latin1")
