"""The values that strict JSON stores, as a strategy, and types of an application that are registered."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from deferq.codec.strictjson.calls import StrictJson
from deferq.codec.typecodecs import add_codec
from deferq.registry import Registry

SIZE_MAX = 1024 * 1024


class Color(enum.Enum):
    RED = "r"
    BLUE = object()  # its value could not be stored


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Point:
    x: Any
    y: Any = 0


@dataclass
class Counted:
    items: list[Any]
    count: int = field(init=False)

    def __post_init__(self) -> None:
        self.count = len(self.items)


class Span(NamedTuple):
    first: Any
    last: Any


class Money:
    """Has equality, and no fields that could be guessed."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self) -> int:
        return hash(self.cents)


class Token:
    """Has no equality of its own."""

    def __init__(self, text: str) -> None:
        self.text = text


def registry() -> Registry:
    """One that knows the types above."""
    known = Registry()
    for kind in (Color, Level, Right, Point, Counted, Span):
        add_codec(known, kind, kind.__name__)
    add_codec(known, Money, "money", lambda money: money.cents, Money)
    add_codec(known, Token, "token", lambda token: token.text, Token)
    return known


def strict(known: Registry | None = None, size_max: int = SIZE_MAX) -> StrictJson:
    """A codec that knows the types above."""
    return StrictJson(registry() if known is None else known, size_max)


_STRICT = strict()

# ---- strategies

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
#: Keys that look like tags, too.
KEYS = (
    TEXT
    | st.sampled_from(["$", "@", "$tuple", "$dict", "$date", "@Point", "@", "$$", "@@x", "a$"])
    | TEXT.map("$".__add__)
)

_OFFSETS = st.timedeltas(timedelta(hours=-23, minutes=-59, seconds=-59), timedelta(hours=23, minutes=59, seconds=59))
ZONES = (
    st.none()
    | st.just(UTC)
    | st.builds(timezone, _OFFSETS)
    | st.builds(timezone, _OFFSETS, TEXT | st.sampled_from(["CET", "", "]", "[fold=1]", "a]b[", "UTC", "UTC+01:00"]))
    | st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "UTC", "Etc/GMT+5"]).map(ZoneInfo)
)  # fmt: skip
_WALL = st.datetimes() | st.datetimes(datetime(2026, 10, 25, 0), datetime(2026, 10, 25, 4)) | st.sampled_from(
    [datetime.min, datetime.max, datetime(2026, 3, 29, 2, 30), datetime(2026, 10, 25, 2, 30)]
)  # fmt: skip


def _placed(moment: Any, zone: Any, fold: int) -> Any:
    return moment.replace(tzinfo=zone, fold=fold)


DATETIMES = st.builds(_placed, _WALL, ZONES, st.sampled_from([0, 1]))
TIMES = st.builds(_placed, st.times() | st.sampled_from([time.min, time.max]), ZONES, st.sampled_from([0, 1]))

HASHABLE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.binary(max_size=20)
    | DATETIMES
    | TIMES
    | st.dates()
    | st.timedeltas()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
    | st.sampled_from([*Color, *Level, *Right, Right.READ | Right.WRITE, Right(0)])
    | st.integers(0, 9).map(Money)
)


def _hashable_containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(frozenset)
        | st.builds(Point, inner, inner)
        | st.builds(Span, inner, inner)
    )


ITEMS = st.recursive(HASHABLE, _hashable_containers, max_leaves=5)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(st.tuples(KEYS, inner), max_size=4).map(dict)
        | st.lists(ITEMS, max_size=4).map(set)
        | st.builds(Point, inner, inner)
        | st.builds(Counted, st.lists(inner, max_size=3))
        | st.builds(Span, inner, inner)
    )


VALUES = st.recursive(ITEMS, _containers, max_leaves=20)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down. Sets are compared as what they are written as."""
    if type(one) is not type(other):
        return False
    kind = type(one)
    if kind in (list, tuple, Span):
        return len(one) == len(other) and all(map(same, one, other))
    if kind is dict:
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if kind in (set, frozenset):
        return bool(one == other) and _STRICT.encode_result(one) == _STRICT.encode_result(other)
    if kind in (Point, Counted):
        return same(vars(one), vars(other))
    if kind is float:
        return one.hex() == other.hex()
    if kind in (datetime, time):
        return bool(one == other) and one.fold == other.fold and one.tzname() == other.tzname()
    return bool(one == other)
