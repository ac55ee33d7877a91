"""Any bytes as a stored envelope: refused with a declared error, unless we have sealed these very bytes for this."""

from __future__ import annotations

from deferq.codec.signing import JSON, PICKLE, codec_of, envelope_head
from deferq.errors import CodecNotAllowed, PayloadCorrupt, PayloadSignatureError, UnknownKey, UnsupportedEnvelope
from tests.fuzz.fixtures import CODEC, KEYRING, OLD_KEYRING, STRANGER, task_of
from tests.fuzz.victim import NAMES

_REFUSED = (PayloadCorrupt, UnsupportedEnvelope, UnknownKey, PayloadSignatureError, CodecNotAllowed)
_TASK = task_of()
_BODY = b'[[1,"a"],{}]'


def seeds_envelope() -> list[bytes]:
    """Genuine ones, and such as are genuine for something else."""
    task_id, target = _TASK.id, _TASK.target
    return [
        _TASK.payload,
        b"",
        b"DQ",
        OLD_KEYRING.seal("payload", task_id, target, _BODY, codec=JSON),
        STRANGER.seal("payload", task_id, target, _BODY, codec=JSON),
        KEYRING.seal("result", task_id, target, b"[1]", codec=JSON),
        KEYRING.seal("payload", task_id + 1, target, _BODY, codec=JSON),
        KEYRING.seal("payload", task_id, target, _BODY, codec=JSON, url="/tasks"),
        KEYRING.seal("payload", task_id, target, _BODY, codec=99),
        *(KEYRING.seal("payload", task_id, name, _BODY, codec=JSON) for name in NAMES),
    ]


def fuzz_envelope(data: bytes) -> None:
    """Raises AssertionError, or what was not declared."""
    assert codec_of(data) in (None, "pickle", "json", "http", "unknown")
    head = envelope_head(data[:8])
    assert head is None or (head[0] in (None, 1) and len(head[1]) == 8)
    for purpose in ("payload", "result"):
        _open(purpose, data)  # type: ignore[arg-type]
    try:
        CODEC.decode(_TASK._replace(payload=data))
    except _REFUSED:
        return
    assert data in _genuine("payload", data[40:])


def _open(purpose: str, data: bytes) -> None:
    try:
        codec, body = KEYRING.open(purpose, _TASK.id, _TASK.target, data, codecs=frozenset({PICKLE, JSON}))  # type: ignore[arg-type]
    except _REFUSED:
        return
    assert codec == JSON
    assert data in _genuine(purpose, body)


def _genuine(purpose: str, body: bytes) -> list[bytes]:
    rings = (KEYRING, OLD_KEYRING)
    return [ring.seal(purpose, _TASK.id, _TASK.target, body, codec=JSON) for ring in rings]  # type: ignore[arg-type]
