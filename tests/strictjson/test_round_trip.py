"""decode(encode(x)) == x, of the same type, for all that strict JSON stores."""

from __future__ import annotations

import decimal
import json
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deferq.codec.strictjson.shape import DEPTH_MAX
from tests.strictjson.values import (
    KEYS,
    TEXT,
    VALUES,
    Color,
    Counted,
    Level,
    Money,
    Point,
    Right,
    Span,
    Token,
    same,
    strict,
)
from tests.support import sized, tried

BERLIN = ZoneInfo("Europe/Berlin")
STRICT = strict()


@pytest.mark.programme
def test_whatever_is_stored_comes_back_equal_and_of_the_same_type() -> None:
    examples = sized(test=60, proof=3_000, long=300_000)

    @settings(max_examples=examples, deadline=None)
    @given(VALUES)
    def holds(value: Any) -> None:
        again = STRICT.decode_result(STRICT.encode_result(value))
        assert same(again, value)

    holds()
    tried("values through strict JSON", examples)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(VALUES, max_size=3).map(tuple),
    st.dictionaries(KEYS, VALUES, max_size=3),
    st.none() | st.dictionaries(TEXT, VALUES, max_size=2),
)
def test_so_do_arguments_and_what_they_carry(
    args: tuple[Any, ...], kwargs: dict[str, Any], context: dict[str, Any] | None
) -> None:
    again = STRICT.decode_call(STRICT.encode_call(args, kwargs, context))
    assert same(again, (args, kwargs, {} if context is None else {"context": context}))


@settings(max_examples=25, deadline=None)
@given(VALUES)
def test_what_is_stored_is_json(value: Any) -> None:
    json.loads(STRICT.encode_result(value))


ONE_OF_EACH: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "true"),
    (0, "0"),
    (-(2**63), "-9223372036854775808"),
    (2**63 - 1, "9223372036854775807"),
    (-0.0, "-0.0"),
    (5e-324, "5e-324"),
    (1.0, "1.0"),
    (1e22, "1e+22"),
    ("", '""'),
    ('"\\/\n\x1f\x7f\u2028ä\U0001f40d', r'"\"\\/\n\u001f' + '\x7f\u2028ä\U0001f40d"'),
    ([], "[]"),
    ([[1], []], "[[1],[]]"),
    ({}, "{}"),
    ({"b": 1, "a": 2}, '{"b":1,"a":2}'),
    ({"$tuple": [1]}, '{"$dict":["$tuple",[1]]}'),
    ({"a": 1, "@x": {"$": 2}}, '{"$dict":["a",1,"@x",{"$dict":["$",2]}]}'),
    ((), '{"$tuple":[]}'),
    ((1, (2,)), '{"$tuple":[1,{"$tuple":[2]}]}'),
    (set(), '{"$set":[]}'),
    ({3, 1, "a"}, '{"$set":["a",1,3]}'),
    (frozenset({(1,)}), '{"$frozenset":[{"$tuple":[1]}]}'),
    (b"", '{"$bytes":""}'),
    (b"\x00\xff", '{"$bytes":"AP8="}'),
    (date(1, 1, 1), '{"$date":"0001-01-01"}'),
    (time(1, 2, 3, 4), '{"$time":"01:02:03.000004"}'),
    (time(1, fold=1), '{"$time":"01:00:00[fold=1]"}'),
    (timedelta(-1, 2, 3), '{"$timedelta":"P-1DT2.000003S"}'),
    (datetime(2026, 1, 1, tzinfo=UTC), '{"$datetime":"2026-01-01T00:00:00+00:00"}'),
    (datetime(2026, 1, 1), '{"$datetime":"2026-01-01T00:00:00"}'),
    (datetime(2026, 1, 1, fold=1), '{"$datetime":"2026-01-01T00:00:00[fold=1]"}'),
    (
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")),
        '{"$datetime":"2026-01-01T00:00:00+01:00[name=CET]"}',
    ),
    (
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
        '{"$datetime":"2026-10-25T02:30:00[Europe/Berlin][fold=1]"}',
    ),
    (decimal.Decimal("-0.00"), '{"$decimal":"-0.00"}'),
    (decimal.Decimal("1E+999999"), '{"$decimal":"1E+999999"}'),
    (uuid.UUID(int=1), '{"$uuid":"00000000-0000-0000-0000-000000000001"}'),
    (Color.RED, '{"@Color":"RED"}'),
    (Level.LOW, '{"@Level":"LOW"}'),
    (Right.READ | Right.WRITE, '{"@Right":3}'),
    (Point(1, (2,)), '{"@Point":{"x":1,"y":{"$tuple":[2]}}}'),
    (Counted([1]), '{"@Counted":{"items":[1]}}'),
    (Span(1, 2), '{"@Span":{"first":1,"last":2}}'),
    (Money(5), '{"@money":5}'),
]


@pytest.mark.parametrize(("value", "text"), ONE_OF_EACH, ids=[text[:40] for _, text in ONE_OF_EACH])
def test_each_type_has_its_text(value: Any, text: str) -> None:
    """The format is stored for years: a change of any of these texts is a change of the format."""
    body = STRICT.encode_result(value)
    assert body == text.encode()
    assert same(STRICT.decode_result(body), value)


def test_a_call_is_a_list_of_its_arguments_and_its_keywords() -> None:
    assert STRICT.encode_call((1, "a"), {"b": (2,)}) == b'[[1,"a"],{"b":{"$tuple":[2]}}]'
    assert STRICT.encode_call((), {}, {"language": "de"}) == b'[[],{},{"language":"de"}]'


def test_equal_sets_have_equal_texts() -> None:
    texts = [f"item {number}" for number in range(50)]
    backwards = {text for text in texts[::-1]}  # noqa: C416  # made in another order
    assert STRICT.encode_result(set(texts)) == STRICT.encode_result(backwards)


def test_a_registered_type_without_equality_is_compared_by_its_text() -> None:
    again = STRICT.decode_result(STRICT.encode_result([Token("a")]))
    assert type(again[0]) is Token
    assert again[0].text == "a"


def test_the_moments_of_an_hour_that_comes_twice_stay_apart() -> None:
    first, second = (datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold) for fold in (0, 1))
    again = STRICT.decode_result(STRICT.encode_result([first, second]))
    assert [moment.utcoffset() for moment in again] == [timedelta(hours=2), timedelta(hours=1)]


def test_a_decimal_is_stored_as_it_is_whatever_the_context_of_the_thread_says() -> None:
    number = decimal.Decimal("1.234567890123456789012345678901234567890E+50")
    with decimal.localcontext() as context:
        context.prec, context.capitals = 3, 0
        body = STRICT.encode_result(number)
    assert STRICT.decode_result(body) == number
    with decimal.localcontext() as context:
        context.prec, context.capitals = 2, 0
        assert str(STRICT.decode_result(body)) == str(number)


@pytest.mark.parametrize(
    "nested",
    [lambda inner: [inner], lambda inner: (inner,), lambda inner: {"$": inner}, lambda inner: frozenset({inner})],
)
def test_as_many_levels_as_may_be_come_back(nested: Any) -> None:
    value: Any = b"leaf"
    for _ in range(DEPTH_MAX):
        value = nested(value)
    assert same(STRICT.decode_result(STRICT.encode_result(value)), value)
    assert same(STRICT.decode_call(STRICT.encode_call((value,), {"x": value}))[0], (value,))


def test_as_many_values_as_may_be_come_back() -> None:
    value = [0] * 99_999
    assert STRICT.decode_call(STRICT.encode_call((value,), {}))[0] == (value,)
