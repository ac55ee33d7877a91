"""What is no strict JSON of ours is refused, with the byte at which that shows (B9, B14, B26, B28, B29)."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deferq.codec.strictjson.calls import StrictJson
from deferq.codec.typecodecs import add_codec
from deferq.errors import PayloadCorrupt, PayloadFormatError, TargetUnknown
from deferq.registry import Registry
from tests.fuzz.targets_json import fuzz_json
from tests.strictjson.values import VALUES, Money, strict
from tests.support import sized, tried

STRICT = strict()

#: Different numbers with the same hash: to make a set of them takes quadratic time.
_ALIKE = b'{"$set":[%b]}' % b",".join(b'{"$decimal":"%d"}' % (number * sys.hash_info.modulus) for number in range(65))

MALFORMED: list[tuple[str, bytes, int, str]] = [
    ("nothing", b"", 0, "ends early"),
    ("spaces", b"  ", 2, "ends early"),
    ("B29 trailing bytes", b"[1] x", 4, "something behind its end"),
    ("B29 a second document", b"1 1", 2, "something behind its end"),
    ("B29 a trailing NUL", b"1\x00", 1, "something behind its end"),
    ("B29 BOM", b"\xef\xbb\xbf1", 0, "no JSON"),
    ("B29 UTF-16", '"a"'.encode("utf-16"), 0, "no UTF-8"),
    ("B29 invalid UTF-8", b'["\xc3\xa4","\xff"]', 7, "no UTF-8"),
    ("B29 an overlong NUL", b'"\xc0\x80"', 1, "no UTF-8"),
    ("B29 a surrogate in UTF-8", b'"\xed\xa0\x80"', 1, "no UTF-8"),
    ("the offset counts bytes", '["äöü", x]'.encode(), 11, "no JSON"),
    ("B28 XML", b"<?xml version='1.0'?><a/>", 0, "no JSON"),
    ("B28 YAML", b"---\na: 1\n", 0, "no JSON"),
    ("B28 gzip", b"\x1f\x8b\x08\x00", 1, "no UTF-8"),
    ("a pickle", b"\x80\x05K\x01.", 0, "no UTF-8"),
    ("B8 NaN", b"[NaN]", 1, "no JSON"),
    ("B8 Infinity", b"-Infinity", 0, "no JSON"),
    ("B8 1e400", b"[1e400]", 1, "out of range"),
    ("B9 2^63", b"9223372036854775808", 0, "out of range"),
    ("B9 below", b"-9223372036854775809", 0, "out of range"),
    ("B9 5,000 digits", b"[" + b"9" * 5000 + b"]", 1, "too many digits"),
    ("5,000 digits behind the point", b"0." + b"1" * 5000, 0, "too many digits"),
    ("a leading zero", b"01", 1, "something behind its end"),
    ("a plus", b"+1", 0, "no JSON"),
    ("a bare point", b"1.", 1, "something behind its end"),
    ("no digit before the point", b".5", 0, "no JSON"),
    ("hexadecimal", b"0x10", 1, "something behind its end"),
    ("Arabic digits", "٣".encode(), 0, "no JSON"),
    ("another word", b"None", 0, "no JSON"),
    ("a capital", b"True", 0, "no JSON"),
    ("a word that goes on", b"nullx", 4, "something behind its end"),
    ("a comment", b"[1 /* one */]", 3, "no JSON"),
    ("single quotes", b"'a'", 0, "no JSON"),
    ("a text without end", b'["abc', 1, "no JSON"),
    ("a text that ends in an escape", b'"abc\\"', 0, "no JSON"),
    ("a line in a text", b'"a\nb"', 0, "no JSON"),
    ("an unknown escape", b'["\\x41"]', 1, "escape that stands for no character"),
    ("half an escape", b'"\\u00"', 0, "escape that stands for no character"),
    ("B11 a lone surrogate", b'"\\ud800"', 0, "escape that stands for no character"),
    ("B11 halves in the wrong order", b'"\\udc00\\ud800"', 0, "escape that stands for no character"),
    ("B11 NUL", b'"a\\u0000"', 0, "NUL"),
    ("B11 NUL in a key", b'{"a\\u0000":1}', 1, "NUL"),
    ("a list without end", b"[1,", 3, "ends early"),
    ("a comma at the end", b"[1,]", 3, "a value is missing"),
    ("a comma at the start", b"[,1]", 1, "a value is missing"),
    ("no comma", b"[1 2]", 3, "',' or ']' is missing"),
    ("the wrong bracket", b"[1}", 2, "',' or ']' is missing"),
    ("an object without end", b'{"a":1', 6, "ends early"),
    ("a comma at the end of an object", b'{"a":1,}', 7, "a key is missing"),
    ("no colon", b'{"a" 1}', 5, "':' is missing"),
    ("no value", b'{"a":}', 5, "a value is missing"),
    ("a number as key", b'{"a":1,2:3}', 7, "a key is missing"),
    ("a number as first key", b"{1:2}", 1, "a key is missing"),
    ("B10 a key twice", b'{"a":1,"b":2,"a":3}', 13, "a key twice"),
    ("B10 a key twice, once with escapes", b'{"a":1,"\\u0061":3}', 7, "a key twice"),
    ("a tag that is unknown", b'[{"$path":"/"}]', 2, "a tag is unknown"),
    ("an empty tag", b'{"$":1}', 1, "a tag is unknown"),
    ("a tag that is malformed", b'{"@a b":1}', 1, "a tag is malformed"),
    ("an empty tag of the application", b'{"@":1}', 1, "a tag is malformed"),
    ("a tag beside a key", b'{"$tuple":[],"a":1}', 12, "a tag stands beside other keys"),
    ("a tag behind a key", b'{"a":1,"$tuple":[]}', 7, "a tag stands beside other keys"),
    ("a tag twice", b'{"$tuple":[],"$tuple":[]}', 12, "a tag stands beside other keys"),
    ("a tag in a tag", b'{"$tuple":{"$tuple":[]}}', 1, "what stands under $tuple is none"),
    ("a tuple of nothing", b'{"$tuple":null}', 1, "what stands under $tuple is none"),
    ("a set with the same twice", b'{"$set":[1,1]}', 1, "what stands under $set is none"),
    ("a set with equals", b'{"$set":[1,true]}', 1, "what stands under $set is none"),
    ("a set of lists", b'{"$set":[[]]}', 1, "what stands under $set is none"),
    ("a set of what has no hash inside", b'{"$frozenset":[{"$tuple":[[]]}]}', 1, "under $frozenset is none"),
    ("a set of one hash", _ALIKE, 1, "what stands under $set is none"),
    ("pairs without a value", b'{"$dict":["$a"]}', 1, "what stands under $dict is none"),
    ("pairs with a key twice", b'{"$dict":["$a",1,"$a",2]}', 1, "what stands under $dict is none"),
    ("pairs with a number as key", b'{"$dict":["$a",1,2,3]}', 1, "what stands under $dict is none"),
    ("pairs with a list as key", b'{"$dict":["$a",1,[],3]}', 1, "what stands under $dict is none"),
    ("pairs where an object would do", b'{"$dict":["a",1]}', 1, "what stands under $dict is none"),
    ("pairs, none", b'{"$dict":[]}', 1, "what stands under $dict is none"),
    ("bytes with a space", b'{"$bytes":"AP8= "}', 1, "what stands under $bytes is none"),
    ("bytes without padding", b'{"$bytes":"AP8"}', 1, "what stands under $bytes is none"),
    ("bytes with loose bits", b'{"$bytes":"AP9="}', 1, "what stands under $bytes is none"),
    ("bytes beyond ASCII", '{"$bytes":"ä"}'.encode(), 1, "what stands under $bytes is none"),
    ("bytes as a number", b'{"$bytes":1}', 1, "what stands under $bytes is none"),
    ("bytes as a list", b'{"$bytes":["AP8="]}', 1, "what stands under $bytes is none"),
    ("a datetime in another form", b'{"$datetime":"2026-01-01 00:00:00"}', 1, "what stands under $datetime is none"),
    ("a datetime with Z", b'{"$datetime":"2026-01-01T00:00:00Z"}', 1, "what stands under $datetime is none"),
    ("a datetime of no day", b'{"$datetime":"2026-02-30T00:00:00"}', 1, "what stands under $datetime is none"),
    ("a datetime with two zones", b'{"$datetime":"2026-01-01T00:00:00+00:00[UTC]"}', 1, "under $datetime is none"),
    ("a datetime with a name only", b'{"$datetime":"2026-01-01T00:00:00[name=x]"}', 1, "under $datetime is none"),
    ("an offset of a day", b'{"$datetime":"2026-01-01T00:00:00+24:00"}', 1, "what stands under $datetime is none"),
    ("a zone that leads elsewhere", b'{"$datetime":"2026-01-01T00:00:00[../passwd]"}', 1, "under $datetime is none"),
    ("a zone of two slashes", b'{"$datetime":"2026-01-01T00:00:00[Europe//Berlin]"}', 1, "under $datetime is none"),
    ("a week date", b'{"$date":"2026-W01-1"}', 1, "what stands under $date is none"),
    ("a datetime as date", b'{"$date":"2026-01-01T00:00:00"}', 1, "what stands under $date is none"),
    ("a short time", b'{"$time":"01:02"}', 1, "what stands under $time is none"),
    ("too many seconds", b'{"$timedelta":"P0DT86400.000000S"}', 1, "what stands under $timedelta is none"),
    ("too many days", b'{"$timedelta":"P1000000000DT0.000000S"}', 1, "what stands under $timedelta is none"),
    ("a decimal NaN", b'{"$decimal":"NaN"}', 1, "what stands under $decimal is none"),
    ("a decimal in another form", b'{"$decimal":"1_0"}', 1, "what stands under $decimal is none"),
    ("a decimal with a small e", b'{"$decimal":"1e+9"}', 1, "what stands under $decimal is none"),
    ("a decimal out of range", b'{"$decimal":"1E+9999999999999999999"}', 1, "what stands under $decimal is none"),
    ("a UUID in braces", b'{"$uuid":"{00000000-0000-0000-0000-000000000001}"}', 1, "what stands under $uuid is none"),
    ("a UUID in capitals", b'{"$uuid":"00000000-0000-0000-0000-00000000000A"}', 1, "what stands under $uuid is none"),
    ("B14 65 lists", b"[" * 65 + b"]" * 65, 64, "more than 64 levels"),
    ("B14 5,000 lists", b"[" * 5_000, 64, "more than 64 levels"),
    ("B14 100,000 lists", b"[" * 100_000 + b"]" * 100_000, 64, "more than 64 levels"),
    ("B14 100,000 objects", b'{"a":' * 100_000, 321, "more than 64 levels"),
    ("B14 100,000 tuples", b'{"$tuple":[' * 100_000, 714, "more than 64 levels"),
    ("B14 100,000 of the application", b'{"@money":' * 100_000, 649, "more than 64 levels"),
    ("B15 a million lists", b"[" + b"[]," * 1_000_000 + b"[]]", 299_998, "more than 100,000 values"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "offset", "message"), [pytest.param(*case[1:], id=case[0]) for case in MALFORMED])
def test_what_breaks_the_rules_is_corrupt_and_the_error_says_where(body: bytes, offset: int, message: str) -> None:
    with pytest.raises(PayloadFormatError) as caught:
        STRICT.decode_result(body)
    assert message in str(caught.value)
    assert caught.value.offset == offset
    assert f"(byte {offset})" in str(caught.value)
    assert isinstance(caught.value, PayloadCorrupt)


@pytest.mark.parametrize(
    "body", [b"null", b"[]", b"[[]]", b"[{},[]]", b"[[],{},{},{}]", b"[[],{},null]", b'[{"$tuple":[]},{}]']
)
def test_what_is_no_call_is_corrupt(body: bytes) -> None:
    with pytest.raises(PayloadCorrupt, match="holds no arguments of a call"):
        STRICT.decode_call(body)


def test_space_between_tokens_is_no_mistake() -> None:
    assert STRICT.decode_call(b' [ [ 1 , { "a" : 2 } ] , { } ]\r\n') == ((1, {"a": 2}), {}, {})


def test_every_escape_of_json_is_read() -> None:
    assert STRICT.decode_result(rb'"\"\\\/\b\f\n\r\t\u00e4\ud83d\udc0d"') == '"\\/\b\f\n\r\tä\U0001f40d'


# ---- what another process may know


def test_a_type_that_is_not_registered_here_is_unknown_and_not_corrupt() -> None:
    """Newer code put it there: the task is parked like one whose function is unknown."""
    body = STRICT.encode_result(Money(1))
    with pytest.raises(TargetUnknown, match="No type is registered as 'money' in this process"):
        strict(Registry()).decode_result(body)


def test_a_zone_that_is_not_known_here_is_unknown_and_not_corrupt() -> None:
    with pytest.raises((TargetUnknown, PayloadFormatError)):  # a folder of zones, and not on every machine
        STRICT.decode_result(b'{"$datetime":"2026-01-01T00:00:00[Europe]"}')
    with pytest.raises(TargetUnknown, match="time zone Europe/Atlantis is not known on this machine"):
        STRICT.decode_result(b'{"$datetime":"2026-01-01T00:00:00[Europe/Atlantis]"}')


# ---- functions of the application


def _decoding(decode: Any) -> StrictJson:
    known = Registry()
    add_codec(known, Money, "money", lambda money: money.cents, decode)
    return strict(known)


@pytest.mark.parametrize(
    "error", [ValueError("hunter2"), SystemExit(1), RecursionError(), MemoryError(), GeneratorExit()]
)
def test_a_decode_that_raises_makes_the_payload_corrupt(error: BaseException) -> None:
    def decode(_: Any) -> Any:
        raise error

    with pytest.raises(PayloadCorrupt, match=f"decoding 'money' raised {type(error).__name__}") as caught:
        _decoding(decode).decode_result(b'{"@money":1}')
    assert "hunter2" not in str(caught.value)


def test_a_decode_that_gives_another_type_makes_the_payload_corrupt() -> None:
    with pytest.raises(PayloadCorrupt, match="decoding 'money' gave a str"):
        _decoding(str).decode_result(b'{"@money":1}')


def test_ctrl_c_while_decoding_is_not_swallowed() -> None:
    def decode(_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _decoding(decode).decode_result(b'{"@money":1}')


# ---- any bytes


def test_reading_imports_nothing() -> None:
    bodies = [body for _, body, _, _ in MALFORMED if len(body) < 10_000]
    bodies += [STRICT.encode_result(value) for value in (1, "a", (b"",))]
    bodies += [b'{"@os.system":"id"}', b'{"@builtins.eval":"1"}', b'{"$os":1}', b'{"__reduce__":["os.system","id"]}']
    for body in bodies:  # once before: the error of a zone imports what reads zones
        fuzz_json(body)
    before = set(sys.modules)
    for body in bodies:
        fuzz_json(body)
    assert set(sys.modules) == before


@pytest.mark.programme
def test_any_bytes_are_refused_with_a_declared_error_or_come_back() -> None:
    examples = sized(test=60, proof=3_000, long=300_000)
    tokens = st.sampled_from(
        [*'[]{},:"', "null", "true", "1", "-0", "1e5", '"a"', '"$tuple"', '"@Point"', '{"$tuple":[', '{"$dict":["$",'
         '{"$set":[', '{"@Color":"RED"}', '{"@Point":{"x":', '{"$datetime":"', '{"$decimal":"', "\\u00", "[[],{}]", " "]
    )  # fmt: skip
    texts = st.lists(tokens, max_size=30).map("".join).map(str.encode)
    stored = VALUES.map(STRICT.encode_result)
    changed = st.builds(_spliced, stored, st.binary(max_size=3) | texts, st.integers(0, 200), st.integers(0, 3))

    @settings(max_examples=examples, deadline=None)
    @given(st.binary(max_size=100) | texts | stored | changed)
    @example(b'{"$set":[{"$decimal":"1"},1]}')
    def holds(data: bytes) -> None:
        fuzz_json(data)

    holds()
    tried("bytes read as strict JSON", examples)


def _spliced(body: bytes, part: bytes, at: int, gone: int) -> bytes:
    at = min(at, len(body))
    return body[:at] + part + body[at + gone :]


def test_each_stored_byte_cut_off_or_changed_is_an_error_or_another_value() -> None:
    body = STRICT.encode_call((1, (b"ab", "ä\n"), {"$x": {1.5}}), {"k": Money(3)})
    for at in range(len(body)):
        with pytest.raises(PayloadCorrupt):
            STRICT.decode_call(body[:at])
        for byte in (0, 0x22, 0x5B, 0x7B, 0xFF, body[at] ^ 1):
            fuzz_json(body[:at] + bytes([byte]) + body[at + 1 :])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" + b"[]," * 5_000_000, id="lists", marks=pytest.mark.slow),
        pytest.param(b'"' + b"\\" * 15_000_000, id="escapes"),
        *(pytest.param(junk * 15_000_000, id=repr(junk)) for junk in (b" ", b"9", b"[")),
    ],
)
def test_sixteen_million_bytes_of_junk_take_little_memory(body: bytes) -> None:
    gc.collect()
    tracemalloc.start()
    try:
        with pytest.raises(PayloadFormatError):
            STRICT.decode_result(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(body) + 16_000_000
