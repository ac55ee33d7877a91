"""Arguments, results and context as bytes; and the codec that signs them, verifies them and finds the function."""

from __future__ import annotations

import builtins
import contextvars
import datetime
import decimal
import pickle
import socket
import sqlite3
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferq.codec.codec import Codec
from deferq.codec.context import Carried, capture, carriers, restore
from deferq.codec.payload import TRIAL_BYTES_MAX, decode_call, decode_result, encode_call, encode_result
from deferq.codec.signing import Keyring
from deferq.codec.targets import locate
from deferq.errors import (
    CodecNotAllowed,
    ConfigError,
    NotSerializable,
    PayloadCorrupt,
    PayloadError,
    PayloadSignatureError,
    PayloadTooLargeError,
    TargetNotAllowed,
    TargetUnknown,
    UnknownKey,
    UnsupportedEnvelope,
)
from deferq.model.task import Leased
from deferq.registry import Registry
from tests.unit import callables
from tests.unit.scripts import python, write

HERE = callables.__name__
RING = Keyring(["a secret of the application"])


@dataclass
class Order:
    number: int
    lines: list[Any]


def leased(payload: bytes, target: str = f"{HERE}:plain", task_id: int = 7, url: str | None = None) -> Leased:
    return Leased(
        id=task_id, queue="default", target=target, priority=0, eta=0, attempts=0, starts=1, parks=0, expires_at=None,
        name=None, route=None, url=url, options=None, payload=payload, first_due=0, lease_id=1, leased_until=1,
        cancel_requested=False,
    )  # fmt: skip


@pytest.fixture
def codec() -> Codec:
    return Codec(RING, Registry())


