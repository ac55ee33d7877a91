"""Any bytes as strict JSON: refused with a declared error, or a value that is stored and comes back."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from deferq.errors import PayloadCorrupt, TargetUnknown
from tests.strictjson.values import Color, Counted, Level, Money, Point, Right, Span, same, strict

_STRICT = strict()


def seeds_json() -> list[bytes]:
    """Values of every kind, as they are stored."""
    zone = ZoneInfo("Europe/Berlin")
    values = [
        *(
            None,
            True,
            17,
            -(2**63),
            1.5,
            1e300,
            "a\n\u00e4",
            b"ab",
            (1, (2,)),
            {"a": [1]},
            {"$x": {1, 2}},
            frozenset({(1, "b")}),
        ),
        *(date(2026, 1, 2), time(3, 4, tzinfo=UTC), timedelta(days=-1, microseconds=5), Decimal("1.50"), UUID(int=7)),
        *(datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=zone), datetime(2026, 10, 25, 2, 30, tzinfo=zone, fold=1)),
        *(Color.RED, Level.LOW, Right.READ | Right.WRITE, Point(1, (2,)), Counted([1]), Span(1, None), Money(3)),
    ]
    calls = [_STRICT.encode_call((value, [value]), {"name": value}, {"user": "a"}) for value in values]
    return [*map(_STRICT.encode_result, values), *calls]


def fuzz_json(data: bytes) -> None:
    """Read `data` as a result and as the arguments of a call. Raises AssertionError, or what was not declared."""
    try:
        value = _STRICT.decode_result(data)
    except (PayloadCorrupt, TargetUnknown):
        pass
    else:
        assert same(_STRICT.decode_result(_STRICT.encode_result(value)), value)
    try:
        args, kwargs, extras = _STRICT.decode_call(data)
    except (PayloadCorrupt, TargetUnknown):
        return
    again = _STRICT.decode_call(_STRICT.encode_call(args, kwargs, extras.get("context")))
    assert same(again, (args, kwargs, extras))
