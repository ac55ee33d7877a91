"""What everybody writes in one way is shown in that way: dates, decimals, paths, collections of the standard library.

It is recognised by its name alone and put together from checked numbers and texts; nothing of the payload runs.
"""

from __future__ import annotations

from itertools import islice
from uuid import UUID

from deferq.codec.inert import moments
from deferq.codec.inert.nodes import Items, Made, Name, Node, Pairs
from deferq.codec.inert.recognising import Form, Part, Parts, args_of, bytes_of, is_plain
from deferq.codec.inert.text import MORE, dotted, text_of

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
_BYTES_SHOWN = 200
#: The second module since Python 3.13.
_PATHS = [
    f"{module}.{flavour}Path"
    for module in ("pathlib", "pathlib._local")
    for flavour in ("Posix", "PurePosix", "Windows", "PureWindows")
]
_PATH_PARTS_MAX = 30
_UUID_KEYS_MAX = 3
_REBUILT_ARGS_MAX = 50


def short(name: Name) -> str:
    """How a class or function is called among people."""
    return name.qualname if name.qualname in _SHORT.get(name.module, ()) else name.shown


def known(made: Made, data: bytes) -> Parts | None:
    """What to print for it; None: it is nothing special."""
    if not isinstance(made.of, Name):
        return moments.zone_(made, data)
    form = _FORMS.get(made.of.key)
    args = args_of(made)
    if form is None or args is None:
        return None
    try:
        return form(made, args, data)
    except (ValueError, TypeError, OverflowError):  # it is none after all
        return None


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
    if not args or len(args) > _PATH_PARTS_MAX or None in texts or not is_plain(made):
        return None
    parts = [text for text in texts if text is not None]
    root = parts.pop(0) if parts[0].endswith(("/", "\\")) else ""
    between = "\\" if "Windows" in made.of.qualname else "/"  # type: ignore[union-attr]
    return (f"{made.of.qualname}({root + between.join(parts)!r})",)  # type: ignore[union-attr]


def _attribute(made: Made, args: list[Node], data: bytes) -> Parts | None:
    """How pickle finds what lies inside a class: the member of an Enum, a class method."""
    if len(args) != 2 or not isinstance(args[0], Name) or not args[0].key.strip(".") or not is_plain(made):
        return None
    name = text_of(data, args[1])
    return None if name is None else (dotted(args[0].module, f"{args[0].qualname}.{name}"),)


def _encoded(made: Made, args: list[Node], data: bytes) -> Parts | None:
    """How protocols 0 to 2 write bytes."""
    raw = bytes_of(made, data)
    if raw is None:
        return None
    return (repr(raw) if len(raw) <= _BYTES_SHOWN else f"{raw[:_BYTES_SHOWN]!r}{MORE} ({len(raw):,} bytes in all)",)


# ---- collections


def _set(made: Made, args: list[Node], data: bytes) -> Parts | None:
    """How protocols 0 to 3 write sets."""
    inner = args[0] if len(args) == 1 else None
    if not isinstance(inner, Items) or inner.form != "list" or not is_plain(made):
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
    **dict.fromkeys(_PATHS, _path),
    "datetime.datetime": moments.datetime_,
    "datetime.time": moments.time_,
    "datetime.date": moments.date_,
    "datetime.timedelta": moments.timedelta_,
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