# Round trips

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.datetimes() | st.decimals(allow_nan=False) | st.uuids(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(st.lists(PLAIN, max_size=4).map(tuple), st.dictionaries(st.text(), PLAIN, max_size=3))
def test_arguments_come_back_as_they_were(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert decode_call(encode_call(args, kwargs)) == (args, kwargs, {})


@given(PLAIN)
def test_results_come_back_as_they_were(value: Any) -> None:
    assert decode_result(encode_result(value)) == value


def test_objects_of_the_application_come_back() -> None:
    order = Order(1, [decimal.Decimal("1.5"), datetime.date(2024, 2, 29)])
    assert decode_call(encode_call((order,), {"o": order})) == ((order,), {"o": order}, {})


def test_a_string_that_mentions_main_is_just_a_string() -> None:
    args = ("__main__", "STACK_GLOBAL \u0093", b"\x93 __main__", Order(1, ["__main__"]))
    assert decode_call(encode_call(args, {})) == (args, {}, {})
    assert decode_result(encode_result(args)) == args


# What cannot be stored, with the path to it


def test_the_path_leads_to_the_very_value_that_cannot_be_stored() -> None:
    lock = threading.Lock()
    cases: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((lock,), {}, "args[0]"),
        ((1, [2, (3, lock)]), {}, "args[1][1][1]"),
        ((), {"user": {"x": callables.Locked()}}, "kwargs['user']['x'].lock"),
        (({"x": callables.Locked()},), {}, "args[0]['x'].lock"),
        ((callables.Slotted(lock),), {}, "args[0].inner"),
        ((Order(1, [lock]),), {}, "args[0].lines[0]"),
        ((deque([1, lock]),), {}, "args[0][1]"),
        ((OrderedDict(a=lock),), {}, "args[0]['a']"),
        (({callables.plain: lock},), {}, "args[0][<function>]"),
        ((Exception("failed", lock),), {}, "args[0].args[1]"),
        (({callables.Locked().method},), {}, "args[0]{item 0}.args[0].lock"),
        (({lock: 1},), {}, "args[0]{key 0}"),
        ((callables.Forgetful(),), {}, "args[0].source"),
    ]
    for args, kwargs, path in cases:
        with pytest.raises(NotSerializable) as caught:
            encode_call(args, kwargs)
        assert caught.value.path == path
        assert str(caught.value).startswith(f"{path} cannot be stored: ")


def test_what_the_callable_brought_along_is_told_from_the_arguments() -> None:
    locked = callables.Locked()
    with pytest.raises(NotSerializable, match=r"^bound\[0\]\.lock cannot be stored"):
        encode_call((locked, 1), {}, bound=1)
    with pytest.raises(NotSerializable, match=r"^args\[0\]\.lock cannot be stored"):
        encode_call((1, locked), {}, bound=1)


def file_of_this_test() -> Any:
    return open(__file__)


def generated() -> Any:
    return (number for number in [1])


UNSTORABLE: list[tuple[Callable[[], Any], str, str]] = [
    (file_of_this_test, "_io.TextIOWrapper", "an open file belongs to this process; pass its path"),
    (socket.socket, "socket.socket", "a socket belongs to this process; pass the address"),
    (threading.Lock, "_thread.lock", "a lock or thread belongs to this process"),
    (threading.RLock, "_thread.RLock", "a lock or thread belongs to this process"),
    (generated, "generator", "a generator exists only in this process; pass a list"),
    (lambda: sys, "module", "a module cannot be stored; import it in the task"),
    (lambda: lambda: None, "function", "a lambda has no stable name"),
    (lambda: callables.made_inside()[0], "function", "it is defined inside a function"),
    (lambda: callables.made_inside()[1], "type", "it is defined inside a function"),
    (lambda: sqlite3.connect(":memory:"), "sqlite3.Connection", "a database connection or row"),
    (lambda: memoryview(b"abc"), "memoryview", "pickle refuses a memoryview"),
]


@pytest.mark.parametrize(("make", "type_name", "advice"), UNSTORABLE, ids=[row[1] for row in UNSTORABLE])
def test_what_lives_in_one_process_only_is_refused_with_the_fix(
    make: Callable[[], Any], type_name: str, advice: str
) -> None:
    value = make()
    with pytest.raises(NotSerializable, match=advice) as caught:
        encode_call((value,), {})
    assert (caught.value.path, caught.value.type_name) == ("args[0]", type_name)
    if hasattr(value, "close"):
        value.close()


def test_a_database_row_is_refused() -> None:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    with pytest.raises(NotSerializable, match=r"args\[0\] cannot be stored: .*row.*as a tuple or dict"):
        encode_call((connection.execute("SELECT 1").fetchone(),), {})
    connection.close()


def test_a_coroutine_as_argument_is_refused() -> None:
    coroutine = callables.asynchronous(1)
    with pytest.raises(NotSerializable, match="await it and pass its result"):
        encode_call((coroutine,), {})
    coroutine.close()


def test_an_error_message_never_calls_the_code_of_an_argument() -> None:
    hostile = callables.Hostile()
    assert encode_call((hostile,), {})
    with pytest.raises(NotSerializable, match=r"^args\[1\]\.lock"):
        encode_call((hostile, callables.HostileLocked()), {})
    with pytest.raises(NotSerializable, match=r"^args\[0\]\[0\]\[1\]"):
        encode_call(([(hostile, threading.Lock())],), {})
    with pytest.raises(NotSerializable, match=r"^args\[0\]\[0\]"):
        encode_call(([callables.HostileThroughout()],), {})


def test_a_long_key_is_cut_in_the_path() -> None:
    with pytest.raises(NotSerializable) as caught:
        encode_call(({"k" * 10_000: threading.Lock()},), {})
    assert len(caught.value.path) < 60


def test_cycles_are_stored_and_searched() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    (back,), _, _ = decode_call(encode_call((ring,), {}))
    assert back[1] is back
    ring.append(threading.Lock())
    with pytest.raises(NotSerializable, match=r"^args\[0\]\[2\] cannot be stored"):
        encode_call((ring,), {})


WRAPPINGS = pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"a": x}, callables.Slotted])


def nested(levels: int, wrap: Callable[[Any], Any]) -> Any:
    deep: Any = 1
    for _ in range(levels):
        deep = wrap(deep)
    return deep


