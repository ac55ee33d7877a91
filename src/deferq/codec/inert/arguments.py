"""A payload as a call: which part is which, and how much room each of them has."""

from __future__ import annotations

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
    carried = _context(printer, extras)
    left = [len(args.kept) + len(list(kwargs)) + len(carried), printer.chars]

    def fill(node: Node) -> str:
        text = printer.text(node, max(_SHARE_MIN, left[1] // left[0]))
        left[0], left[1] = left[0] - 1, left[1] - len(text)
        return text

    texts = [fill(node) for node in args.kept]
    named = [(printer.key(key, _NAME_CHARS), fill(value)) for key, value in kwargs]
    others = [(printer.key(key, _NAME_CHARS), fill(value)) for key, value in carried]
    texts += printer.left_out(args)
    named += [(MORE, text) for text in printer.left_out(kwargs)]
    return tuple(texts), tuple(named), tuple(others)


def _context(printer: Printer, extras: Pairs | None) -> list[tuple[Node, Node]]:
    """The values by name; whatever else was put there comes as it is."""
    pairs: list[tuple[Node, Node]] = []
    for key, value in extras or ():
        pairs += (
            list(value) if isinstance(value, Pairs) and printer.key(key, _NAME_CHARS) == "context" else [(key, value)]
        )
    return pairs
