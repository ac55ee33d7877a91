"""What strict JSON does not store is refused at the call, with the path to it and what to do (B7 to B15)."""

from __future__ import annotations

import collections
import decimal
import enum
import io
import math
import socket
import sqlite3
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from deferq.codec.codec import Codec
from deferq.codec.signing import Keyring
from deferq.codec.strictjson import sheet
from deferq.codec.strictjson.shape import ALIKE_MAX
from deferq.codec.targets import locate
from deferq.codec.typecodecs import add_codec
from deferq.errors import CallError, NotSerializable, PayloadTooComplex, PayloadTooDeep, PayloadTooLargeError
from deferq.registry import Registry
from tests.strictjson.values import Color, Money, Point, Span, registry, strict
from tests.unit import callables

STRICT = strict()


class Kind(enum.Enum):
    ONE = 1


class Text(str): ...


class Number(enum.IntEnum):
    ONE = 1


@dataclass
class Order:
    number: int


class Pair(NamedTuple):
    a: int
    b: int


class Plain:
    lock = "of the class"


class Hostile:
    """Nothing of it can be called."""

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Odd(tzinfo):
    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(hours=1)


def refused(value: Any, kind: type[CallError] = NotSerializable) -> Any:
    with pytest.raises(CallError) as caught:
        STRICT.encode_call((value,), {})
    assert type(caught.value) is kind
    return caught.value


def generator() -> Iterator[int]:
    yield 1


async def coroutine() -> None: ...


WITH_ADVICE: list[tuple[str, Callable[[], Any], str, str]] = [
    ("B7 open file", tempfile.TemporaryFile, "_io.BufferedRandom", "pass its path"),
    ("B7 socket", socket.socket, "socket.socket", "pass the address"),
    ("B7 lock", threading.Lock, "_thread.lock", "make it in the task"),
    ("B7 generator", generator, "generator", "pass a list"),
    ("B7 connection", lambda: sqlite3.connect(":memory:"), "sqlite3.Connection", "pass the key"),
    ("B7 module", lambda: sys, "module", "import it in the task"),
    ("a lambda", lambda: lambda: 1, "function", "a lambda has no stable name"),
    ("a function", lambda: generator, "function", "strict JSON stores no functions"),
    ("a built-in function", lambda: len, "builtin_function_or_method", "strict JSON stores no functions"),
    ("a method", lambda: Path("a").exists, "method", "strict JSON stores no functions"),
    ("a class", lambda: Order, "type", "strict JSON stores no classes"),
    ("B8 NaN", lambda: math.nan, "float", "not a finite number"),
    ("B8 infinity", lambda: -math.inf, "float", "not a finite number"),
    ("B8 1e400", lambda: 1e400, "float", "not a finite number"),
    ("B8 decimal NaN", lambda: decimal.Decimal("NaN"), "decimal.Decimal", "not a finite number"),
    ("B8 decimal sNaN", lambda: decimal.Decimal("sNaN"), "decimal.Decimal", "not a finite number"),
    ("B8 decimal infinity", lambda: decimal.Decimal("Infinity"), "decimal.Decimal", "not a finite number"),
    ("B9 2^63", lambda: 2**63, "int", r"-2\^63 to 2\^63 - 1; pass its text"),
    ("B9 below", lambda: -(2**63) - 1, "int", r"-2\^63 to 2\^63 - 1; pass its text"),
    ("B9 5,000 digits", lambda: 10**5000, "int", r"-2\^63 to 2\^63 - 1; pass its text"),
    ("B11 lone surrogate", lambda: "a\ud800", "str", "half of a surrogate pair"),
    ("B11 NUL", lambda: "a\0b", "str", "NUL"),
    ("a subclass of str", lambda: Text("a"), f"{__name__}.Text", r"would come back as a plain str; pass str\(\.\.\.\)"),
    ("OrderedDict", lambda: collections.OrderedDict(a=1), "collections.OrderedDict", r"pass dict\(\.\.\.\) of it"),
    ("defaultdict", lambda: collections.defaultdict(int), "collections.defaultdict", r"pass dict\(\.\.\.\) of it"),
    ("Counter", lambda: collections.Counter("a"), "collections.Counter", r"pass dict\(\.\.\.\) of it"),
    ("an Enum", lambda: Kind.ONE, f"{__name__}.Kind", r"call register_codec\(Kind\)"),
    ("an IntEnum", lambda: Number.ONE, f"{__name__}.Number", r"call register_codec\(Number\)"),
    ("a dataclass", lambda: Order(1), f"{__name__}.Order", r"call register_codec\(Order\)"),
    ("a NamedTuple", lambda: Pair(1, 2), f"{__name__}.Pair", r"call register_codec\(Pair\)"),
    ("any object", Plain, f"{__name__}.Plain", r"register_codec\(Plain, tag, encode, decode\)"),
    ("object()", object, "object", "pass plain values"),
    ("B17 an object that does nothing", Hostile, f"{__name__}.Hostile", "pass plain values"),
    ("bytearray", lambda: bytearray(b"a"), "bytearray", r"pass bytes\(\.\.\.\)"),
    ("memoryview", lambda: memoryview(b"a"), "memoryview", r"pass bytes\(\.\.\.\)"),
    ("range", lambda: range(3), "range", r"pass list\(\.\.\.\)"),
    ("deque", collections.deque, "collections.deque", r"pass list\(\.\.\.\)"),
    ("complex", lambda: 1j, "complex", "pass plain values"),
    ("a path", lambda: Path("a"), "pathlib", "pass plain values"),
    ("another time zone", lambda: datetime.min.replace(tzinfo=Odd()), "datetime", r"zone is a .*Odd; use datetime.UTC"),
    ("another zone of a time", lambda: time(tzinfo=Odd()), "datetime.time", r"its time zone is a .*Odd"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "type_name", "advice"), [pytest.param(*case[1:], id=case[0]) for case in WITH_ADVICE])
