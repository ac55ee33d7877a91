"""From descriptions to one line of text, of bounded length."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from deferq.codec.inert.known import known, short
from deferq.codec.inert.nodes import HOLDERS, Items, Lost, Made, Name, Node, Pairs, Span
from deferq.codec.inert.recognising import Parts
from deferq.codec.inert.tagged import tagged
from deferq.codec.inert.text import MORE, is_name, shown, text_of


class Limits(NamedTuple):
    """How much is shown."""

    #: Characters in all.
    chars: int
    #: Items of one list, keys of one dict.
    items: int
    #: Characters of one text.
    text: int
    #: Containers in one another.
    depth: int


_BRACKETS = {
    "list": ("[", "]"),
    "tuple": ("(", ")"),
    "set": ("{", "}"),
    "frozenset": ("frozenset({", "})"),
    "unfinished": ("<unfinished: ", ">"),
}


class _Full(Exception):
    """There is no room for more."""


class Printer:
    """Prints the parts of one payload, with common numbers for what is in there twice."""

    def __init__(self, data: bytes, limits: Limits, *, tags: bool = False) -> None:
        """`data` is what the descriptions point into; `tags`: it is strict JSON, where some objects mean more."""
        self._tags = tags
        self._data = data
        self._limits = limits
        self._numbers: dict[int, int] = {}
        self._parts: list[str] = []
        self._room = 0
        self.chars = limits.chars
        #: Ids of the objects that were shown.
        self.seen: set[int] = set()
        #: Whether anything was left out.
        self.cut = False

    def text(self, node: Node, room: int) -> str:
        """One node in at most about `room` characters."""
        self._parts, self._room = [], room
        with suppress(_Full):
            self._node(node, 0)
        return "".join(self._parts)

    def key(self, node: Node, room: int) -> str:
        """The name of an argument; in quotes if it is none."""
        name = text_of(self._data, node)
        return name if name is not None and is_name(name) and len(name) <= room else self.text(node, room)

    def names(self, extras: Pairs | None) -> list[tuple[Node, Node]]:
        """What is carried along, by name. Pickle has it under a key; whatever else is there comes as it is."""
        own, others = list[tuple[Node, Node]](), list[tuple[Node, Node]]()
        for key, value in extras or ():
            if not self._tags and not own and isinstance(value, Pairs) and text_of(self._data, key) == "context":
                own = list(value)
            else:
                others.append((key, value))
        return own + others

    def left_out(self, count: int) -> str:
        """How many items more there are."""
        self.cut = True
        return f"{MORE} {count:,} more"

    def _put(self, text: str) -> None:
        if len(text) > self._room:
            self._parts += (text[: self._room], MORE)
            self.cut = True
            raise _Full
        self._room -= len(text)
        self._parts.append(text)

    def _more(self, text: str = MORE) -> None:
        self.cut = True
        self._put(text)

    def _node(self, node: Node, depth: int) -> None:
        if isinstance(node, Span):
            self._span(node)
        elif isinstance(node, Name):
            self._put(short(node))
        elif isinstance(node, Lost):
            self._more()
        elif isinstance(node, HOLDERS):
            self._holder(node, depth)
        else:
            self._put(repr(node))

    def _span(self, span: Span) -> None:
        text, whole = shown(self._data, span, self._limits.text)
        self.cut = self.cut or not whole
        self._put(text)

    def _holder(self, node: Items | Pairs | Made, depth: int) -> None:
        if id(node) in self._numbers:
            self._put(f"#{self._numbers[id(node)]}")
            return
        self.seen.add(id(node))
        parts = self._special(node)
        if node.shared and not (parts and all(isinstance(part, str) for part in parts)):
            self._numbers[id(node)] = len(self._numbers) + 1
            self._put(f"#{len(self._numbers)}=")
        if parts is not None:
            self._known(parts, depth)
        elif isinstance(node, Items):
            self._items(node, depth)
        elif isinstance(node, Pairs):
            self._pairs(node, depth)
        else:
            self._made(node, depth)

    def _special(self, node: Items | Pairs | Made) -> Parts | None:
        if isinstance(node, Made):
            return known(node, self._data)
        return tagged(node, self._data) if self._tags and isinstance(node, Pairs) and not node.plain else None

    def _known(self, parts: Parts, depth: int) -> None:
        if depth >= self._limits.depth:
            self._more()
            return
        for part in parts:
            if isinstance(part, str):
                self._put(part)
            else:
                self._node(part.node, depth + 1)

    # ---- lists, tuples, sets and dicts

    def _items(self, items: Items, depth: int) -> None:
        opening, closing = _BRACKETS[items.form]
        if items.form in ("set", "frozenset") and not items.count:
            opening, closing = f"{items.form}(", ")"
        self._put(opening)
        self._list(items, depth)
        self._put(",)" if items.form == "tuple" and items.count == 1 else closing)

    def _list(self, items: Items, depth: int) -> None:
        """The items alone, with commas."""
        if depth >= self._limits.depth and items.count:
            self._more()
            return
        for nth, item in enumerate(items.kept):
            if nth:
                self._put(", ")
            self._node(item, depth + 1)
        self._left(items)

    def _pairs(self, pairs: Pairs, depth: int, *, bare: bool = False) -> None:
        """A dict; with `bare`, names as keys stand without quotes."""
        self._put("{")
        if depth >= self._limits.depth and pairs.count:
            self._more()
        else:
            for nth, (key, value) in enumerate(pairs):
                if nth:
                    self._put(", ")
                self._key(key, depth + 1, bare)
                self._put(": ")
                self._node(value, depth + 1)
            self._left(pairs)
        self._put("}")

    def _key(self, key: Node, depth: int, bare: bool) -> None:
        name = text_of(self._data, key) if bare else None
        if name is not None and is_name(name):
            self._put(name)
        else:
            self._node(key, depth)

    def _left(self, holder: Items | Pairs) -> None:
        kept = len(holder.kept) if isinstance(holder, Items) else len(holder.kept) // 2
        if holder.count > kept:
            self._put(f"{', ' if kept else ''}{self.left_out(holder.count - kept)}")

    # ---- objects

    def _made(self, made: Made, depth: int) -> None:
        """`module.Class(...)` for a call; in angle brackets what is made or changed in another way."""
        if depth >= self._limits.depth:
            self._more(f"<{MORE}>")
            return
        extras = (made.items, made.pairs, made.states)
        pure_call = made.by == "call" and extras == (None, None, None)
        if not pure_call:
            self._put("<")
        self._head(made, depth)
        self._arguments(made, depth)
        self._extras(made, depth)
        if not pure_call:
            self._put(">")

    def _head(self, made: Made, depth: int) -> None:
        if made.by == "named":
            self._put("looked up: ")
        elif made.by == "changed":
            self._put("changed: ")
        elif made.by not in ("call", "new"):
            self._put(made.by)
            if made.of is None:
                return
            self._put(" ")
        if made.of is not None or made.by in ("call", "new"):
            self._node(made.of, depth + 1)

    def _arguments(self, made: Made, depth: int) -> None:
        args, keywords = made.args, made.kwargs
        positional = isinstance(args, Items) and args.form == "tuple" and not args.shared
        if made.by == "new" and keywords is None and isinstance(args, Items) and not args.count:
            return
        if made.by not in ("call", "new", "named"):
            return
        self._put("(")
        if isinstance(args, Items) and positional:
            self._list(args, depth)
        else:
            self._put("*")
            self._node(args, depth + 1)
        if keywords is not None and not (isinstance(keywords, Pairs) and not keywords.count):
            self._put("**" if isinstance(args, Items) and not args.count else ", **")
            self._node(keywords, depth + 1)
        self._put(")")

    def _extras(self, made: Made, depth: int) -> None:
        for added in (made.items, made.pairs):
            if added is not None:
                self._put(" ")
                self._node(added, depth + 1)
        states = made.states
        for state in states.kept if isinstance(states, Items) else [states] if states else ():
            self._put(" ")
            self._state(state, depth)

    def _state(self, state: Node, depth: int) -> None:
        """The attributes of an object; those of slots come as the second of two."""
        if isinstance(state, Items) and state.form == "tuple" and len(state.kept) == state.count == 2:
            first, second = state.kept
            if first is None and isinstance(second, Pairs):
                state = second
        if isinstance(state, Pairs) and not state.shared:
            self.seen.add(id(state))
            self._pairs(state, depth, bare=True)
        else:
            self._node(state, depth + 1)
