"""Any bytes as a stored call or result: the inert reader neither raises nor goes on for ever, and its text is plain."""

from __future__ import annotations

from collections.abc import Iterator

from deferq.codec.inert import BRIEF, FULL, Limits, Shown, show_body, show_call, show_result
from deferq.codec.inert.machine import STEPS_MAX
from deferq.codec.signing import JSON, PICKLE

#: What may come on top of the limit: the last argument, what is made besides, and what is wrong.
SPARE_CHARS = 3_500
_HEADER = b"DQ\x01%c" + bytes(36)


def fuzz_inert(data: bytes) -> None:
    """Raises AssertionError if a promise is broken, and whatever the reader lets through."""
    for codec in (PICKLE, JSON):
        check(show_body(data, 0, codec), BRIEF)
        check(show_result(_HEADER % codec + data), BRIEF)
    check(show_body(data, 0, PICKLE, FULL), FULL)
    check(show_call(data), BRIEF)


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
