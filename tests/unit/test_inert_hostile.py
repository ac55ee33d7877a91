"""Payloads made to hurt: the inert reader runs nothing of them, ends soon, and says what is wrong."""

from __future__ import annotations

import pickle
import struct
import sys
import textwrap
import tracemalloc
from pathlib import Path

import pytest

from deferq.codec.inert import BRIEF, FULL, Limits, machine, show_body
from deferq.codec.signing import JSON, PICKLE
from tests.fuzz.targets_inert import check
from tests.support import sized, tried
from tests.unit.scripts import python

MEBIBYTE = 1024 * 1024
#: Bytes of the largest payload, about.
MANY = 16 * MEBIBYTE - 100


def text(value: str) -> bytes:
    """The opcode of a short text."""
    raw = value.encode()
    return pickle.SHORT_BINUNICODE + bytes([len(raw)]) + raw


CALLS = {
    "reduce": b"cos\nsystem\n(S'id'\ntR.",
    "reduce by stack": text("os") + text("system") + b"\x93" + text("id") + b"\x85R.",
    "escaped": b"V\\u006fs\nS'\\x73ystem'\n\x93(S'id'\ntR.",
    "inst": b"(S'id'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'id'\no.",
}


@pytest.mark.parametrize("body", CALLS.values(), ids=CALLS)
def test_a_call_is_shown_and_not_made(body: bytes) -> None:
    seen = show_body(body, 0, PICKLE)

    assert (seen.value, seen.imports) == ("os.system('id')", ("os.system",))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"cos\nsystem\n)\x81.", "<os.system>"),
        (b"cos\nsystem\n" + text("id") + b"\x85\x81.", "<os.system('id')>"),
        (b"cos\nenviron\n}" + text("PATH") + text("/tmp") + b"sb.", "<changed: os.environ {PATH: '/tmp'}>"),
        (b"cos\nenviron\n" + text("PATH") + text("/tmp") + b"s.", "<changed: os.environ {'PATH': '/tmp'}>"),
        (b"csys\npath\n" + text("/tmp") + b"a.", "<changed: sys.path ['/tmp']>"),
        (b"cbuiltins\nstr\n(S'os'\ntR" + text("system") + b"\x93)R.", "<looked up: (str('os'), 'system')>()"),
        (b"cbuiltins\ngetattr\n(cos\nX\nS'y'\ntR.", "os.X.y"),
        (b"\x80\x02c__builtin__\neval\n" + text("1") + b"\x85R.", "eval('1')"),
        (b"]K\x00aK\x00K\x01s.", "<changed: [0] {0: 1}>"),
        (b"]g" + b"0" * 100 + b"\n.", "<unfinished: []>"),
        (b"]p0\ng" + b"0" * 100 + b"\n\x86.", "(#1=[], #1)"),
        (b"Pkey\x1b[2J\n.", r"<persistent id 'key\x1b[2J'>"),
        (b"K\x01Q.", "<persistent id 1>"),
        (b"\x82\x05.", "<extension 5>"),
        (b"cpathlib\n\x1bPath\n" + text("x") + b"\x85R.", r"<'pathlib' '\x1bPath'>('x')"),
        (b"\x97\x98.", "<read-only buffer <out-of-band buffer>>"),
        (b"]q\x00h\x00a.", "#1=[#1]"),
        (b"I01\n.", "True"),
        (b"L5L\n.", "5"),
        (b"F1.5\n.", "1.5"),
        (b"S'a\\'b\\x41'\n.", '"a\'bA"'),
        (b"S'a\\q'\n.", r"'a\\q'"),
        (b"U\x02\xff\x41.", r"'\\xffA'"),
        (b"V\\u00e4\\u001b\n.", r"'ä\x1b'"),
        (b"(K\x01K\x02l.", "[1, 2]"),
        (b"(K\x01K\x02d.", "{1: 2}"),
        (b"K\x012\x86.", "(1, 1)"),
        (b"K\x01(K\x021.", "1"),
    ],
)
def test_what_a_pickle_would_do_is_told(body: bytes, says: str) -> None:
    assert show_body(body, 0, PICKLE).value == says