def test_what_is_not_stored_is_named_with_its_path_and_the_fix(
    make: Callable[[], Any], type_name: str, advice: str
) -> None:
    value = make()
    with pytest.raises(NotSerializable, match=advice) as caught:
        STRICT.encode_call((0, {"user": [value]}), {})
    assert caught.value.path == "args[1]['user'][0]"
    assert str(caught.value).startswith("args[1]['user'][0] cannot be stored: ")
    assert caught.value.type_name.startswith(type_name)
    if hasattr(type(value), "close"):
        value.close()


def test_a_zone_that_is_not_the_one_of_its_key_is_refused_where_that_would_show() -> None:
    berlin = ZoneInfo.no_cache("Europe/Berlin")
    ambiguous = datetime(2026, 10, 25, 2, 30, tzinfo=berlin)
    assert "its zone is not the one" in str(refused(ambiguous))
    plain = datetime(2026, 1, 1, tzinfo=berlin)
    assert STRICT.decode_call(STRICT.encode_call((plain,), {}))[0] == (plain,)


@pytest.mark.parametrize("key", ["My.Zone", "Nowhere/Zone", "Europe/Berlin", "a" * 200])
@pytest.mark.parametrize("kind", ["datetime", "time"])
def test_a_zone_made_from_a_file_of_its_own_is_refused_and_does_not_come_back_as_another(key: str, kind: str) -> None:
    """One hour east of Greenwich, all year round, whatever its key says."""
    leap, transitions, types = 0, 0, 1
    header = b"TZif" + b"\0" * 16 + struct.pack(">6l", 0, 0, leap, transitions, types, 4)
    zone = ZoneInfo.from_file(io.BytesIO(header + struct.pack(">lbb", 3600, 0, 0) + b"ONE\0"), key=key)
    value = datetime(2026, 7, 1, 12, tzinfo=zone) if kind == "datetime" else time(12, tzinfo=zone)
    assert "its zone is not the one" in str(refused(value))


def test_an_item_whose_hash_raises_is_refused_in_words() -> None:
    class Unsteady:
        steady = True

        def __hash__(self) -> int:
            if not self.steady:
                raise RuntimeError("not now")
            return 1

    items = {Unsteady(), *range(ALIKE_MAX)}
    Unsteady.steady = False
    assert "hashing one of its items raised RuntimeError" in str(refused(items))


def test_the_path_leads_through_all_that_holds_values() -> None:
    lock = threading.Lock()
    cases: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((lock,), {}, "args[0]"),
        ((1, [2, (3, lock)]), {}, "args[1][1][1]"),
        ((), {"user": {"x": lock}}, "kwargs['user']['x']"),
        (({"a": {"$x": lock}},), {}, "args[0]['a']['$x']"),
        (({(1, decimal.Decimal("NaN"))},), {}, "args[0]{item 0}[1]"),
        (({"a": 1, 2: 3},), {}, "args[0]{key 1}"),
        (({"a": {("b",): 3}},), {}, "args[0]['a']{key 0}"),
        (({"a\0": 1},), {}, "args[0]{key 0}"),
        ((Point(1, [lock]),), {}, "args[0].y[0]"),
        ((Span(lock, 1),), {}, "args[0].first"),
        ((Point(Point(1, lock)),), {}, "args[0].x.y"),
        ((Money(lock),), {}, "args[0]{encoded}"),  # type: ignore[arg-type]
    ]
    for args, kwargs, path in cases:
        with pytest.raises(NotSerializable) as caught:
            STRICT.encode_call(args, kwargs)
        assert caught.value.path == path


