"""What people see of a call that names its own callable, whatever is in its body."""

from __future__ import annotations

import pickle
import random
from typing import Any

import pytest

from deferq.codec.codec import Codec
from deferq.codec.inert import Shown, show_body, show_call, triple_target
from deferq.codec.signing import TRIPLE, Keyring
from deferq.compat.appengine import deferred
from deferq.errors import CodecNotAllowed, PayloadSignatureError
from deferq.registry import Registry
from tests.compat import counting
from tests.compat.counting import Callable, Counter

RING = Keyring(["a secret of the application"])
HERE = "tests.compat.counting"
BODIES = [
    deferred.serialize(counting.note, 1, "two", key=3),
    deferred.serialize(Counter(10).add, 5, twice=True),
    deferred.serialize(Counter.make, 4),
    deferred.serialize(Callable("x"), 7),
    deferred.serialize(deferred.run_from_datastore, "123"),
    pickle.dumps((Counter(1).add, (1,), {}), 0),
    pickle.dumps({"main": "shop", "context": {"language": "fr"}}) + deferred.serialize(counting.note, 1),
]


def shown(body: bytes, start: int = 0) -> Shown:
    return show_body(body, start, TRIPLE)


@pytest.mark.parametrize(
    ("fn", "args", "target", "call"),
    [
        (counting.note, (1, "two"), f"{HERE}:note", "note(1, 'two')"),
        (Counter(10).add, (5,), f"{HERE}:Counter.add", f"Counter.add(<{HERE}.Counter {{value: 10}}>, 5)"),
        (Counter.make, (4,), f"{HERE}:Counter.make", f"Counter.make({HERE}.Counter, 4)"),
        (Counter.static, (4,), f"{HERE}:Counter.static", "Counter.static(4)"),
        (Callable("x"), (7,), f"{HERE}:Callable", "Callable(7)"),
    ],
)
def test_a_call_is_shown_by_what_it_calls(fn: Any, args: tuple[Any, ...], target: str, call: str) -> None:
    body = deferred.serialize(fn, *args)
    assert triple_target(body) == target
    assert shown(body).call(target) == call
    assert not shown(body).elsewhere


def test_what_is_carried_along_is_shown_as_such_and_the_name_of_the_script_is_not() -> None:
    seen = shown(BODIES[-1])
    assert (seen.args, seen.carried, seen.problems) == (("1",), (("language", "'fr'"),), ())


def test_a_call_that_only_fetches_another_says_so() -> None:
    assert shown(BODIES[4]).elsewhere


def test_a_body_under_another_codec_is_no_such_call() -> None:
    sealed = RING.seal("payload", 7, "a:b", BODIES[0], codec=TRIPLE)
    assert show_call(sealed).args == ("1", "'two'")
    assert show_call(sealed).codec == "pickle"


@pytest.mark.parametrize("body", [b"", b"garbage", pickle.dumps(7), pickle.dumps((1, 2, 3)), pickle.dumps({})])
def test_what_is_no_call_is_shown_as_what_it_is(body: bytes) -> None:
    assert triple_target(body) is None
    assert shown(body).value is not None


@pytest.mark.parametrize("number", range(len(BODIES)))
def test_no_damage_makes_it_raise_or_look_anything_up(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    body, chance = BODIES[number], random.Random(number)
    monkeypatch.setattr("builtins.__import__", _must_not_import)
    for cut in range(len(body)):
        triple_target(body[:cut])
        shown(body[:cut])
    for _ in range(300):
        changed = bytearray(body)
        changed[chance.randrange(len(body))] = chance.randrange(256)
        triple_target(bytes(changed))
        shown(bytes(changed))


def _must_not_import(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("it imports")


@pytest.mark.parametrize(
    "body",
    [
        b"(cdeferq.compat.appengine.deferred.deferred\ninvoke_member\n(Vabc\nVno identifier\nt}t.",
        b"(cshop\n\x1b[31mred\n(t}t.",
        b"(c\n\n(t}t.",
        b"(c%b\nf\n(t}t." % (b"a" * 100_000),
    ],
)
def test_a_name_that_is_none_is_no_target(body: bytes) -> None:
    assert triple_target(body) is None


# ---- sealed


def codec(**options: Any) -> Codec:
    return Codec(RING, Registry(), **options)


def test_what_stands_beside_a_task_is_good_for_that_task_and_purpose_alone() -> None:
    spill = codec().seal_spill(7, "a:b", BODIES[0])
    assert codec().open_spill(7, spill).args == (1, "two")
    assert codec().read_spill(7, spill) == BODIES[0]
    with pytest.raises(PayloadSignatureError):
        codec().open_spill(8, spill)
    with pytest.raises(PayloadSignatureError):
        RING.open("payload", 7, "", spill, codecs=frozenset({TRIPLE}))


@pytest.mark.parametrize("byte", range(8, 60))
def test_no_byte_of_it_can_be_changed(byte: int) -> None:
    spill = bytearray(codec().seal_spill(7, "a:b", BODIES[0]))
    spill[byte] ^= 1
    with pytest.raises(PayloadSignatureError):
        codec().open_spill(7, bytes(spill))


def test_such_a_call_is_read_where_pickles_are_and_nowhere_else() -> None:
    with pytest.raises(CodecNotAllowed):
        codec(payload="json").encode_triple(7, "a:b", BODIES[0])
    with pytest.raises(CodecNotAllowed):
        codec(payload="json").open_spill(7, codec().seal_spill(7, "a:b", BODIES[0]))
    codec(payload="json", accept=["json", "pickle"]).encode_triple(7, "a:b", BODIES[0])
