"""`register_codec`: which types it takes, under which tag, and what it refuses."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import uuid
from typing import Any, NamedTuple

import pytest

import deferq
from deferq import ConfigError
from deferq.codec.typecodecs import add_codec
from deferq.registry import Registry, TypeCodec
from deferq.registry import registry as default_registry
from tests.strictjson.values import Color, Money, Point, Token, strict


@pytest.fixture
def known() -> Registry:
    return Registry()


@pytest.fixture
def on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is registered by the public function is forgotten after the test."""
    monkeypatch.setattr(default_registry, "_tags", {})
    monkeypatch.setattr(default_registry, "_type_codecs", {})


@pytest.mark.usefixtures("on_its_own")
def test_the_tag_is_the_module_and_the_name_of_the_class() -> None:
    assert deferq.register_codec(Color) is Color
    assert strict(default_registry).encode_result(Color.RED) == b'{"@tests.strictjson.values.Color":"RED"}'


@pytest.mark.usefixtures("on_its_own")
def test_it_may_stand_above_a_class() -> None:
    namespace: dict[str, Any] = {"__name__": "shop.models", "deferq": deferq, "NamedTuple": NamedTuple}
    exec("@deferq.register_codec\nclass Line(NamedTuple):\n    amount: int\n", namespace)
    line = namespace["Line"](3)
    codec = strict(default_registry)
    assert codec.encode_result(line) == b'{"@shop.models.Line":{"amount":3}}'
    assert codec.decode_result(codec.encode_result(line)) == line


def test_a_class_without_a_lasting_name_needs_a_tag(known: Registry) -> None:
    class Local(enum.Enum):
        ONE = 1

    with pytest.raises(ConfigError, match="Local needs a tag of 1 to 100 ASCII letters"):
        add_codec(known, Local)
    add_codec(known, Local, "local")
    assert strict(known).decode_result(b'{"@local":"ONE"}') is Local.ONE


@pytest.mark.parametrize("tag", ["", "a b", "ä", "a" * 101, "$tuple", "@a", 'a"', 7])
def test_a_tag_is_short_and_plain(known: Registry, tag: Any) -> None:
    with pytest.raises(ConfigError, match="Color needs a tag"):
        add_codec(known, Color, tag)


@pytest.mark.parametrize(
    "kind",
    [int, bool, str, float, bytes, list, tuple, dict, set, frozenset, type(None), datetime.datetime, datetime.date,
     datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID],
)  # fmt: skip
def test_what_strict_json_stores_anyway_is_not_registered(known: Registry, kind: type) -> None:
    with pytest.raises(ConfigError, match=f"strict JSON stores a {kind.__qualname__} as it is"):
        add_codec(known, kind, "mine", str, kind)


def test_a_class_that_does_not_say_what_it_consists_of_needs_both_functions(known: Registry) -> None:
    class Child(Point):  # not a dataclass of its own: it may have fields that nobody declared
        pass

    for kind in (Money, Child, collections.OrderedDict, object):
        with pytest.raises(
            ConfigError, match="is no Enum, dataclass or NamedTuple, so that it needs encode and decode"
        ):
            add_codec(known, kind, "mine")
    with pytest.raises(ConfigError, match="Money needs both encode and decode, or none of them"):
        add_codec(known, Money, "mine", lambda money: money.cents)
    with pytest.raises(ConfigError, match=r"expected a class, such as register_codec\(Color\)"):
        add_codec(known, Color.RED, "red")  # type: ignore[arg-type]


def test_a_tag_has_one_type_and_a_type_one_tag(known: Registry) -> None:
    add_codec(known, Color, "color")
    add_codec(known, Color, "color")
    with pytest.raises(ConfigError, match="'color' already stands for another type"):
        add_codec(known, Point, "color")
    with pytest.raises(ConfigError, match="Color is registered as 'color' already"):
        add_codec(known, Color, "colour")


def test_the_class_of_a_reloaded_module_takes_the_place_of_the_old_one(known: Registry) -> None:
    def load() -> Any:
        namespace: dict[str, Any] = {"__name__": "shop", "NamedTuple": NamedTuple}
        exec("class Line(NamedTuple):\n    amount: int\n", namespace)
        return namespace["Line"]

    old, new = load(), load()
    add_codec(known, old)
    add_codec(known, new)
    assert type(strict(known).decode_result(b'{"@shop.Line":{"amount":1}}')) is new
    assert known.type_codec(old) is None


def test_a_subclass_is_another_type(known: Registry) -> None:
    add_codec(known, collections.OrderedDict, "ordered", dict, collections.OrderedDict)
    ordered = collections.OrderedDict(b=1, a=collections.OrderedDict())
    again = strict(known).decode_result(strict(known).encode_result(ordered))
    assert again == ordered
    assert type(again["a"]) is collections.OrderedDict
    with pytest.raises(deferq.NotSerializable, match="Counter"):
        strict(known).encode_result(collections.Counter())


def test_a_field_with_a_default_may_be_missing_in_what_was_stored_before(known: Registry) -> None:
    add_codec(known, Point, "point")
    assert strict(known).decode_result(b'{"@point":{"x":1}}') == Point(1, 0)


def test_a_type_codec_can_be_looked_up_by_type_and_by_tag(known: Registry) -> None:
    codec = TypeCodec(Token, "token", lambda token: token.text, Token)
    known.register_codec(codec)
    assert known.type_codec(Token) is known.type_codec_of_tag("token") is codec
    assert known.type_codec(Money) is known.type_codec_of_tag("money") is None
