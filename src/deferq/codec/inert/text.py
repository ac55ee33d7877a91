"""Text and bytes of a payload, ready to print: nothing in them can command a terminal or turn its lines around."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder, lookup

from deferq.codec.inert.nodes import Span, SpanForm

#: Stands wherever something was left out.
MORE = "…"
#: Characters that a name may have.
NAME_MAX = 250
_BYTES_PER_CHAR_MAX = 6
_JSON_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|[^u])", re.DOTALL)
_JSON_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
#: Without those that Python warns of.
_LITERAL = re.compile(rb"""(?:[^\\]|\\[\\'"abfnrtv]|\\x[0-9a-fA-F]{2}|\\[0-3]?[0-7]{1,2})*+""", re.DOTALL)

for _name in ("utf-8", "ascii", "utf-16-le", "raw_unicode_escape", "unicode_escape"):
    lookup(_name)  # Python imports them at their first use, and reading a payload is to import nothing at all


def shown(data: bytes, span: Span, chars_max: int) -> tuple[str, bool]:
    """A span as Python would write it, at most about `chars_max` characters of it; and whether that is all."""
    size = span.end - span.start
    if span.form == "integer":
        return f"<a whole number of {size:,} bytes>", False
    head, whole = data[span.start : span.start + min(size, chars_max)], size <= chars_max
    if span.form == "digits":
        text = plain(head.decode("ascii", "backslashreplace"))
    elif span.form == "bytes":
        text = repr(head)
    elif span.form == "bytearray":
        text = repr(bytearray(head))
    else:
        decoded, whole = _decoded(data, span, chars_max)
        text = repr(decoded)
    return (text if whole else f"{text}{MORE} ({size:,} bytes in all)"), whole


def plain(text: str) -> str:
    """`text` without quotes; what cannot be printed is escaped."""
    return text if text.isprintable() else "".join(map(_printable, text))


def text_of(data: bytes, span: object, bytes_max: int = NAME_MAX) -> str | None:
    """A short text as it is, None for anything else."""
    if not isinstance(span, Span) or span.end - span.start > bytes_max or span.form not in _TEXTS:
        return None
    return _decoded(data, span, bytes_max)[0]


def name_in(data: bytes, span: Span) -> str | None:
    """A module's name, or that of something in it, with all its escapes undone; None if it is too long."""
    text, whole = _decoded(data, span, NAME_MAX)
    return text if whole else None


def dotted(module: str, qualname: str) -> str:
    """How to show what is looked up: as in a source text, or in quotes if that is no name."""
    if is_path(module) and is_path(qualname):
        return qualname if module == "builtins" else f"{module}.{qualname}"
    return f"<{module!r} {qualname!r}>"


def is_name(text: str) -> bool:
    """Whether it can stand bare, as an argument's name."""
    return text.isidentifier() and text.isprintable()


def is_path(text: str) -> bool:
    """Whether it can stand bare, as a dotted name."""
    return all(part == "<locals>" or is_name(part) for part in text.split("."))


_TEXTS = {"utf-8", "ascii", "escaped", "literal", "json"}


def _decoded(data: bytes, span: Span, chars_max: int) -> tuple[str, bool]:
    """The first characters of a text, and whether these are all."""
    end = min(span.end, span.start + chars_max * _BYTES_PER_CHAR_MAX)
    raw = data[span.start : end]
    try:
        text = _decode(span.form, raw, whole=end == span.end)
    except UnicodeDecodeError:  # pickle would refuse it
        text = raw.decode("utf-8", "backslashreplace")
    return text[:chars_max], end == span.end and len(text) <= chars_max


def _decode(form: SpanForm, raw: bytes, *, whole: bool) -> str:
    if form == "escaped":
        return raw.decode("raw_unicode_escape", "backslashreplace")
    if form == "literal":
        return raw.decode("unicode_escape" if _LITERAL.fullmatch(raw) else "ascii", "backslashreplace")
    if form == "ascii":
        return raw.decode("ascii", "backslashreplace")
    text = getincrementaldecoder("utf-8")("surrogatepass").decode(raw, final=whole)
    return _unescaped(text) if form == "json" else text


def _unescaped(text: str) -> str:
    """What the escapes in a JSON text stand for."""
    text = _JSON_ESCAPE.sub(_json_char, text)
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:  # half of a pair
        return text


def _json_char(found: re.Match[str]) -> str:
    escape = found[1]
    return chr(int(escape[1:], 16)) if len(escape) == 5 else _JSON_LETTERS.get(escape, escape)


def _printable(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()
