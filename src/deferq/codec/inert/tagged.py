"""What strict JSON has no word for stands there as an object with one key, a tag; here it is shown as what it means.

Tags with `$` are deferq's own, those with `@` name a type that the application has registered. Neither is looked up.
"""

from __future__ import annotations

import re
from base64 import b64decode

from deferq.codec.inert.nodes import Items, ItemsForm, Node, Pairs
from deferq.codec.inert.recognising import Part, Parts
from deferq.codec.inert.text import is_path, text_of

_FORMS: dict[str, ItemsForm] = {"$tuple": "tuple", "$set": "set", "$frozenset": "frozenset"}
_MOMENTS = ("$datetime", "$date", "$time", "$timedelta")
_NAMES = {"$decimal": "Decimal", "$uuid": "UUID"}
_MOMENT = re.compile(r"[0-9A-Za-z:.+/\[\]=_-]+")
_BASE64_MAX = 400


def tagged(pairs: Pairs, data: bytes) -> Parts | None:
    """What to print for an object of strict JSON; None: it is a plain one."""
    if pairs.count != 1 or len(pairs.kept) != 2:
        return None
    tag, value = text_of(data, pairs.kept[0]), pairs.kept[1]
    if tag is None or not tag.startswith(("$", "@")):
        return None
    if isinstance(value, Items):
        return _of_items(tag, value)
    if tag.startswith("@"):
        return _of_application(tag, value)
    text = text_of(data, value, _BASE64_MAX)
    if tag in _NAMES:
        return (f"{_NAMES[tag]}(", Part(value), ")")
    if tag in _MOMENTS and text is not None and _MOMENT.fullmatch(text):
        return (f"{tag[1:]}({text})",)
    return _of_bytes(value, text) if tag == "$bytes" else None


def _of_items(tag: str, value: Items) -> Parts | None:
    if tag in _FORMS:
        items = Items(_FORMS[tag])
        items.kept, items.count = value.kept, value.count
        return (Part(items),)
    if tag == "$dict" and not value.count % 2:
        pairs = Pairs(plain=True)
        pairs.kept, pairs.count = value.kept[: len(value.kept) // 2 * 2], value.count // 2
        return (Part(pairs),)
    return _of_application(tag, value)


def _of_application(tag: str, value: Node) -> Parts | None:
    """`shop.Color('RED')`."""
    return (f"{tag[1:]}(", Part(value), ")") if tag.startswith("@") and is_path(tag[1:]) else None


def _of_bytes(value: Node, text: str | None) -> Parts:
    try:
        return (repr(b64decode(text or "", validate=True)),) if text is not None else ("base64(", Part(value), ")")
    except ValueError:
        return ("base64(", Part(value), ")")
