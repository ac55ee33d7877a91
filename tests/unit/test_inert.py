"""The inert reader shows genuine payloads: what `defer` stores for every kind of callable, and values of every kind."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import pickle
import sys
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from deferq.codec.codec import Codec
from deferq.codec.inert import FULL, Shown, show_body, show_call, show_result
from deferq.codec.payload import encode_call
from deferq.codec.signing import PICKLE, Keyring
from deferq.codec.targets import locate
from deferq.registry import Registry
from tests.unit import callables
from tests.unit.scripts import python, write

HERE = __name__
RING = Keyring(["a secret of the application"])


class Colour(enum.Enum):
    RED = 1


@dataclass
class User:
    name: str


@dataclass(slots=True)
class Point:
    x: int


class Words(list[str]):
    pass


class Rates(dict[str, float]):
    pass


class Key:
    """Made with arguments."""

    def __new__(cls, *parts: object, **named: object) -> Key:
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> tuple[tuple[object, ...], dict[str, object]]:
        return ("a", 1), {"strict": True}


class Connection:
    """Made by calling a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return connect, ("db.example", 5432)


def connect(host: str, port: int) -> Connection:
    raise AssertionError("nobody may call this")


def shown(*args: Any, **kwargs: Any) -> str:
    return show_body(encode_call(args, kwargs), 0, PICKLE).call("app.mail:send")


def stored(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """What `defer(fn, ...)` stores, shown."""
    located = locate(fn)
    envelope = Codec(RING, Registry()).encode(1, located, args, kwargs)
    return show_call(envelope).call(located.target)


def test_a_call_reads_as_it_was_written() -> None:
    assert shown(17, "Ann", user=User("Ann")) == f"send(17, 'Ann', user=<{HERE}.User {{name: 'Ann'}}>)"


@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (callables.plain, "plain(5)"),
        (callables.asynchronous, "asynchronous(5)"),
        (callables.Base(1).method, "Base.method(<tests.unit.callables.Base {number: 1}>, 5)"),
        (callables.Base.create, "Base.create(5)"),
        (callables.Base.static, "Base.static(5)"),
        (callables.Base.Inner.make, "Base.Inner.make(5)"),
        (callables.Adder(2), "Adder.__call__(<tests.unit.callables.Adder {number: 2}>, 5)"),
        (callables.Base, "Base(5)"),
        (functools.partial(callables.plain, 1, x=2), "plain(1, 5, x=2)"),
        ("a".join, "str.join('a', 5)"),
        (len, "len(5)"),
    ],
)
def test_every_kind_of_callable_is_shown_with_what_it_brings(fn: Callable[..., Any], says: str) -> None:
    assert stored(fn, 5) == says


def test_a_registered_object_is_named_and_not_described() -> None:
    assert show_call(RING.seal("payload", 1, "@user:add", encode_call((5,), {}))).call("@user:add") == "@user:add(5)"


