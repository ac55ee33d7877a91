"""Reading a payload from left to right, never past its end and never more of it than is asked for."""

from __future__ import annotations

from struct import Struct

from deferq.codec.inert.nodes import Node, Span, SpanForm
from deferq.errors import PayloadCorrupt

#: Longer numbers are not converted: that takes time with the square of their length.
NUMBER_CHARS_MAX = 40
NUMBER_BYTES_MAX = 32
#: Python converts no more itself; so many may be zeros in front.
INDEX_CHARS_MAX = 4300
_DOUBLE = Struct(">d")


class Damaged(PayloadCorrupt):
    """Reading cannot go on here."""


class Cursor:
    """A place in the payload."""

    __slots__ = ("at", "data", "start")

    def __init__(self, data: bytes, start: int) -> None:
        self.data = data
        self.start = start
        self.at = start

    @property
    def left(self) -> int:
        """Bytes from here to the end."""
        return len(self.data) - self.at

    def byte(self) -> int:
        """The next byte; raises Damaged at the end."""
        if self.at >= len(self.data):
            raise Damaged("it ends too early")
        value = self.data[self.at]
        self.at += 1
        return value

    def skip(self, length: int) -> int:
        """Pass over so many bytes; returns where they begin."""
        if length > self.left:
            raise Damaged(f"{length:,} bytes are announced, and {self.left:,} are left")
        if length < 0:
            raise Damaged(f"a length of {length:,} is announced")
        begin = self.at
        self.at += length
        return begin

    def number(self, size: int, *, signed: bool = False) -> int:
        """A number of `size` bytes, the lowest first."""
        begin = self.skip(size)
        return int.from_bytes(self.data[begin : self.at], "little", signed=signed)

    def span(self, form: SpanForm, size: int, *, signed: bool = False) -> Span:
        """Something whose length comes first, in `size` bytes."""
        begin = self.skip(self.number(size, signed=signed))
        return Span(form, begin, self.at)

    def line(self, form: SpanForm) -> Span:
        """Up to the end of the line."""
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise Damaged("it ends within a line")
        begin, self.at = self.at, end + 1
        return Span(form, begin, end)

    def index(self) -> int:
        """A line with a place in the memo."""
        return self._converted(self.line("digits"), 10, INDEX_CHARS_MAX)

    def long(self, size: int) -> Node:
        """A whole number whose length comes first."""
        span = self.span("integer", size, signed=size == 4)
        if span.end - span.start > NUMBER_BYTES_MAX:
            return span
        return int.from_bytes(self.data[span.start : span.end], "little", signed=True)

    def int_line(self) -> Node:
        """A line with a whole number; `00` and `01` were truth values once."""
        line = self.line("digits")
        text = self.data[line.start : min(line.end, line.start + 3)]
        return text == b"01" if text in (b"00", b"01") else self._whole(line)

    def long_line(self) -> Node:
        """A line with a whole number, with an L behind it."""
        line = self.line("digits")
        if line.end > line.start and self.data[line.end - 1] == ord("L"):
            line.end -= 1
        return self._whole(line)

    def float_line(self) -> Node:
        """A line with a number."""
        line = self.line("digits")
        if line.end - line.start > NUMBER_CHARS_MAX:
            return line
        try:
            return float(self.data[line.start : line.end])
        except ValueError:
            raise Damaged("this is no number") from None

    def double(self) -> float:
        """Eight bytes with a number."""
        begin = self.skip(8)
        value: float = _DOUBLE.unpack_from(self.data, begin)[0]
        return value

    def _whole(self, line: Span) -> Node:
        """The number of a line, or the line itself if that is long or has zeros in front, once a sign of octal."""
        if line.end - line.start > NUMBER_CHARS_MAX:
            return line
        text = self.data[line.start : line.end]
        return line if text.isdigit() and text[0] == ord("0") and len(text) > 1 else self._converted(line, 0)

    def _converted(self, line: Span, base: int, chars_max: int = NUMBER_CHARS_MAX) -> int:
        try:
            if line.end - line.start <= chars_max:
                return int(self.data[line.start : line.end], base)
        except ValueError:
            pass
        raise Damaged("this is no whole number")
