"""What is written so far, and how much more there may be."""

from __future__ import annotations

from typing import Any

from deferq.codec.sizes import oversized
from deferq.codec.strictjson.refused import Refused
from deferq.codec.strictjson.shape import DEPTH_MAX, NODES_MAX
from deferq.errors import PayloadTooComplex, PayloadTooDeep


class Sheet:
    """The pieces of one document. It stops whoever writes too much, too deeply or in a circle."""

    def __init__(self, what: str, size_max: int) -> None:
        """`what` is written, in at most `size_max` bytes."""
        self._what = what
        self._size_max = self._room = size_max
        self._depth_left = DEPTH_MAX
        self._nodes_left = NODES_MAX
        self._pieces: list[str] = []
        #: Containers that are being written, by identity.
        self._open: set[int] = set()

    def _bytes(self) -> bytes:
        return "".join(self._pieces).encode()

    def _put(self, piece: str) -> None:
        self._check_room(len(piece))
        self._room -= len(piece)
        self._pieces.append(piece)

    def _check_room(self, size: int) -> None:
        """A text has at least as many bytes as characters: what is too long is known before it is written."""
        if size > self._room:
            raise oversized(self._what, self._size_max - self._room + size, self._size_max, at_least=True)

    def _count(self, value: Any) -> None:
        self._nodes_left -= 1
        if self._nodes_left < 0:
            raise Refused(
                f"with it there are more than {NODES_MAX:,} values; pass a reference to where the data is, or the data"
                " as one text or bytes.",
                value,
                PayloadTooComplex,
            )

    def _enter(self, value: Any) -> None:
        if id(value) in self._open:
            raise Refused("it contains itself; pass a flat list, or a reference to where the data lies.", value)
        if self._depth_left == 0:
            raise Refused(
                f"it is nested more than {DEPTH_MAX} levels deep; pass a flat list, or a reference to where the data"
                " lies.",
                value,
                PayloadTooDeep,
            )
        self._depth_left -= 1
        self._open.add(id(value))

    def _leave(self, value: Any) -> None:
        self._depth_left += 1
        self._open.discard(id(value))