VALUES = [
    (None, "None"),
    (True, "True"),
    (-5, "-5"),
    (2**70, "1180591620717411303424"),
    (1.5, "1.5"),
    (float("nan"), "nan"),
    ("Ann", "'Ann'"),
    ("", "''"),
    ("it's", '"it\'s"'),
    (b"\x00x", r"b'\x00x'"),
    (bytearray(b"x"), "bytearray(b'x')"),
    ([1, [2]], "[1, [2]]"),
    ((1,), "(1,)"),
    ((), "()"),
    ({}, "{}"),
    ({"a": 1, 2: None}, "{'a': 1, 2: None}"),
    ({1}, "{1}"),
    (set(), "set()"),
    (frozenset({1}), "frozenset({1})"),
    (dt.datetime(2026, 11, 21, 9, 52, 29), "datetime(2026-11-21 09:52:29)"),
    (dt.datetime(2026, 11, 21, 9, 52, tzinfo=dt.UTC), "datetime(2026-11-21 09:52:00+00:00)"),
    (dt.datetime(2026, 11, 21, tzinfo=zoneinfo.ZoneInfo("UTC")), "datetime(2026-11-21 00:00:00 ZoneInfo('UTC'))"),
    (dt.datetime(2026, 10, 25, 2, 30, fold=1), "datetime(2026-10-25 02:30:00)"),
    (dt.date(2026, 11, 21), "date(2026-11-21)"),
    (dt.time(9, 52), "time(09:52:00)"),
    (dt.timedelta(days=1, seconds=5), "timedelta(1 day, 0:00:05)"),
    (Decimal("1.50"), "Decimal('1.50')"),
    (Fraction(1, 2), "Fraction(1, 2)"),
    (uuid.UUID(int=5), "UUID('00000000-0000-0000-0000-000000000005')"),
    (PurePosixPath("/tmp/x"), "PurePosixPath('/tmp/x')"),
    (OrderedDict(a=1), "OrderedDict({'a': 1})"),
    (OrderedDict(), "OrderedDict()"),
    (defaultdict(list, a=[1]), "defaultdict(list, {'a': [1]})"),
    (deque([1, 2], 5), "deque([1, 2], 5)"),
    (Counter("aab"), "Counter({'a': 2, 'b': 1})"),
    (User("Ann"), f"<{HERE}.User {{name: 'Ann'}}>"),
    (functools.partial(print, 1), "partial of print(1)"),
    (range(3), "range(0, 3, 1)"),
    (ValueError("no"), "ValueError('no')"),
    (len, "len"),
    (User, f"{HERE}.User"),
    (Connection(), f"{HERE}.connect('db.example', 5432)"),
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(("value", "says"), VALUES, ids=[says for _, says in VALUES])
def test_a_value_looks_the_same_in_every_protocol(value: object, says: str, protocol: int) -> None:
    seen = show_body(pickle.dumps(((value,), {}), protocol), 0, PICKLE)

    assert (seen.args, seen.problems, seen.cut) == ((says,), (), False)


def test_members_of_an_enum_name_their_class() -> None:
    assert shown(Colour.RED) in (f"send({HERE}.Colour(1))", f"send({HERE}.Colour.RED)")  # versions of Python differ


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Point(3), f"<{HERE}.Point {{x: 3}}>"),
        (Words(["a", "b"]), f"<{HERE}.Words ['a', 'b']>"),
        (Rates(a=1.0), f"<{HERE}.Rates {{'a': 1.0}}>"),
        (Key(), f"{HERE}.Key"),
        (str.upper, "str.upper"),
        (User("x").__init__, "getattr"),
    ],
    ids=["slots", "list", "dict", "newargs", "method", "bound"],
)
def test_objects_show_what_they_hold(value: object, says: str, protocol: int) -> None:
    seen = show_body(pickle.dumps(((value,), {}), protocol), 0, PICKLE)

    assert says in seen.args[0]
    assert not seen.problems


def test_objects_made_with_named_arguments_show_them() -> None:
    assert shown(Key()) == f"send(<{HERE}.Key('a', 1, **{{'strict': True}})>)"


def test_what_is_in_there_twice_is_shown_once() -> None:
    ann = User("Ann")

    assert shown(ann, [ann]) == f"send(#1=<{HERE}.User {{name: 'Ann'}}>, [#1])"


def test_a_list_that_holds_itself_says_so() -> None:
    ring: list[object] = [1]
    ring.append(ring)

    assert shown(ring) == "send(#1=[1, #1])"


def test_a_tuple_that_holds_itself_says_so_and_nothing_is_thought_to_be_thrown_away() -> None:
    inside: list[object] = [Connection()]
    ring = (inside,)
    inside.append(ring)

    seen = show_body(pickle.dumps(((ring,), {})), 0, PICKLE)

    assert seen.args[0].count("connect(") == 1
    assert not seen.besides


def test_keys_that_are_no_names_stand_in_quotes() -> None:
    assert shown(**{"a b": 1, "c": 2}) == "send('a b'=1, c=2)"


def test_what_is_carried_along_is_shown_apart() -> None:
    seen = show_body(encode_call((1,), {}, {"language": "de"}), 0, PICKLE)

    assert (seen.args, seen.carried) == (("1",), (("language", "'de'"),))


