"""Rows that somebody else has written: targets that nobody may call, and payloads made to hurt.

Whoever runs tasks takes each, and none is imported, restored or unpacked; the row is kept.
"""

from __future__ import annotations

import gzip
import lzma
import pickle
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from deferq import Deferq, State
from deferq.codec.payload import encode_call
from deferq.codec.signing import JSON, PICKLE
from deferq.handles import TaskHandle
from deferq.model.outcome import ErrorText, Failed, Parked
from deferq.runtime.executor import Executor
from tests.support import lease_one, sample_tasks, settle

NOTE = "tests.support.sample_tasks:note"
MIB = 1024 * 1024


def stored(
    app: Deferq, *, target: str = NOTE, body: bytes | None = None, codec: int = PICKLE, payload: bytes | None = None
) -> TaskHandle:
    """A row past all that `defer` looks at: signed, unless the whole payload is given."""
    engine = app.engine
    task = app.tasks.make(app.ids.next(), app.call(sample_tasks.note), engine.now())
    body = encode_call((), {}, None, bound=0) if body is None else body
    sealed = app.codec.keyring.seal("payload", task.id, target, body, codec=codec)
    engine.put([task._replace(target=target, payload=sealed if payload is None else payload)])
    return app.task(task.id)


def tried(app: Deferq, handle: TaskHandle) -> tuple[State, str]:
    """How it stands after somebody has leased it and was to run it, and the kind of error."""
    task = lease_one(app.engine)
    outcome = Executor(app.codec, now=app.engine.now, monotonic=time.monotonic).prepare(task)
    assert isinstance(outcome, Failed | Parked)
    settle(app.engine, task, outcome)
    (failure,) = handle.details().failures
    assert failure.message.isprintable()
    assert len(failure.message) < 300
    return handle.state, failure.error_type.rpartition(".")[2]


def of_users(modules: set[str]) -> set[str]:
    return {name for name in set(sys.modules) - modules if name.partition(".")[0] not in sys.stdlib_module_names} - {
        name for name in sys.modules if name.startswith("deferq")
    }


TARGETS = [
    ("B2", "tests.support.of_nobody:f"),
    *(("B3", target) for target in ("builtins:eval", "os:system", "subprocess:run", "eval", "os.system")),
    *(("B4", target) for target in ("app.tasks.os.system", "__main__:x", "app..tasks", "app.tasks:__class__")),
    *(("B5", target) for target in ("x" * 10_240, "a:b\0", "a:\u202eb", "a:b\n", "\u202ea:b")),
    *(("B6", target) for target in ("tests.badinput.test_calls:Watchful", "tests.badinput.test_calls:Made")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "target"), [pytest.param(*case, id=f"{case[0]} {case[1]!a:.40}") for case in TARGETS]
)
def test_a_stored_target_that_is_not_allowed_is_not_even_imported(
    make_app: Callable[..., Deferq], number: str, target: str
) -> None:
    """Its signature fits: somebody has the secret. It is parked, since a newer application may allow it."""
    app = make_app(allow=["tests.support.sample_tasks"])
    handle = stored(app, target=target)
    modules = set(sys.modules)
    assert tried(app, handle) == (State.PENDING, "TargetNotAllowed")
    assert of_users(modules) == set()
    assert sample_tasks.seen == []


def doubling() -> bytes:
    """Two hundred times twice what was before: 2^200 items."""
    return b"(lp0\n" + b"".join(b"(g%dg%dlp%d\n" % (at, at, at + 1) for at in range(200)) + b"."


ZEROS = bytes(20_000_000)
BODIES: list[tuple[str, Callable[[], bytes]]] = [
    ("B26 memo doubling", doubling),
    ("B26 a length of 2^40", lambda: b"\x80\x05\x8e" + (2**40).to_bytes(8, "little") + b"x"),
    ("B26 a frame of 2^63", lambda: b"\x80\x05\x95" + (2**63 - 1).to_bytes(8, "little")),
    ("B26 100,000 levels", lambda: b"\x80\x05" + b"(" * 100_000 + b"t" * 100_000 + b"."),
    ("B27 gzip", lambda: gzip.compress(ZEROS)),
    ("B27 zlib", lambda: zlib.compress(ZEROS)),
    ("B27 xz", lambda: lzma.compress(ZEROS, preset=0)),
    ("B27 zstd", lambda: b"\x28\xb5\x2f\xfd" + bytes(300)),
    ("B27 a bomb in a bomb", lambda: gzip.compress(gzip.compress(ZEROS))),
    ("B28 YAML", lambda: b"--- !!python/object/apply:os.system ['touch canary-7f3a']\n"),
    ("B28 XML", lambda: b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>"),
    ("B29 a pickle with trailing bytes is cut there", lambda: pickle.dumps(5) + b"more"),
    ("B29 BOM", lambda: b"\xef\xbb\xbf[[],{}]"),
    ("B29 invalid UTF-8", lambda: b'[["\xff"],{}]'),
]
FORGERIES: list[tuple[str, str, str]] = [
    ("bare", "PayloadCorrupt", "pickle"),
    ("forged", "PayloadSignatureError", "pickle"),
    ("signed as JSON", "PayloadFormatError", "json"),
]


@pytest.mark.parametrize(("how", "error", "payload"), FORGERIES)
@pytest.mark.parametrize("make", [pytest.param(case[1], id=case[0]) for case in BODIES])
def test_a_body_made_to_hurt_is_refused_before_it_is_read(
    make_app: Callable[..., Deferq], make: Callable[[], bytes], how: str, error: str, payload: str
) -> None:
    """B18, B26 to B29: without an envelope, in one that does not fit, and, with the secret, as strict JSON."""
    app = make_app(payload=payload)
    body = make()
    if how == "signed as JSON":
        handle = stored(app, body=body, codec=JSON)
    else:
        stored(app).cancel()
        key_id = bytes.fromhex(app.codec.keyring.key_ids[0])
        handle = stored(app, payload=body if how == "bare" else b"DQ\x01p" + key_id + bytes(32) + body)
    app.engine.counts()
    tracemalloc.start()
    try:
        ended = tried(app, handle)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ended == (State.DEAD, error)
    assert handle.refresh().reason == "corrupt"
    assert peak < 16 * MIB
    assert sample_tasks.seen == []


def test_the_kind_of_an_error_is_text_and_never_imported(make_app: Callable[..., Deferq]) -> None:
    """B30: a record that claims to be an exception of a module, as a store or a push answer may bring it."""
    app = make_app()
    handle = app.defer(sample_tasks.note)
    claimed = ErrorText(error_type="tests.support.of_nobody.system", message="touch canary-7f3a", traceback="os.system")
    modules = set(sys.modules)
    settle(app.engine, lease_one(app.engine), Failed(error=claimed, permanent=True))
    (failure,) = handle.details().failures
    with pytest.raises(Exception, match="canary-7f3a") as caught:
        handle.wait(0)
    assert type(caught.value).__module__ == "deferq.errors"
    assert failure.error_type == "tests.support.of_nobody.system"
    assert of_users(modules) == set()