@WRAPPINGS
def test_deep_nesting_is_stored_or_refused_and_no_recursion_error(wrap: Callable[[Any], Any]) -> None:
    try:
        body = encode_call((nested(5_000, wrap),), {})
    except NotSerializable:
        return
    assert decode_call(body)  # how deep pickle goes depends on the version of Python


@WRAPPINGS
def test_very_deep_nesting_is_refused_and_no_recursion_error(wrap: Callable[[Any], Any]) -> None:
    deep = nested(100_000, wrap)
    with pytest.raises(NotSerializable, match=r"^args\[0\] cannot be stored: this .* is nested too deeply") as caught:
        encode_call((deep,), {})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("make", [lambda: callables.OddError(1, "odd"), callables.Liar, callables.Explosive])
def test_what_pickles_but_never_comes_back_is_refused_at_the_call(make: Callable[[], Any]) -> None:
    with pytest.raises(NotSerializable, match=r"^kwargs\['error'\]\[0\] could not be restored: .*__reduce__") as caught:
        encode_call((), {"error": [make()]})
    assert caught.value.path == "kwargs['error'][0]"


def test_large_arguments_are_not_tried_out_at_the_call() -> None:
    body = encode_call((callables.Liar(), b"x" * TRIAL_BYTES_MAX), {})
    with pytest.raises(PayloadCorrupt, match="ValueError"):
        decode_call(body)


def test_a_result_that_cannot_be_stored_is_named_result() -> None:
    with pytest.raises(NotSerializable, match=r"^result\['a'\] cannot be stored"):
        encode_result({"a": threading.Lock()})
    with pytest.raises(NotSerializable, match=r"^result could not be restored"):
        encode_result(callables.OddError(1, "odd"))


# Decoding


@pytest.mark.parametrize("length", range(0, 60))
def test_a_body_cut_at_any_byte_is_corrupt(length: int) -> None:
    body = encode_call((1, "two", [3.0]), {"four": None})
    with pytest.raises(PayloadCorrupt):
        decode_call(body[: min(length, len(body) - 1)])


@given(st.binary(max_size=60).filter(lambda junk: b"c" not in junk and b"\x93" not in junk))
def test_no_body_can_crash_the_worker(junk: bytes) -> None:
    with pytest.raises(PayloadCorrupt):
        decode_call(junk)


@pytest.mark.parametrize("value", [None, 1, (), ((),), ((), {}, {}, {}), ([], {}), ((), []), ((), {}, [])])
def test_a_pickle_that_is_no_call_is_corrupt(value: Any) -> None:
    with pytest.raises(PayloadCorrupt, match="holds no arguments"):
        decode_call(pickle.dumps(value, 5))


def test_code_that_fails_while_restoring_is_corrupt_and_never_ends_the_worker() -> None:
    body = pickle.dumps(((callables.Explosive(),), {}), 5)
    with pytest.raises(PayloadCorrupt, match="SystemExit"):
        decode_call(body)