def test_what_comes_with_the_callable_and_what_is_carried_have_names_of_their_own() -> None:
    lock = threading.Lock()
    for args, context, path in [
        ((lock, 1), None, "bound[0]"),
        ((1, lock), None, "args[0]"),
        ((), {"a": lock}, "carry['a']"),
    ]:
        with pytest.raises(NotSerializable) as caught:
            STRICT.encode_call(args, {}, context, bound=1)
        assert caught.value.path == path
    with pytest.raises(NotSerializable, match=r"^result\[0\] cannot be stored"):
        STRICT.encode_result([lock])


def test_an_instance_or_an_argument_of_a_partial_has_to_be_known_like_any_other() -> None:
    codec = Codec(Keyring(["a secret of the application"]), Registry(), payload="json")
    for fn, path in [(callables.Base(40).method, "bound[0]"), (partial(callables.plain, object()), "bound[0]")]:
        with pytest.raises(NotSerializable, match=r"register_codec|plain values") as caught:
            codec.encode(1, locate(fn), (), {})
        assert caught.value.path == path


# ---- too much


def nested(levels: int, make: Callable[[Any], Any] = lambda inner: [inner]) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = make(value)
    return value


@pytest.mark.parametrize("levels", [65, 5_000, 100_000])
def test_nesting_is_refused_whatever_the_stack_would_take(levels: int) -> None:
    error = refused(nested(levels), PayloadTooDeep)
    assert error.path == "args[0]"
    assert "more than 64 levels deep" in str(error)


@pytest.mark.parametrize("make", [lambda inner: {"a": inner}, lambda inner: (inner,), lambda inner: Point(inner)])
def test_every_kind_of_container_is_a_level(make: Callable[[Any], Any]) -> None:
    refused(nested(65, make), PayloadTooDeep)


def test_a_million_lists_are_refused() -> None:
    error = refused([[]] * 1_000_000, PayloadTooComplex)
    assert error.path == "args[0]"
    assert "with it there are more than 100,000 values" in str(error)


def test_whatever_would_become_too_many_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "NODES_MAX", 1000)
    doubled: Any = []
    for _ in range(60):
        doubled = [doubled, doubled]
    for value in [doubled, {f"${number}": number for number in range(501)}, set(range(1000)), [0] * 1000]:
        refused(value, PayloadTooComplex)
    with pytest.raises(PayloadTooComplex, match=r"^kwargs\['x'\] cannot be stored: "):
        STRICT.encode_call(([0] * 999,), {"x": 1})
    with pytest.raises(PayloadTooComplex, match=r"^result cannot be stored"):
        STRICT.encode_result([0] * 1000)


def test_a_set_of_numbers_that_all_have_the_same_hash_is_refused() -> None:
    """To make it takes quadratic time: such numbers may come from somebody who wants that."""
    alike = {decimal.Decimal(number * (2**61 - 1)) for number in range(65)}
    assert len({hash(number) for number in alike}) == 1
    assert "have the same hash" in str(refused(alike))
    assert "have the same hash" in str(refused({(frozenset(alike), 1)}))
    alike.pop()
    assert STRICT.decode_call(STRICT.encode_call((alike,), {}))[0] == (alike,)


def test_what_contains_itself_is_refused() -> None:
    itself: list[Any] = [1]
    itself.append({"again": (itself,)})
    assert "contains itself" in str(refused(itself))
    entry: dict[str, Any] = {}
    entry["self"] = entry
    assert refused(entry).path == "args[0]['self']"


def test_the_same_list_twice_is_no_circle_and_becomes_two() -> None:
    shared = [1]
    (again,) = STRICT.decode_call(STRICT.encode_call(([shared, shared],), {}))[0]
    assert again == [[1], [1]]
    assert again[0] is not again[1]