def test_what_restoring_it_would_import_is_listed() -> None:
    assert show_body(encode_call((User("Ann"), Decimal(1)), {}), 0, PICKLE).imports == (
        f"{HERE}.User",
        "decimal.Decimal",
    )


def test_classes_of_a_script_have_the_name_a_worker_knows(tmp_path: Path) -> None:
    write(
        tmp_path,
        shop="""
        from dataclasses import dataclass
        from deferq.codec.payload import encode_call

        @dataclass
        class User:
            name: str

        if __name__ == "__main__":
            print(encode_call((User("Ann"),), {}).hex())
        """,
    )
    body = bytes.fromhex(python(tmp_path, "shop.py"))

    seen = show_body(body, 0, PICKLE)

    assert (seen.args, seen.imports, seen.problems) == (("<shop.User {name: 'Ann'}>",), ("shop.User",), ())


def test_a_result_is_shown_as_it_is() -> None:
    seen = show_result(Codec(RING, Registry()).seal_result(1, "app:f", {"sent": [1, 2]}))

    assert (seen.value, seen.problems) == ("{'sent': [1, 2]}", ())


def test_long_things_are_shortened_and_say_how_long_they_are() -> None:
    seen = show_body(encode_call((list(range(1000)), "x" * 1000, b"y" * 1000), {"last": 1}), 0, PICKLE)

    assert seen.cut
    assert seen.args[0].endswith("49, … 950 more]")
    assert seen.args[1].endswith("x'… (1,000 bytes in all)")
    assert seen.args[2].endswith("y'… (1,000 bytes in all)")
    assert seen.kwargs == (("last", "1"),)


def test_more_is_shown_where_more_is_asked_for() -> None:
    body = encode_call((list(range(1000)), "x" * 1000, b"y" * 1000), {})

    seen = show_body(body, 0, PICKLE, FULL)

    assert not seen.cut
    assert seen.args == (repr(list(range(1000))), repr("x" * 1000), repr(b"y" * 1000))


def test_one_long_argument_leaves_room_for_the_others() -> None:
    seen = show_body(encode_call(([["x" * 150] * 50] * 50, "Ann"), {"user": User("Ann")}), 0, PICKLE)

    assert seen.args[0].endswith("…")
    assert (seen.args[1], seen.kwargs) == ("'Ann'", (("user", f"<{HERE}.User {{name: 'Ann'}}>"),))


def test_arguments_after_a_huge_one_are_shown() -> None:
    seen = show_body(encode_call((list(map(str, range(60_000))), [User("Ann")]), {}), 0, PICKLE)

    assert seen.args[0].endswith("… 59,950 more]")
    assert seen.args[1] == f"[<{HERE}.User {{name: 'Ann'}}>]"


def test_nothing_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, never="raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    before = dict(sys.modules)

    seen = show_body(b"cnever\nClass\n)R.", 0, PICKLE)

    assert seen.value == "never.Class()"
    assert dict(sys.modules) == before


def is_nothing(seen: Shown) -> bool:
    return not (seen.args or seen.kwargs)


@pytest.mark.parametrize(
    ("envelope", "says"),
    [
        (None, "there is no payload"),
        (b"", "not an envelope"),
        (b"\x80\x05N.", "not an envelope"),
        (b"DQ\x02p" + bytes(40), "version 2"),
        (b"DQ\x01\xff" + bytes(40), "codec 0xff"),
        (b"DQ\x01p" + bytes(36), "ends too early"),
        (b"DQ\x01p" + bytes(36) + b"K\x01.", "no arguments of a call"),
    ],
)
def test_what_is_no_stored_call_says_what_is_wrong(envelope: bytes | None, says: str) -> None:
    seen = show_call(envelope)

    assert says in seen.problems[0]
    assert is_nothing(seen)


def test_half_a_payload_is_shown_as_far_as_it_goes() -> None:
    body = encode_call((17, "Ann"), {"subject": "hello"})

    seen = show_body(body[:-12], 0, PICKLE)

    assert "17" in (seen.value or "")
    assert "'Ann'" in (seen.value or "")
    assert any(f"of {len(body) - 12}: " in problem for problem in seen.problems)