def test_an_interrupt_while_restoring_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Any, state: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(callables.Explosive, "__setstate__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        decode_call(pickle.dumps(((callables.Explosive(),), {}), 5))


def test_a_class_that_this_process_does_not_know_is_unknown_and_not_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    body = encode_call((callables.Base(1),), {})
    with pytest.raises(TargetUnknown, match=r"tests\.unit\.callables\.Gone is not known"):
        decode_call(body.replace(b"\x04Base", b"\x04Gone"))
    with pytest.raises(TargetUnknown, match="ModuleNotFoundError"):
        decode_call(body.replace(b"callables", b"no_module"))


def test_a_missing_attribute_in_the_class_own_code_is_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def clumsy(self: Any, state: Any) -> None:
        self.no_such_attribute.x = 1

    monkeypatch.setattr(callables.Explosive, "__setstate__", clumsy)
    with pytest.raises(PayloadCorrupt, match="AttributeError"):
        decode_call(pickle.dumps(((callables.Explosive(),), {}), 5))


# Classes of a script

SCRIPT = """
    import pathlib
    from deferq.codec.payload import decode_call, decode_result, encode_call, encode_result
    from deferq.errors import DeferqError

    class User:
        class Address: ...

    if __name__ != "users":
        try:
            pathlib.Path("call").write_bytes(encode_call((User(), User.Address()), {"text": "__main__"}))
            print(type(decode_call(pathlib.Path("call").read_bytes())[0][0]) is User)
            if pathlib.Path("result").exists():
                print(type(decode_result(pathlib.Path("result").read_bytes())) is User)
        except DeferqError as error:
            print(type(error).__name__, error)
"""
WORKER = """
    import pathlib, sys
    from deferq.codec.payload import decode_call, encode_result
    args, kwargs, _ = decode_call(pathlib.Path("call").read_bytes())
    print([f"{type(arg).__module__}.{type(arg).__qualname__}" for arg in args], kwargs)
    pathlib.Path("result").write_bytes(encode_result(args[0]))
"""


def test_objects_of_a_script_travel_to_a_worker_and_back(tmp_path: Path) -> None:
    write(tmp_path, users=SCRIPT, worker=WORKER)
    assert python(tmp_path, "users.py") == "True"
    assert python(tmp_path, "worker.py") == "['users.User', 'users.User.Address'] {'text': '__main__'}"
    assert python(tmp_path, "users.py") == "True\nTrue"


def test_objects_made_in_a_child_of_multiprocessing_travel_too(tmp_path: Path) -> None:
    write(
        tmp_path,
        worker=WORKER,
        spawning="""
        import multiprocessing, pathlib
        from deferq.codec.payload import encode_call

        class User: ...
        def store(): pathlib.Path("call").write_bytes(encode_call((User(),), {}))

        if __name__ == "__main__":
            child = multiprocessing.get_context("spawn").Process(target=store)
            child.start()
            child.join()
        """,
    )
    assert python(tmp_path, "spawning.py") == ""
    assert python(tmp_path, "worker.py") == "['spawning.User'] {}"


def test_a_worker_without_the_script_says_what_it_misses(tmp_path: Path) -> None:
    write(tmp_path, users=SCRIPT, worker=WORKER)
    python(tmp_path, "users.py")
    (tmp_path / "users.py").unlink()
    assert "TargetUnknown: users.User is not known in this process (ModuleNotFoundError)" in python(
        tmp_path, "worker.py"
    )


def test_objects_of_an_interactive_session_are_refused_and_its_strings_are_not(tmp_path: Path) -> None:
    program = "\n".join(line[4:] for line in SCRIPT.splitlines())
    assert "NotSerializable An argument has the class User" in python(tmp_path, "-c", program)
    program = "from deferq.codec.payload import *; import datetime\n"
    program += "print(decode_call(encode_call(('__main__', datetime.date(1, 1, 1)), {}))[0][0])"
    assert python(tmp_path, "-c", program) == "__main__"


# Context

LANGUAGE: contextvars.ContextVar[str] = contextvars.ContextVar("language", default="en")
TENANT: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")


def test_only_context_that_is_set_is_captured() -> None:
    carried = carriers([LANGUAGE, TENANT])

    def inside() -> dict[str, Any] | None:
        TENANT.set("a")
        return capture(carried)

    assert contextvars.Context().run(capture, carried) is None
    assert contextvars.Context().run(inside) == {"tenant": "a"}


def test_context_is_restored_in_the_context_of_the_task_only() -> None:
    carried = carriers([LANGUAGE])

    def inside() -> str:
        restore(carried, {"language": "de", "unknown": 1})
        return LANGUAGE.get()

    assert contextvars.Context().run(inside) == "de"
    assert LANGUAGE.get() == "en"


def test_anything_with_a_getter_and_a_setter_can_be_carried() -> None:
    store = {"user": "ann"}
    carried = carriers([Carried("user", lambda: store["user"], lambda value: store.update(user=value))])
    assert capture(carried) == {"user": "ann"}
    restore(carried, {"user": "bob"})
    assert store == {"user": "bob"}
    store.clear()
    assert capture(carried) is None


def test_what_cannot_be_carried_is_refused_when_it_is_configured() -> None:
    with pytest.raises(ConfigError, match="str cannot be carried; pass a contextvars"):
        carriers(["language"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="'language' is there twice"):
        carriers([LANGUAGE, contextvars.ContextVar("language")])


# The codec


def encoded(codec: Codec, fn: Callable[..., Any] = callables.plain, *args: Any, **kwargs: Any) -> Leased:
    located = locate(fn, Registry())
    return leased(codec.encode(7, located, args, kwargs), located.target)


def test_a_call_becomes_an_invocation(codec: Codec) -> None:
    invocation = codec.decode(encoded(codec, callables.plain, 1, a=2))
    assert invocation == (callables.plain, (1,), {"a": 2}, {}, False, True)
    assert codec.decode(encoded(codec, callables.asynchronous, 1)).is_async


def test_what_the_callable_brings_along_goes_first(codec: Codec) -> None:
    invocation = codec.decode(encoded(codec, callables.Base(40).method, 2))
    assert invocation.fn(*invocation.args, **invocation.kwargs) == 42


def test_context_travels_with_the_call() -> None:
    codec = Codec(RING, Registry(), carry=[LANGUAGE])
    task = contextvars.Context().run(lambda: (LANGUAGE.set("de"), encoded(codec, callables.plain, 1))[1])
    assert codec.decode(task).context == {"language": "de"}
    assert codec.decode(encoded(codec)).context == {}
    with pytest.raises(NotSerializable, match=r"^carry\['tenant'\] cannot be stored"):
        contextvars.Context().run(
            lambda: (TENANT.set(threading.Lock()), encoded(Codec(RING, Registry(), carry=[TENANT])))  # type: ignore[arg-type]
        )


def test_the_keyring_is_asked_for_once_and_not_before_it_is_needed() -> None:
    asked: list[int] = []

    def keyring() -> Keyring:
        asked.append(1)
        return RING

    codec = Codec(keyring, Registry())
    assert asked == []
    codec.decode(encoded(codec))
    assert asked == [1]


def test_arguments_over_the_limit_are_refused_with_both_sizes() -> None:
    codec = Codec(RING, Registry(), payload_limit=1000)
    with pytest.raises(PayloadTooLargeError, match=r"arguments: 2,0\d\d bytes, and at most 1,000") as caught:
        encoded(codec, callables.plain, b"x" * 2000)
    assert caught.value.limit == 1000
    assert caught.value.size > 2000
    with pytest.raises(PayloadTooLargeError, match="result: "):
        codec.seal_result(7, "a:b", b"x" * 2000)


def test_a_payload_of_just_the_limit_is_taken() -> None:
    size = len(encode_call((b"x" * 1000,), {}))
    assert encoded(Codec(RING, Registry(), payload_limit=size), callables.plain, b"x" * 1000)
    with pytest.raises(PayloadTooLargeError):
        encoded(Codec(RING, Registry(), payload_limit=size - 1), callables.plain, b"x" * 1000)


def test_results_are_sealed_for_their_task_and_none_is_nothing(codec: Codec) -> None:
    sealed = codec.seal_result(7, "a:b", {"x": 1})
    assert codec.open_result(7, "a:b", sealed) == {"x": 1}
    assert codec.seal_result(7, "a:b", None) is None
    assert codec.open_result(7, "a:b", None) is None
    for task_id, target in [(8, "a:b"), (7, "a:c")]:
        with pytest.raises(PayloadSignatureError):
            codec.open_result(task_id, target, sealed)


def test_an_allow_list_is_a_list_of_prefixes() -> None:
    for allow in ["myapp.", [""], ["."], [None]]:
        with pytest.raises(ConfigError, match=r'allow=\["myapp\."\]'):
            Codec(RING, Registry(), allow=allow)  # type: ignore[arg-type]


def test_the_allow_list_holds_for_signed_payloads_too(codec: Codec) -> None:
    limited = Codec(RING, Registry(), allow=["myapp."])
    with pytest.raises(TargetNotAllowed):
        limited.decode(encoded(codec, len, "abc"))


# Payloads that must not run


class Canary:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return builtins.open, (str(self.path), "w")


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def evil(canary: Path) -> bytes:
    return pickle.dumps(((Canary(canary),), {}), 5)


def rejected(codec: Codec, task: Leased, kind: type[Exception]) -> None:
    """`task` is refused with exactly this error, and nothing is imported for it."""
    before = set(sys.modules)
    with pytest.raises(kind) as caught:
        codec.decode(task)
    assert type(caught.value) is kind
    assert set(sys.modules) == before


def test_the_canary_would_sing(codec: Codec, evil: bytes, canary: Path) -> None:
    (file,) = codec.decode(leased(RING.seal("payload", 7, f"{HERE}:plain", evil))).args
    file.close()
    assert canary.exists()


def test_an_unsigned_pickle_is_never_restored(codec: Codec, evil: bytes, canary: Path) -> None:
    header = RING.seal("payload", 7, f"{HERE}:plain", b"")[:8]
    for payload, kind in [
        (evil, PayloadCorrupt),
        (b"", PayloadCorrupt),
        (header + b"\x00" * 32 + evil, PayloadSignatureError),
        (header[:4] + b"none" + b"\x00" * 32 + evil, UnknownKey),
        (b"DQ\x63p" + header[4:] + b"\x00" * 32 + evil, UnsupportedEnvelope),
    ]:
        rejected(codec, leased(payload, "this:s"), kind)
    assert not canary.exists()


def test_a_pickle_signed_with_another_key_is_never_restored(codec: Codec, evil: bytes, canary: Path) -> None:
    foreign = Keyring(["the secret of somebody else"]).seal("payload", 7, f"{HERE}:plain", evil)
    rejected(codec, leased(foreign), UnknownKey)
    assert not canary.exists()


def test_a_genuine_payload_moved_elsewhere_is_never_restored(codec: Codec, evil: bytes, canary: Path) -> None:
    genuine = RING.seal("payload", 7, f"{HERE}:plain", evil)
    rejected(codec, leased(genuine, task_id=8), PayloadSignatureError)
    rejected(codec, leased(genuine, target="this:s"), PayloadSignatureError)
    rejected(codec, leased(genuine, url="/elsewhere"), PayloadSignatureError)
    rejected(codec, leased(RING.seal("result", 7, f"{HERE}:plain", evil)), PayloadSignatureError)
    assert not canary.exists()


def test_a_codec_that_is_not_accepted_is_never_decoded(evil: bytes, canary: Path) -> None:
    codec = Codec(RING, Registry(), accept=["pickle"])
    for other in (ord("j"), 0, 255):
        sealed = RING.seal("payload", 7, f"{HERE}:plain", evil, codec=other)
        rejected(codec, leased(sealed), CodecNotAllowed)
    assert not canary.exists()


def test_no_argument_is_restored_for_a_target_that_is_unknown_or_not_allowed(evil: bytes, canary: Path) -> None:
    codec = Codec(RING, Registry(), allow=["tests."])
    for target, kind in [("this:s", TargetNotAllowed), (f"{HERE}:no_such", TargetUnknown), ("junk", TargetNotAllowed)]:
        rejected(codec, leased(RING.seal("payload", 7, target, evil), target), kind)
    assert not canary.exists()


def test_no_bit_and_no_byte_of_a_stored_payload_may_change(codec: Codec, evil: bytes, canary: Path) -> None:
    genuine = RING.seal("payload", 7, f"{HERE}:plain", evil)
    forgeries = [genuine[:length] for length in range(len(genuine))]
    for bit in range(len(genuine) * 8):
        flipped = bytearray(genuine)
        flipped[bit // 8] ^= 1 << bit % 8
        forgeries.append(bytes(flipped))
    for forged in forgeries:
        with pytest.raises(PayloadError):
            codec.decode(leased(forged))
    assert not canary.exists()
