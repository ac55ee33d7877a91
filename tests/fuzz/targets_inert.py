"""Any bytes as a stored call or result: the inert reader neither raises nor goes on for ever, and its text is plain."""

from __future__ import annotations

import pickle
from collections import OrderedDict, deque
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from deferq.codec.inert import BRIEF, FULL, Limits, Shown, show_body, show_call, show_result, triple_target
from deferq.codec.inert.machine import STEPS_MAX
from deferq.codec.signing import JSON, PICKLE, TRIPLE
from deferq.model.outcome import ErrorText

#: What may come on top of the limit: the last argument, what is made besides, and what is wrong.
SPARE_CHARS = 3_500
_HEADER = b"DQ\x01%c" + bytes(36)


def seeds_inert() -> list[bytes]:
    """Calls and results, as every protocol of pickle writes them, and as strict JSON does."""
    values: list[Any] = [
        *(None, True, 17, 2**70, 1.5, "a\n\u00e4", b"ab", [1, [2]], (1, (2, 3, 4, 5)), {"a": {1}}, frozenset({1})),
        *(date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC), timedelta(days=-1), Decimal("1.50"), UUID(int=7)),
        *(Path("a/b"), OrderedDict(a=1), deque([1]), ValueError("no"), 2 + 3j, range(3), ErrorText, bytearray(b"x")),
    ]
    bodies = [pickle.dumps(((value, [value]), {"name": value}), protocol) for value in values for protocol in range(6)]
    bad = [b"cos\nsystem\n(S'id'\ntR.", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."]
    headed = [_HEADER % PICKLE + body for body in bodies[::7]]
    triples = [
        pickle.dumps((call, (1, "a"), {"b": 2}), protocol) for call in (dict, "x".upper) for protocol in range(6)
    ]
    return [
        *bodies,
        *bad,
        *headed,
        *triples,
        pickle.dumps({"main": "shop", "context": {"a": 1}}) + triples[-1],
        b'[[17,"Ann"],{"user":{"$tuple":[null]}}]',
    ]


def fuzz_inert(data: bytes) -> None:
    """Raises AssertionError if a promise is broken, and whatever the reader lets through."""
    as_result = len(data) % 2  # both every time would take twice as long
    for codec in (PICKLE, JSON, TRIPLE):
        check(show_result(_HEADER % codec + data) if as_result else show_body(data, 0, codec), BRIEF)
    check(show_body(data, 0, PICKLE, FULL), FULL)
    check(show_call(data), BRIEF)
    target = triple_target(data)
    assert target is None or target.isprintable()


def check(shown: Shown, limits: Limits) -> None:
    """What holds for whatever was read."""
    texts = list(texts_of(shown))
    assert all(text.isprintable() for text in texts), texts
    assert sum(map(len, texts)) <= limits.chars * 5 // 4 + SPARE_CHARS  # a quarter for the imports
    assert shown.steps <= 2 * STEPS_MAX  # two pickles: the name of a script, and the call
    assert shown.value is None or not (shown.args or shown.kwargs or shown.carried)


def texts_of(shown: Shown) -> Iterator[str]:
    """All that people get to see."""
    yield from (shown.codec, *shown.args, *shown.imports, *shown.besides, *shown.problems)
    for name, text in (*shown.kwargs, *shown.carried):
        yield from (name, text)
    if shown.value is not None:
        yield shown.value