@pytest.mark.parametrize("end", [b"0K\x01.", b"K\x01.", b"\x940K\x01.", b"(K\x02K\x01."])
def test_a_call_whose_answer_is_thrown_away_is_told(end: bytes) -> None:
    seen = show_body(CALLS["reduce"][:-1] + end, 0, PICKLE)

    assert (seen.value, seen.besides) == ("1", ("os.system('id')",))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "byte 0 of 0: it ends too early"),
        (b".", "nothing is left on the stack"),
        (b"K\x01", "byte 2 of 2: it ends too early"),
        (b"h\x05.", "place 5 of the memo is empty"),
        (b"g-1\n.", "place -1 of the memo is empty"),
        (b"gx\n.", "no whole number"),
        (b"K\x01p-1\n.", "negative"),
        (b"g" + b"9" * 5000 + b"\n.", "no whole number"),
        (b"\xff.", "0xff is no opcode"),
        (b"\x80\xffK\x01.", "protocol 255"),
        (b"\x80\x05\x95" + struct.pack("<Q", 2**40) + b"K\x01.", "a frame of 1,099,511,627,776 bytes"),
        (b"\x8d" + struct.pack("<Q", 2**63) + b"x.", "9,223,372,036,854,775,808 bytes are announced"),
        (b"\x8b" + struct.pack("<i", -5) + b"abc.", "a length of -5"),
        (b"\x8b" + struct.pack("<i", 2**31 - 1) + b"abc.", "2,147,483,647 bytes are announced"),
        (b"T\xff\xff\xff\xffabc.", "a length of -1"),
        (b"I" + b"9" * 5000, "within a line"),
        (b"Ihello\n.", "no whole number"),
        (b"Fhello\n.", "no number"),
        (b"Sno quotes\n.", "no quotes"),
        (b"K\x01.rest", "4 bytes after its end"),
        (b"}](K\x01u.", "a key has no value"),
        (b"}]K\x01s.", "stands as a key"),
        (b"\x8f(]\x90.", "stands as a key or in a set"),
        (b"K\x01K\x02a.", "it changes something"),
        (b"]K\x01K\x02s.", "it changes something"),
        (b"]K\x01b.", "it changes something"),
        (b"t.", "no mark is left"),
        (b"(o.", "no class"),
        (b"K\x01K\x02\x93.", "no name"),
        (b"C\x01aC\x01b\x93.", "no name"),
        (b"Pkey\n.", "persistent id"),
        (b"\x97.", "out-of-band"),
        (b"c" + b"a" * 300 + b"\nb\n.", ""),
    ],
)
def test_what_is_wrong_is_said(body: bytes, says: str) -> None:
    seen = show_body(body, 0, PICKLE)

    assert any(says in problem for problem in seen.problems), seen
    check(seen, BRIEF)


SLY = ("\x1b[31mred", "\u202egnp.exe", "\u200b", "\x07", "\r\n", "\x9b2J", "\u2028", "a\x00b")


@pytest.mark.parametrize("sly", SLY)
def test_no_text_can_command_a_terminal_or_turn_a_line_around(sly: str) -> None:
    raw = sly.encode()
    bodies = [
        pickle.dumps(((sly, {sly: sly}), {sly: 1}), 5),
        pickle.dumps(((sly,), {}), 0),
        pickle.SHORT_BINUNICODE + bytes([len(raw)]) + raw + b"\x8c\x01x\x93)R.",
        b"c" + raw.replace(b"\n", b"") + b"\nx\n)R.",
        b"P" + raw.replace(b"\n", b"") + b"\n.",
        b"U" + bytes([len(raw)]) + raw + b".",
    ]
    for body in bodies:
        seen = show_body(body, 0, PICKLE)
        assert seen.call(f"app:{sly}").isprintable()
        check(seen, BRIEF)


def test_half_a_surrogate_pair_is_escaped() -> None:
    assert show_body(pickle.dumps("\ud800"), 0, PICKLE).value == r"'\ud800'"


def test_a_name_cannot_pass_for_more_than_a_name() -> None:
    seen = show_body(b"(cos\nsystem(1), user='root'\n)Rt}\x86.", 0, PICKLE)

    assert seen.args == ("<'os' \"system(1), user='root'\">()",)


DOUBLING = b"]" + b"2\x86" * 200 + b"."
MEMO_DOUBLING = b"]q\x00" + b"".join(b"](h%ch%ceq%c" % (place, place, place + 1) for place in range(200)) + b"."


@pytest.mark.parametrize("body", [DOUBLING, MEMO_DOUBLING], ids=["dup", "memo"])
@pytest.mark.parametrize("limits", [BRIEF, FULL], ids=["brief", "full"])
def test_what_would_be_endless_when_written_out_is_written_once(body: bytes, limits: Limits) -> None:
    seen = show_body(body, 0, PICKLE, limits)

    assert seen.value is not None
    assert len(seen.value) < 2000
    assert "#1" in seen.value


DEEP = {
    "lists": b"]" * 500 + b"a" * 499,
    "tuples": b"N" + b"\x85" * 500,
    "states": b"cos\nX\n)R" * 500 + b"b" * 499,
    "arguments": b"cos\nX\n" * 500 + b")R" + b"\x85R" * 499,
    "functions": b"cos\nX\n" + b")R" * 500,
    "collections": b"ccollections\ndeque\n)R" * 500 + b"a" * 499,
    "rebuilt": b"ccopyreg\n__newobj__\ncos\nX\n" * 500 + b"\x85R" + b"\x86R" * 499,
}


