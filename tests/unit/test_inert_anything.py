"""Whatever bytes are stored, the inert reader shows them."""

from __future__ import annotations

import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deferq.codec.inert import FULL, show_body
from deferq.codec.inert.text import dotted
from deferq.codec.signing import PICKLE
from tests.fuzz.targets_inert import fuzz_inert
from tests.support import sized, tried
from tests.unit.test_inert import VALUES

EXAMPLES = sized(test=150, proof=6_000, long=1_000_000)
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


#: By place, as a failure is told with the strategy in full.
ONE = st.integers(0, len(GENUINE) - 1).map(GENUINE.__getitem__)
SEVERAL = st.lists(ONE, max_size=3).map(b"0".join)
#: The opcodes that look up, call, change and throw away, with what they need.
DEEDS = [
    *(b"cos\nsystem\n", b"ios\nX\n", b"\x8c\x02os", b"\x8c\x06system", b"\x93", b"R", b"b", b"o", b"\x81"),
    *(b"(", b")", b"]", b"}", b"\x8f", b"a", b"s", b"e", b"u", b"\x90", b"t", b"l", b"d", b"\x85", b"\x86"),
    *(b"0", b"1", b"2", b"\x94", b"h\x00", b"q\x00", b"p0\n", b"\x80\x02", b"Q", b"\x96" + bytes(8)),
    *(b"N", b"K\x01", b"I5\n", b"V\\u0041\n", b"S'a'\n"),
]
WITH_CALLS = st.lists(st.sampled_from(DEEDS), max_size=40).map(b"".join)


@pytest.mark.programme
@given(st.binary(max_size=300) | st.lists(st.sampled_from(OPCODES) | st.binary(max_size=3), max_size=60).map(b"".join))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_bytes_are_shown(data: bytes) -> None:
    fuzz_inert(data)
    tried("bytes for the inert reader", 1)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A genuine payload with bytes changed, left out, or put in."""
    body = bytearray(draw(ONE))
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


class Anything:
    """Stands for whatever a pickle looks up, and takes all that it does to it."""

    def __new__(cls, *args: object, **kwargs: object) -> Anything:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, item: object) -> None: ...

    def add(self, item: object) -> None: ...


class Listener(pickle._Unpickler):  # type: ignore[name-defined,misc]  # in Python: its memo cannot be made to take 32 GB
    """pickle itself, with nothing to look up."""

    def __init__(self, data: bytes) -> None:
        super().__init__(BytesIO(data))
        self.dispatch = {**self.dispatch, pickle.BYTEARRAY8[0]: Listener.load_bytes_instead}
        self.heard: set[str] = set()

    def find_class(self, module: str, name: str) -> type:
        if self.proto < 3:
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        self.heard.add(dotted(module, name))
        return Anything

    def load_bytes_instead(self) -> None:
        """pickle's own takes all the memory that is claimed before it looks whether it is there."""
        length = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(length)))

    def persistent_load(self, key: object) -> object:
        return Anything()


@pytest.mark.programme
@given(damaged() | SEVERAL | WITH_CALLS)
@settings(max_examples=EXAMPLES, deadline=None)
def test_nothing_is_looked_up_that_was_not_shown(data: bytes) -> None:
    data += b"\n\n"  # the unpickler in Python takes a line without an end, the one in C and the reader do not
    listener = Listener(data)
    with suppress(Exception):
        listener.load()

    seen = show_body(data, 0, PICKLE, FULL)

    assert listener.heard <= set(seen.imports)
    tried("pickles compared with pickle itself", 1)


@given(st.lists(PLAIN, max_size=3), st.dictionaries(st.sampled_from("abc"), PLAIN))
@settings(max_examples=sized(test=50, proof=2_000, long=50_000), deadline=None)
def test_plain_values_look_as_python_writes_them(args: list[Any], kwargs: dict[str, Any]) -> None:
    body = pickle.dumps((tuple(args), kwargs), 5)

    seen = show_body(body, 0, PICKLE)

    assert not seen.problems
    if not seen.cut and "#" not in seen.call("app:f"):
        assert seen.args == tuple(map(repr, args))
        assert dict(seen.kwargs) == {name: repr(value) for name, value in kwargs.items()}
