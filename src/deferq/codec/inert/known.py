"""What everybody writes in one way is shown in that way: dates, decimals, paths, collections of the standard library.

It is recognised by its name alone and put together from checked numbers and texts; nothing of the payload runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta, timezone
from itertools import islice
from typing import TypeAlias
from uuid import UUID

from deferq.codec.inert.nodes import Items, Made, Name, Node, Pairs, Span
from deferq.codec.inert.text import MORE, dotted, text_of


class Part:
    """A node among texts."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node


#: Texts and nodes, to be printed one after the other.
Parts: TypeAlias = Sequence[str | Part]

#: Modules whose names everybody knows without them.
_SHORT = {
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "functools": {"partial"},
    "types": {"SimpleNamespace"},
    "zoneinfo": {"ZoneInfo"},
}
_BYTES_MAX, _BYTES_SHOWN = 1000, 200
_PATH_PARTS_MAX = 30
_UUID_KEYS_MAX = 3
_REBUILT_ARGS_MAX = 50


def short(name: Name) -> str:
    """How a class or function is called among people."""
    return name.qualname if name.qualname in _SHORT.get(name.module, ()) else name.shown


def known(made: Made, data: bytes) -> Parts | None:
    """What to print for it; None: it is nothing special."""
    if not isinstance(made.of, Name):
        return _zone(made, data)
    form = _FORMS.get(made.of.key) or (_path if made.of.module.startswith("pathlib") else None)
    args = _args(made)
    if form is None or args is None:
        return None
    try:
        return form(made, args, data)
    except (ValueError, TypeError, OverflowError):  # it is none after all
        return None


def _args(made: Made) -> list[Node] | None:
    """Its arguments, if all of them are there and there are no others."""
    args = made.args
    if made.kwargs is not None or not isinstance(args, Items) or args.count != len(args.kept):
        return None
    return args.kept


def _is_plain(made: Made) -> bool:
    """Whether nothing was added to it."""
    return made.by == "call" and made.items is None and made.pairs is None and made.states is None


Form: TypeAlias = Callable[[Made, list[Node], bytes], "Parts | None"]


# ---- dates and times


def _datetime(made: Made, args: list[Node], data: bytes) -> Parts | None:
    raw = _bytes(args[0], data) if 1 <= len(args) <= 2 else None
    if raw is None or len(raw) != 10 or not _is_plain(made):
        return None
    year, month, micros = raw[0] * 256 + raw[1], raw[2] & 0x7F, int.from_bytes(raw[7:], "big")
    moment = datetime(year, month, raw[3], raw[4], raw[5], raw[6], micros)
    return _with_zone("datetime", str(moment), args[1:], data)


def _time(made: Made, args: list[Node], data: bytes) -> Parts | None:
    raw = _bytes(args[0], data) if 1 <= len(args) <= 2 else None
    if raw is None or len(raw) != 6 or not _is_plain(made):
        return None
    moment = time(raw[0] & 0x7F, raw[1], raw[2], int.from_bytes(raw[3:], "big"))
    return _with_zone("time", str(moment), args[1:], data)


def _with_zone(kind: str, moment: str, zone: list[Node], data: bytes) -> Parts:
    if not zone or zone == [None]:
        return (f"{kind}({moment})",)
    offset = _offset(zone[0])
    return (f"{kind}({moment}{offset})",) if offset else (f"{kind}({moment} ", Part(zone[0]), ")")


def _offset(zone: Node) -> str | None:
    """`+02:00`, for a zone that is nothing more."""
    if not isinstance(zone, Made) or not isinstance(zone.of, Name) or zone.of.key != "datetime.timezone":
        return None
    args = _args(zone)
    if args is None or len(args) != 1 or not isinstance(args[0], Made) or not _is_plain(zone):
        return None
    delta = _delta(args[0])
    return None if delta is None else datetime(2000, 1, 1, tzinfo=timezone(delta)).isoformat()[19:]


def _zone(made: Made, data: bytes) -> Parts | None:
    """`ZoneInfo._unpickle(key, 1)`."""
    method, args = made.of, _args(made)
    if not isinstance(method, Made) or not isinstance(method.of, Name) or method.of.key != "builtins.getattr":
        return None
    path = _args(method)
    if path is None or len(path) != 2 or args is None or len(args) != 2 or not _is_plain(made):
        return None
    is_zone = isinstance(path[0], Name) and path[0].key == "zoneinfo.ZoneInfo" and text_of(data, path[1]) == "_unpickle"
    key = text_of(data, args[0])
    return (f"ZoneInfo({key!r})",) if is_zone and key is not None else None


def _date(made: Made, args: list[Node], data: bytes) -> Parts | None:
    raw = _bytes(args[0], data) if len(args) == 1 else None
    if raw is None or len(raw) != 4 or not _is_plain(made):
        return None
    return (f"date({date(raw[0] * 256 + raw[1], raw[2], raw[3])})",)


def _timedelta(made: Made, args: list[Node], data: bytes) -> Parts | None:
    delta = _delta(made)
    return None if delta is None else (f"timedelta({delta})",)


def _delta(made: Made) -> timedelta | None:
    args = _args(made)
    known = isinstance(made.of, Name) and made.of.key == "datetime.timedelta" and _is_plain(made)
    if not known or args is None or len(args) > 3 or not all(type(arg) is int for arg in args):
        return None
    return timedelta(*args)  # type: ignore[arg-type]


# ---- other values


