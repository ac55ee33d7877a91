"""Whatever bytes are stored, the inert reader shows them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deferq.codec.inert import show_body
from deferq.codec.signing import PICKLE
from tests.fuzz.targets_inert import fuzz_inert
from tests.support import sized, tried
from tests.unit.test_inert import VALUES

EXAMPLES = sized(test=150, proof=20_000, long=1_000_000)
#: Every opcode, so that most of what is drawn means something.
OPCODES = sorted({opcode for opcode in vars(pickle).values() if isinstance(opcode, bytes) and len(opcode) == 1})
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
GENUINE = [
    *(pickle.dumps(((value, [value]), {"name": value}), protocol) for value, _ in VALUES for protocol in range(6)),
    b'[[17, "Ann"], {"user": {"a": null}}]',
]


@pytest.mark.programme
@given(st.binary(max_size=300) | st.lists(st.sampled_from(OPCODES) | st.binary(max_size=3), max_size=60).map(b"".join))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_bytes_are_shown(data: bytes) -> None:
    fuzz_inert(data)
    tried("bytes for the inert reader", 1)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A genuine payload with bytes changed, left out, or put in."""
    body = bytearray(draw(st.sampled_from(GENUINE)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(body)))
        length = draw(st.integers(0, 4))
        body[place : place + length] = draw(st.binary(max_size=4) | st.sampled_from(OPCODES))
    return bytes(body)


@pytest.mark.programme
@given(damaged())
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_damaged_payload_is_shown(data: bytes) -> None:
    fuzz_inert(data)
    tried("damaged payloads for the inert reader", 1)


@given(st.lists(PLAIN, max_size=3), st.dictionaries(st.sampled_from("abc"), PLAIN))
@settings(max_examples=sized(test=50, proof=5_000, long=50_000), deadline=None)
def test_plain_values_look_as_python_writes_them(args: list[Any], kwargs: dict[str, Any]) -> None:
    body = pickle.dumps((tuple(args), kwargs), 5)

    seen = show_body(body, 0, PICKLE)

    assert not seen.problems
    if not seen.cut and "#" not in seen.call("app:f"):
        assert seen.args == tuple(map(repr, args))
        assert dict(seen.kwargs) == {name: repr(value) for name, value in kwargs.items()}
