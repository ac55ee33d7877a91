"""From the text of strict JSON to values. It imports nothing, and calls only what the application has registered.

The grammar is JSON's own, without NaN, duplicate keys, half surrogate pairs, NUL, numbers without end, and anything
before or behind the document. A reader stops at the first value too many, so that its time and its memory are bounded
by the length of the text; it goes as deep as a writer may, which is far from the end of the stack.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from json import loads
from math import isfinite
from typing import Any, Final, NoReturn

from deferq.codec.strictjson.scalars import BY_TAG, Scalar, restored
from deferq.codec.strictjson.shape import DEPTH_MAX, INT_MAX, INT_MIN, NODES_MAX, is_reserved, too_alike
from deferq.errors import PayloadCorrupt, PayloadFormatError, TargetUnknown
from deferq.registry import Registry, is_object_name

#: Longer than any number that is written: those of a double have 24 characters at most.
_NUMBER_LENGTH_MAX = 40
# Possessive throughout: one way to match, so no text makes it slow.
_TOKEN: Final = re.compile(
    r"""[ \t\n\r]*+(
        [\[\]{},:]
      | "[^"\\\x00-\x1f]*+(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*+)*+"
      | -?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+
      | true | false | null
    )""",
    re.VERBOSE,
)
_SPACE: Final = re.compile(r"[ \t\n\r]*+")
_WORDS: Final = {"true": True, "false": False, "null": None}


class Reader:
    """Reads one document."""

    def __init__(self, text: str, registry: Registry, *, around: int = 0) -> None:
        """`around`: how many containers stand around the user's own."""
        self._text = text
        self._registry = registry
        self._depth_left = DEPTH_MAX + around
        self._nodes_left = NODES_MAX + 2 * around
        #: Where the last token begins, and where it ends.
        self._start = self._end = 0

    def document(self) -> Any:
        """The value. Raises PayloadFormatError, PayloadCorrupt from a registered type, or TargetUnknown for one."""
        value = self._value(self._token())
        self._start = _SPACE.match(self._text, self._end).end()  # type: ignore[union-attr]  # it matches nothing, too
        if self._start != len(self._text):
            self._fail("there is something behind its end")
        return value

    def _token(self) -> str:
        found = _TOKEN.match(self._text, self._end)
        if found is None:
            self._start = _SPACE.match(self._text, self._end).end()  # type: ignore[union-attr]
            self._fail("it ends early" if self._start == len(self._text) else "this is no JSON")
        self._start, self._end = found.span(1)
        return found[1]

    def _expect(self, mark: str) -> None:
        if self._token() != mark:
            self._fail(f"{mark!r} is missing")

    def _fail(self, what: str, at: int | None = None) -> NoReturn:
        offset = len(self._text[: self._start if at is None else at].encode("utf-8", "surrogatepass"))
        raise PayloadFormatError(
            f"The payload is no strict JSON: {what} (byte {offset}); it will not be run.", offset=offset
        )

    def _value(self, token: str) -> Any:
        self._nodes_left -= 1
        if self._nodes_left < 0:
            self._fail(f"it has more than {NODES_MAX:,} values")
        first = token[0]
        if first == '"':
            return self._str(token)
        if first == "[":
            return self._list()
        if first == "{":
            return self._object()
        if token in _WORDS:
            return _WORDS[token]
        if first in "-0123456789":
            return self._number(token)
        return self._fail("a value is missing")

    # ---- what JSON knows

    def _str(self, token: str) -> str:
        text = token[1:-1]
        if "\\" not in text:
            return text
        try:
            text = str(loads(token))
            text.encode()
        except ValueError:
            self._fail("a text has an escape that stands for no character")
        if "\0" in text:
            self._fail("a text has a NUL character")
        return text

    def _number(self, token: str) -> int | float:
        if len(token) > _NUMBER_LENGTH_MAX:
            self._fail("a number has too many digits")
        if token.lstrip("-").isdigit():
            number = int(token)
            if not INT_MIN <= number <= INT_MAX:
                self._fail("an integer is out of range")
            return number
        value = float(token)
        if not isfinite(value):
            self._fail("a number is out of range")
        return value

    def _list(self) -> list[Any]:
        self._enter()
        items: list[Any] = []
        token = self._token()
        if token != "]":
            while True:
                items.append(self._value(token))
                mark = self._token()
                if mark == "]":
                    break
                if mark != ",":
                    self._fail("',' or ']' is missing")
                token = self._token()
        self._depth_left += 1
        return items

    def _object(self) -> Any:
        token = self._token()
        if token == "}":
            self._enter()
            self._depth_left += 1
            return {}
        at = self._start
        key = self._key(token)
        return self._tagged(key, at) if is_reserved(key) else self._dict(key)

    def _dict(self, key: str) -> dict[str, Any]:
        self._enter()
        entries: dict[str, Any] = {}
        while True:
            if key in entries:
                self._fail("an object has a key twice")
            if is_reserved(key):
                self._fail("a tag stands beside other keys")
            self._expect(":")
            entries[key] = self._value(self._token())
            mark = self._token()
            if mark == "}":
                break
            if mark != ",":
                self._fail("',' or '}' is missing")
            key = self._key(self._token())
        self._depth_left += 1
        return entries

    def _key(self, token: str) -> str:
        if token[0] != '"':
            self._fail("a key is missing")
        return self._str(token)

    def _enter(self) -> None:
        if self._depth_left == 0:
            self._fail(f"it is nested more than {DEPTH_MAX} levels deep")
        self._depth_left -= 1

    # ---- what has a tag

    def _tagged(self, tag: str, at: int) -> Any:
        self._expect(":")
        if tag.startswith("@"):
            value = self._registered(tag[1:], at)
        elif tag in BY_TAG:
            value = self._scalar(BY_TAG[tag], at)
        elif tag in _COLLECTIONS:
            value = self._collection(tag, at)
        else:
            self._fail("a tag is unknown", at)
        if self._token() != "}":
            self._fail("a tag stands beside other keys")
        return value

    def _scalar(self, scalar: Scalar, at: int) -> Any:
        token = self._token()
        try:
            if token[0] == '"':
                return restored(scalar, self._str(token))
        except PayloadCorrupt:
            raise
        except ValueError:
            pass
        return self._fail(f"what stands under {scalar.tag} is none", at)

    def _collection(self, tag: str, at: int) -> Any:
        if self._token() == "[":
            items = self._list()
            try:
                return _COLLECTIONS[tag](items)
            except Exception:  # no hash, or one of the application's own
                pass
        return self._fail(f"what stands under {tag} is none", at)

    def _registered(self, tag: str, at: int) -> Any:
        if not is_object_name(tag):
            self._fail("a tag is malformed", at)
        codec = self._registry.type_codec_of_tag(tag)
        if codec is None:
            raise TargetUnknown(
                f"No type is registered as {tag!r} in this process; call register_codec() where its workers import it."
            )
        self._enter()
        plain = self._value(self._token())
        self._depth_left += 1
        return _decoded(codec.decode, plain, codec.kind, tag)