def _uuid(made: Made, args: list[Node], data: bytes) -> Parts | None:
    states = made.states
    if made.by != "new" or args or not isinstance(states, Items) or len(states.kept) != 1:
        return None
    state = states.kept[0]
    for key, value in islice(state, _UUID_KEYS_MAX) if isinstance(state, Pairs) else ():
        if text_of(data, key) == "int" and type(value) is int:
            return (f"UUID({str(UUID(int=value))!r})",)
    return None


def _path(made: Made, args: list[Node], data: bytes) -> Parts | None:
    texts = [text_of(data, arg) for arg in args]
    if not args or len(args) > _PATH_PARTS_MAX or None in texts or not _is_plain(made):
        return None
    parts = [text for text in texts if text is not None]
    root = parts.pop(0) if parts[0].endswith(("/", "\\")) else ""
    between = "\\" if "Windows" in made.of.qualname else "/"  # type: ignore[union-attr]
    return (f"{made.of.qualname}({root + between.join(parts)!r})",)  # type: ignore[union-attr]


def _attribute(made: Made, args: list[Node], data: bytes) -> Parts | None:
    """How pickle finds what lies inside a class: the member of an Enum, a class method."""
    if len(args) != 2 or not isinstance(args[0], Name) or not args[0].key.strip(".") or not _is_plain(made):
        return None
    name = text_of(data, args[1])
    return None if name is None else (dotted(args[0].module, f"{args[0].qualname}.{name}"),)


def _encoded(made: Made, args: list[Node], data: bytes) -> Parts | None:
    """How protocols 0 to 2 write bytes."""
    raw = _bytes(made, data)
    if raw is None:
        return None
    return (repr(raw) if len(raw) <= _BYTES_SHOWN else f"{raw[:_BYTES_SHOWN]!r}{MORE} ({len(raw):,} bytes in all)",)


def _bytes(node: Node, data: bytes) -> bytes | None:
    if isinstance(node, Span):
        fits = node.form == "bytes" and node.end - node.start <= _BYTES_MAX
        return data[node.start : node.end] if fits else None
    if not isinstance(node, Made) or not isinstance(node.of, Name) or node.of.key != "_codecs.encode":
        return None
    args = _args(node)
    if args is None or len(args) != 2 or text_of(data, args[1]) != "latin1" or not _is_plain(node):
        return None
    text = text_of(data, args[0], _BYTES_MAX)
    return None if text is None else text.encode("latin1")


# ---- collections


def _set(made: Made, args: list[Node], data: bytes) -> Parts | None:
    """How protocols 0 to 3 write sets."""
    inner = args[0] if len(args) == 1 else None
    if not isinstance(inner, Items) or inner.form != "list" or not _is_plain(made):
        return None
    items = Items("frozenset" if made.of.qualname == "frozenset" else "set")  # type: ignore[union-attr]
    items.kept, items.count = inner.kept, inner.count
    return (Part(items),)


def _ordered_dict(made: Made, args: list[Node], data: bytes) -> Parts | None:
    if made.by != "call" or args or made.items is not None or made.states is not None:
        return None
    return ("OrderedDict(", Part(made.pairs), ")") if made.pairs is not None else ("OrderedDict()",)


def _default_dict(made: Made, args: list[Node], data: bytes) -> Parts | None:
    if made.by != "call" or len(args) != 1 or made.items is not None or made.states is not None:
        return None
    return ("defaultdict(", Part(args[0]), *((", ", Part(made.pairs)) if made.pairs is not None else ()), ")")


def _deque(made: Made, args: list[Node], data: bytes) -> Parts | None:
    empty = not args or (isinstance(args[0], Items) and not args[0].count)
    if made.by != "call" or not empty or len(args) > 2 or made.pairs is not None or made.states is not None:
        return None
    inside = ("[]",) if made.items is None else (Part(made.items),)
    return ("deque(", *inside, *((", ", Part(args[1])) if len(args) == 2 else ()), ")")


def _partial(made: Made, args: list[Node], data: bytes) -> Parts | None:
    state = made.states.kept[0] if isinstance(made.states, Items) and len(made.states.kept) == 1 else None
    if made.items is not None or made.pairs is not None or not isinstance(state, Items) or len(state.kept) != 4:
        return None
    function, positional, keywords, _ = state.kept
    call = Made("call", function, positional, keywords)
    return ("partial of ", Part(call))


# ---- objects of the first protocols


def _rebuilt(made: Made, args: list[Node], data: bytes) -> Parts | None:
    """`copyreg._reconstructor(cls, base, value)` and `copyreg.__newobj__(cls, *args)`."""
    if made.by != "call" or not 1 <= len(args) <= _REBUILT_ARGS_MAX:
        return None
    inner = Items("tuple")
    of_object = made.of.qualname == "_reconstructor"  # type: ignore[union-attr]
    inner.kept = [arg for arg in args[2:] if arg is not None] if of_object else args[1:]
    inner.count = len(inner.kept)
    rebuilt = Made("new", args[0], inner)
    rebuilt.items, rebuilt.pairs, rebuilt.states = made.items, made.pairs, made.states
    return (Part(rebuilt),)


_FORMS: dict[str, Form] = {
    "datetime.datetime": _datetime,
    "datetime.time": _time,
    "datetime.date": _date,
    "datetime.timedelta": _timedelta,
    "uuid.UUID": _uuid,
    "builtins.getattr": _attribute,
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "_codecs.encode": _encoded,
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _default_dict,
    "collections.deque": _deque,
    "functools.partial": _partial,
    "copyreg._reconstructor": _rebuilt,
    "copyreg.__newobj__": _rebuilt,
}