@pytest.mark.parametrize("body", DEEP.values(), ids=DEEP)
def test_what_lies_deep_inside_does_not_exhaust_the_reader(body: bytes) -> None:
    seen = show_body(body + b".", 0, PICKLE, FULL)

    assert "it holds no arguments of a call" in seen.problems  # read to the end
    assert seen.cut
    check(seen, FULL)


def repeated(part: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    """So often that, in the long run, it fills the largest payload or takes all steps."""
    times = min(sized(test=1_000, proof=100_000, long=1_100_000), (MANY - len(before)) // len(part))
    return before + part * times + after


BOMBS = {
    "nested lists": (b"]", b"", b""),
    "nested tuples": (b"\x85", b")", b"."),
    "nested dicts": (b"}", b"", b""),
    "marks": (b"(", b"", b""),
    "marks that go": (b"(1", b"", b""),
    "lists on the stack": (b"]", b"(", b"l."),
    "lists in the memo": (b"]\x940", b"", b"K\x01."),
    "dicts in the memo": (b"}\x94K\x01K\x02s0", b"", b"K\x01."),
    "texts in the memo": (b"\x8c\x01x\x940", b"", b"K\x01."),
    "numbers": (b"M\xff\xff", b"(", b"t."),
    "numbers in a list": (b"M\xff\xffa", b"]", b"."),
    "lists in a list": (b"](K\x01K\x01K\x01ea", b"]", b"."),
    "floats": (b"G12345678", b"(", b"t."),
    "calls": (b"cos\nsystem\n)R", b"(", b"t."),
    "calls in the memo": (b"cos\nsystem\n)R\x940", b"", b"K\x01."),
    "states": (b"}b", b"cos\nenviron\n", b"."),
    "recalled": (b"h\x00", b"]\x94(", b"t."),
    "tuples of the same": (b"(" + b"h\x00" * 50 + b"t\x940", b"]\x94", b"."),
    "copies": (b"2", b"]", b"."),
    "places in the memo": (b"2\x94", b"]", b"."),
    "frames": (b"\x95" + bytes(8), b"", b"K\x01."),
    "protocols": (b"\x80\x05", b"", b"K\x01."),
}


@pytest.mark.programme
def test_a_bomb_takes_few_steps_and_little_memory() -> None:
    for name, (part, before, after) in BOMBS.items():
        body = repeated(part, before, after)
        tracemalloc.start()
        try:
            check(show_body(body, 0, PICKLE), BRIEF)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 16 * MEBIBYTE, name
    tried("bombs for the inert reader", len(BOMBS))


LONG = {
    "whole number": b"\x8b" + struct.pack("<i", MANY) + bytes(MANY) + b".",
    "digits": b"I" + b"9" * MANY + b"\n.",
    "digits without end": b"L" + b"9" * MANY,
    "text": b"X" + struct.pack("<I", MANY) + b"x" * MANY + b".",
    "bytes": b"B" + struct.pack("<I", MANY) + b"x" * MANY + b".",
    "line": b"V" + b"\\u" * (MANY // 2) + b"\n.",
    "name": b"c" + b"a" * MANY + b"\nb\n.",
    "junk": b"\xff" * MANY,
}


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize("limits", [BRIEF, FULL], ids=["brief", "full"])
def test_what_is_long_is_not_copied(kind: str, limits: Limits) -> None:
    body = LONG[kind]
    tracemalloc.start()
    try:
        seen = show_body(body, 0, PICKLE, limits)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8 * MEBIBYTE
    assert seen.steps <= 1


def test_reading_ends_with_the_steps_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deferq.codec.inert.reading.STEPS_MAX", 1000)

    seen = show_body(b"]" + b"K\x01a" * 5000 + b".", 0, PICKLE)

    assert seen.steps == 1000
    assert "enough after 1,000 steps" in seen.problems[0]
    assert (seen.value or "").startswith("<unfinished: [1, 1,")


def test_a_stack_that_grows_too_high_ends_it() -> None:
    seen = show_body(b"(" + b"K\x01" * machine.STACK_MAX, 0, PICKLE)

    assert "more than 64,000 parts" in seen.problems[0]


def test_nothing_happens_that_python_tells_its_auditors(tmp_path: Path) -> None:
    """No import, no look-up by pickle, no file, no process."""
    script = tmp_path / "look.py"
    script.write_text(
        textwrap.dedent(
            """
            import pickle, sys
            from deferq.codec.inert import show_body
            from tests.unit.test_inert import VALUES
            from tests.unit.test_inert_hostile import CALLS

            class Canary:
                def __reduce__(self):
                    return open, ("canary", "w")

            bodies = [*CALLS.values(), b"cos\\nenviron\\n}b."]
            for protocol in range(6):
                bodies += [pickle.dumps(((value, Canary()), {}), protocol) for value, _ in VALUES]
            heard = []
            looking = False
            sys.addaudithook(lambda event, args: looking and heard.append((event, args)))
            modules = list(sys.modules)
            looking = True
            seen = [show_body(body, 0, ord("p")) for body in bodies]
            looking = False
            assert list(sys.modules) == modules, set(sys.modules) - set(modules)
            print([one for one in heard if one[0] != "builtins.id"], len(seen) > 200)
            """
        )
    )

    assert python(tmp_path, "look.py") == "[] True"
    assert not (tmp_path / "canary").exists()


# ---- JSON


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'[[17, "Ann"], {"user": {"a": null}}]', "send(17, 'Ann', user={'a': None})"),
        (b'[["\\u001b[2J\\n\\ud83d\\ude00\\\\"], {}]', r"send('\x1b[2J\n😀\\')"),
        (b'[["\\ud800"], {}]', r"send('\ud800')"),
        (b"[[1e5, -0.5, true], {}]", "send(1e5, -0.5, True)"),
        (b'[[{"$tuple": [1]}, {"$set": [1, 2]}], {}]', "send((1,), {1, 2})"),
        (
            b'[[{"$datetime": "2026-11-21T09:52:29[Europe/Berlin]"}], {}]',
            "send(datetime(2026-11-21T09:52:29[Europe/Berlin]))",
        ),
        (b'[[{"$datetime": "x), y=("}], {}]', "send({'$datetime': 'x), y=('})"),
        (b'[[{"$decimal": "1.50"}, {"$bytes": "AHg="}], {}]', r"send(Decimal('1.50'), b'\x00x')"),
        (b'[[{"$bytes": "?"}], {}]', "send(base64('?'))"),
        (b'[[{"@shop.Color": "RED"}, {"@shop.Point": [1, 2]}], {}]', "send(shop.Color('RED'), shop.Point([1, 2]))"),
        (b'[[{"@x(1), y": "RED"}], {}]', "send({'@x(1), y': 'RED'})"),
        (b'[[{"$dict": ["$a", 1]}, {"$dict": ["$a"]}], {}]', "send({'$a': 1}, {'$dict': ['$a']})"),
        (b'{"a": [1]}', "{'a': [1]}"),
        (b" [ [ ] , { } ] ", "send()"),
        (b"17", "17"),
    ],
)
def test_json_is_shown_as_it_is_built(body: bytes, says: str) -> None:
    assert show_body(body, 0, JSON).call("app:send") == says