def _decoded(decode: Callable[[Any], Any], plain: Any, kind: type, tag: str) -> Any:
    try:
        value = decode(plain)
    except (KeyboardInterrupt, TargetUnknown):
        raise
    except BaseException as error:  # SystemExit too, from the application's own code
        raise PayloadCorrupt(
            f"The payload cannot be restored: decoding {tag!r} raised {type(error).__name__}; it will not be run."
        ) from error
    if type(value) is not kind:
        raise PayloadCorrupt(
            f"The payload cannot be restored: decoding {tag!r} gave a {type(value).__qualname__}; it will not be run."
        )
    return value


def _set(items: list[Any]) -> set[Any]:
    return set(_all_different(items))


def _frozenset(items: list[Any]) -> frozenset[Any]:
    return frozenset(_all_different(items))


def _all_different(items: list[Any]) -> list[Any]:
    if too_alike(items) or len(set(items)) != len(items):
        raise ValueError
    return items


def _dict_of_pairs(items: list[Any]) -> dict[str, Any]:
    """A dict with a key that starts like a tag; another one would not have been written so."""
    keys = items[::2]
    if not all(type(key) is str for key in keys) or not any(map(is_reserved, keys)):
        raise ValueError
    return dict(zip(_all_different(keys), items[1::2], strict=True))


_COLLECTIONS: Final[Mapping[str, Callable[[list[Any]], Any]]] = {
    "$tuple": tuple,
    "$set": _set,
    "$frozenset": _frozenset,
    "$dict": _dict_of_pairs,
}
