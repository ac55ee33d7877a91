"""Reads a JSON document into the same descriptions as a pickle: its structure, and nothing of what it may stand for."""

from __future__ import annotations

import re

from deferq.codec.inert.cursor import NUMBER_CHARS_MAX, Damaged
from deferq.codec.inert.keeping import Keeper
from deferq.codec.inert.machine import STEPS_MAX
from deferq.codec.inert.nodes import Items, Lost, Node, Pairs, Span
from deferq.codec.inert.reading import Reading

#: Lists and objects in one another.
OPEN_MAX = 10_000

_SPACE = re.compile(rb"[ \t\n\r]*+")
_PLAIN = re.compile(rb'[^"\\]*+')
_WORD = re.compile(rb"[-+.0-9A-Za-z]++")
_WORDS: dict[bytes, Node] = {b"null": None, b"true": True, b"false": False}
_CLOSING = {ord("["): ord("]"), ord("{"): ord("}")}

_Open = Items | Pairs | Lost


def read_json(data: bytes, start: int, keep: int) -> Reading:
    """What the JSON document at `start` says; like `read_pickle`."""
    reader = _Reader(data, start, keep)
    stopped: tuple[str, ...] = ()
    try:
        reader.read()
    except Damaged as error:
        size = len(data) - start
        stopped = (f"it could be read up to byte {reader.at - start:,} of {size:,}: {error}",)
    return Reading(reader.root, stopped, steps=reader.steps, end=reader.at, whole=not stopped, lost=reader.keeper.full)


class _Reader:
    def __init__(self, data: bytes, start: int, keep: int) -> None:
        self._data = data
        self.at = start
        self.root: Node = None
        self.steps = 0
        self._open: list[_Open] = []
        self._closing: list[int] = []
        self._keys: list[Node] = []
        #: Whether nothing stands yet in what was opened last.
        self._fresh = False
        self.keeper = Keeper(keep, lambda: len(self._open))

    def read(self) -> None:
        """The whole document. Raises Damaged."""
        self._value()
        while self._closing:
            if self._ends():
                continue
            self._key_or_value()
        self._space()

    def _ends(self) -> bool:
        """Whether the list or object that is open ends here; otherwise its next part follows."""
        fresh = self._fresh
        self._fresh = False
        char = self._peek()
        if char == self._closing[-1]:
            self.at += 1
            self._closing.pop()
            self._open.pop()
            self._keys.pop()
            return True
        if not fresh:
            self._expect(",")
        return False

    def _key_or_value(self) -> None:
        if self._closing[-1] == ord("}"):
            if self._peek() != ord('"'):
                raise Damaged("a key is expected")
            self._keys[-1] = self._text()
            self._expect(":")
        self._value()

    def _value(self) -> None:
        char = self._peek()
        self._step()
        if char in _CLOSING:
            self._begin(char)
        elif char == ord('"'):
            self._put(self._text())
        else:
            self._put(self._word())

    def _begin(self, char: int) -> None:
        if len(self._open) >= OPEN_MAX:
            raise Damaged(f"more than {OPEN_MAX:,} lists and objects lie in one another")
        node = self.keeper.keep(Items("list")) if char == ord("[") else self.keeper.keep(Pairs())
        self._put(node)
        self.at += 1
        self._open.append(node)
        self._closing.append(_CLOSING[char])
        self._keys.append(None)
        self._fresh = True

    def _put(self, node: Node) -> None:
        """Into what is open, or as the whole document."""
        if not self._open:
            self.root = node
            return
        outer = self._open[-1]
        if isinstance(outer, Items):
            self.keeper.add(outer, node)
        elif isinstance(outer, Pairs):
            self.keeper.add_pair(outer, self._keys[-1], node)

    def _text(self) -> Node:
        self.at += 1
        begin = self.at
        while True:
            self.at = self._match(_PLAIN)
            if self.at + 1 > len(self._data):
                raise Damaged("it ends within a text")
            if self._data[self.at] == ord('"'):
                break
            self._step()
            self.at += 2
        self.at += 1
        return self.keeper.keep(Span("json", begin, self.at - 1))

    def _word(self) -> Node:
        begin, self.at = self.at, max(self.at, self._match(_WORD))
        word = self._data[begin : min(self.at, begin + NUMBER_CHARS_MAX)]
        if not word:
            raise Damaged("a value is expected")
        return _WORDS[word] if word in _WORDS else self.keeper.keep(Span("digits", begin, self.at))

    def _peek(self) -> int:
        self._space()
        if self.at >= len(self._data):
            raise Damaged("it ends too early")
        return self._data[self.at]

    def _expect(self, char: str) -> None:
        if self._peek() != ord(char):
            raise Damaged(f"{char!r} is expected")
        self.at += 1

    def _space(self) -> None:
        self.at = self._match(_SPACE)

    def _match(self, pattern: re.Pattern[bytes]) -> int:
        found = pattern.match(self._data, self.at)
        return found.end() if found else self.at

    def _step(self) -> None:
        if self.steps >= STEPS_MAX:
            raise Damaged(f"that is enough after {STEPS_MAX:,} steps")
        self.steps += 1