def test_size_is_limited_and_known_before_all_of_it_was_written() -> None:
    small = strict(size_max=1000)
    with pytest.raises(PayloadTooLargeError, match=r"^arguments: at least 1,\d\d\d bytes, and at most 1,000") as caught:
        small.encode_call(([1_000_000] * 500,), {})
    assert caught.value.limit == 1000
    assert caught.value.size > 1000
    assert small.encode_call(("x" * 991,), {}) == b'[["' + b"x" * 991 + b'"],{}]'
    for value in ["x" * 1001, b"x" * 1000, ["x" * 200] * 6, {"x" * 1001: 1}]:
        with pytest.raises(PayloadTooLargeError):
            small.encode_call((value,), {})
    with pytest.raises(PayloadTooLargeError, match=r"^result: "):
        small.encode_result("x" * 1001)


def test_one_large_text_that_is_there_many_times_is_not_written_many_times() -> None:
    """50,000 times 1 MB: it would be 50 GB."""
    with pytest.raises(PayloadTooLargeError):
        STRICT.encode_call((["x" * 1_000_000] * 50_000,), {})


def test_the_size_is_that_of_the_bytes() -> None:
    codec = Codec(Keyring(["a secret of the application"]), Registry(), payload="json", payload_limit=100)
    with pytest.raises(PayloadTooLargeError, match="arguments: 105 bytes, and at most 100"):
        codec.encode(1, locate(callables.plain), ("ä" * 48,), {})


# ---- functions of the application that are wrong


def odd_registry(encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> Registry:
    known = Registry()
    add_codec(known, Money, "money", encode, decode)
    return known


def _raise(_: Any) -> Any:
    raise ZeroDivisionError("hunter2")


WRONG: list[tuple[str, Callable[[Any], Any], Callable[[Any], Any], str]] = [
    ("encode raises", _raise, Money, "encoding it raised ZeroDivisionError"),
    ("decode raises", lambda money: money.cents, _raise, "reading it back .* raised ZeroDivisionError"),
    ("decode exits", lambda money: money.cents, sys.exit, "reading it back from what was encoded raised SystemExit"),
    ("another value", lambda money: 0, Money, "does not equal"),
    ("another type", lambda money: money.cents, int, "reading it back .* raised PayloadCorrupt"),
    ("itself", lambda money: money, Money, "contains itself"),
    ("what is not stored", lambda money: object(), Money, "strict JSON knows no object"),
]  # fmt: skip


@pytest.mark.parametrize(("encode", "decode", "message"), [pytest.param(*case[1:], id=case[0]) for case in WRONG])
def test_a_registered_type_that_would_not_come_back_is_refused_at_the_call(
    encode: Callable[[Any], Any], decode: Callable[[Any], Any], message: str
) -> None:
    wrong = strict(odd_registry(encode, decode))
    with pytest.raises(NotSerializable, match=message) as caught:
        wrong.encode_call(([Money(7)],), {})
    assert caught.value.path.startswith("args[0][0]")
    assert "hunter2" not in str(caught.value)


def test_a_field_that_a_dataclass_does_not_take_back_is_noticed() -> None:
    @dataclass
    class Forgetful:
        kept: int
        lost: int = 0

        def __post_init__(self) -> None:
            self.lost = 0

    known = Registry()
    add_codec(known, Forgetful, "forgetful")
    again = Forgetful(1)
    again.lost = 2
    with pytest.raises(NotSerializable, match="does not equal"):
        strict(known).encode_result(again)


def test_a_type_in_a_type_is_tried_once_and_in_what_was_written() -> None:
    """Not on the very dict that `encode` gave: a decode that changes it would change the caller's object."""

    class Bag:
        def __init__(self, items: dict[str, Any]) -> None:
            self.items = items

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Bag) and other.items == self.items

        __hash__ = None  # type: ignore[assignment]

    made = []

    def decode(items: dict[str, Any]) -> Bag:
        made.append(items)
        items["color"] = items.pop("color")
        return Bag(items)

    known = registry()
    add_codec(known, Bag, "bag", lambda bag: bag.items, decode)
    bag = Bag({"color": Color.RED, "bag": Bag({"color": 1})})
    strict(known).encode_result([bag])
    assert len(made) == 2
    assert all(items is not bag.items for items in made)


def test_nothing_is_stored_of_a_call_that_is_refused_in_the_middle() -> None:
    before = datetime.now(UTC)
    for _ in range(2):  # a writer keeps nothing of one call for the next
        refused([before, {1}, nested(100)], PayloadTooDeep)
    assert STRICT.decode_call(STRICT.encode_call((before,), {}))[0] == (before,)