def test_what_strict_json_carries_along_is_shown_apart() -> None:
    seen = show_body(b'[[], {}, {"language": "de", "context": {"a": 1}}]', 0, JSON)

    assert seen.carried == (("language", "'de'"), ("context", "{'a': 1}"))


def test_a_dict_in_a_pickle_has_no_tags() -> None:
    assert show_body(pickle.dumps({"$tuple": [1]}), 0, PICKLE).value == "{'$tuple': [1]}"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "ends too early"),
        (b"[[1, 2], {", "byte 10 of 10: it ends too early"),
        (b"[1 2]", "',' is expected"),
        (b"[1,]", "a value is expected"),
        (b"{1: 2}", "a key is expected"),
        (b'{"a" 2}', "':' is expected"),
        (b'{"a": 2,}', "a key is expected"),
        (b'["abc', "within a text"),
        (b'["abc\\', "within a text"),
        (b"\x00", "a value is expected"),
        (b"[[], {}] xyz", "3 bytes after its end"),
        (b"[" * 20_000, "more than 10,000 lists"),
    ],
)
def test_what_is_wrong_with_json_is_said(body: bytes, says: str) -> None:
    seen = show_body(body, 0, JSON)

    assert any(says in problem for problem in seen.problems), seen
    check(seen, BRIEF)


JSON_BOMBS = {
    "lists": (b"[],", b"["),
    "nested": (b"[", b""),
    "objects": (b'{"a":[1,2],"b":"c"},', b"["),
    "nested objects": (b'{"a":', b""),
    "escapes": (b"\\n", b'["'),
    "backslashes": (b"\\", b'["'),
    "keys": (b'"a":1,', b"{"),
    "space": (b"  ", b"["),
}


@pytest.mark.programme
def test_a_json_bomb_takes_few_steps_and_little_memory() -> None:
    for name, (part, before) in JSON_BOMBS.items():
        body = repeated(part, before)
        tracemalloc.start()
        try:
            check(show_body(body, 0, JSON), BRIEF)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 16 * MEBIBYTE, name
    tried("JSON bombs for the inert reader", len(JSON_BOMBS))


def test_no_module_is_loaded_by_looking() -> None:
    before = set(sys.modules)

    for body in CALLS.values():
        show_body(body, 0, PICKLE)

    assert set(sys.modules) == before
