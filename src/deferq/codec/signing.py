"""Signed envelopes: nothing is unpickled, imported or called before the signature fits.

    envelope v1 = "DQ" · version (1 byte) · codec (1 byte) · key id (4 bytes) · MAC (32 bytes) · body

The MAC is keyed BLAKE2b over the header, the task id, the target, the url, the method and the body, so that a valid
body cannot be moved to another task or target. Each text goes in with its length, so that nothing can slide from one
into the next. The purpose is BLAKE2b's personalisation: a result never passes for a payload.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from struct import Struct
from typing import Final, Literal

from deferq.errors import (
    CodecNotAllowed,
    ConfigError,
    PayloadCorrupt,
    PayloadSignatureError,
    UnknownKey,
    UnsupportedEnvelope,
)

PICKLE: Final = ord("p")
JSON: Final = ord("j")
#: A pickle too, of a call that names its own callable: what App Engine's library makes (see triples.py).
TRIPLE: Final = ord("t")
#: A request to be delivered as it is; see `deferq.codec.requests`.
HTTP: Final = ord("h")
#: By the names that settings use.
CODECS: Final[Mapping[str, int]] = {"pickle": PICKLE, "json": JSON}
_NAMES: Final[Mapping[int, str]] = {PICKLE: "pickle", JSON: "json", TRIPLE: "pickle", HTTP: "http"}
VERSION: Final = 1
SECRET_BYTES_MIN: Final = 16

Purpose = Literal["payload", "result", "spill"]

_PURPOSES = ("payload", "result", "spill", "request")
_MAGIC = b"DQ"
_MAGIC_V1 = _MAGIC + bytes([VERSION])
_MAC_AT, _BODY_AT = 8, 40
_ID_AND_LENGTH = Struct(">qI").pack
_LENGTH = Struct(">I").pack
#: In place of a length: there is no text, which is not the same as an empty one.
_NO_TEXT = b"\xff\xff\xff\xff"
_NO_URL_NO_METHOD = _NO_TEXT * 2
_ONLY_PICKLE = frozenset({PICKLE})


class _Key:
    """One secret, with a prepared hash for each purpose: copying it costs a sixth of keying a new one."""

    __slots__ = ("id", "macs")

    def __init__(self, secret: bytes) -> None:
        derived = blake2b(secret, person=b"deferq key v1", digest_size=32).digest()
        self.id = blake2b(key=derived, person=b"deferq key id", digest_size=4).digest()
        self.macs = {
            purpose: blake2b(key=derived, person=b"deferq " + purpose.encode(), digest_size=32) for purpose in _PURPOSES
        }


def codec_of(envelope: bytes | None) -> str | None:
    """The name of the codec an envelope claims, unverified, for people to read; None if it is no envelope."""
    if envelope is None or len(envelope) < _BODY_AT or envelope[:2] != _MAGIC:
        return None
    return _name_of(envelope[3]) or "unknown"


def body_of(envelope: bytes) -> bytes:
    """What an envelope holds; for those whose signature was verified."""
    return envelope[_BODY_AT:]


def envelope_head(head: bytes) -> tuple[int | None, str] | None:
    """The version and key id that the first eight bytes of an envelope claim, unverified; None: it is no envelope.

    The version is None if it is not one that this release reads.
    """
    if len(head) < _MAC_AT or head[:2] != _MAGIC:
        return None
    return (VERSION if head[2] == VERSION else None), head[4:_MAC_AT].hex()


class Keyring:
    """The application's secrets, newest first: the first signs, all verify."""

    __slots__ = ("_keys", "_signer")

    def __init__(self, secrets: Sequence[str | bytes]) -> None:
        """Derive a key from each secret; raises ConfigError for none, for a short one, or for a bare string."""
        if isinstance(secrets, str | bytes):
            raise ConfigError("secrets: this is one secret, and a list is expected; put it in brackets.")
        keys = [_Key(_checked_secret(position, secret)) for position, secret in enumerate(secrets)]
        if not keys:
            raise ConfigError(f"secrets: the list is empty, so nothing can be signed. {_MAKE_ONE}")
        self._signer = keys[0]
        self._keys = {key.id: key for key in reversed(keys)}

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._keys)}, signs with {self._signer.id.hex()}>"

    @property
    def key_ids(self) -> list[str]:
        """What envelopes name the keys by, newest first; they tell nothing of the secrets."""
        others = [key for key in reversed(self._keys.values()) if key is not self._signer]
        return [key.id.hex() for key in (self._signer, *others)]

    def seal(
        self,
        purpose: Purpose,
        task_id: int,
        target: str,
        body: bytes,
        *,
        codec: int = PICKLE,
        url: str | None = None,
        method: str | None = None,
    ) -> bytes:
        """The signed envelope around `body`, good for this purpose, task and target only."""
        key = self._signer
        header = b"%b%c%b" % (_MAGIC_V1, codec, key.id)
        mac = key.macs[purpose].copy()
        mac.update(header + _bound(task_id, target, url, method))
        mac.update(body)
        return b"%b%b%b" % (header, mac.digest(), body)

    def open(
        self,
        purpose: Purpose,
        task_id: int,
        target: str,
        envelope: bytes,
        *,
        url: str | None = None,
        method: str | None = None,
        codecs: frozenset[int] = _ONLY_PICKLE,
    ) -> tuple[int, bytes]:
        """The codec and body of an envelope whose signature fits.

        Raises:
            PayloadCorrupt: it is no envelope.
            UnsupportedEnvelope: a newer deferq wrote it.
            UnknownKey: it is signed with a key that is not on this ring.
            PayloadSignatureError: it was changed, or made for another purpose, task or target.
            CodecNotAllowed: it is genuine, but its codec is not in `codecs`.
        """
        header = envelope[:_MAC_AT]
        if header[:3] != _MAGIC_V1 or len(envelope) < _BODY_AT:
            raise _not_an_envelope(envelope)
        key = self._keys.get(header[4:])
        if key is None:
            raise UnknownKey(
                f"The payload is signed with key {header[4:].hex()}, which this process does not have;"
                " add its secret to `secrets`."
            )
        body = envelope[_BODY_AT:]
        mac = key.macs[purpose].copy()
        mac.update(header + _bound(task_id, target, url, method))
        mac.update(body)
        if not hmac.compare_digest(mac.digest(), envelope[_MAC_AT:_BODY_AT]):
            raise PayloadSignatureError(
                f"The signature of this {purpose} does not fit it, its task or its target; it will not be run. It"
                " was changed in the store, or put there by somebody else: defer the task anew."
            )
        if header[3] not in codecs:
            raise _not_accepted(purpose, header[3], codecs)
        return header[3], body

    def sign_request(self, parts: Iterable[bytes]) -> tuple[bytes, bytes]:
        """The id of the newest key, and its MAC over the parts of a request, each with its length."""
        return self._signer.id, _request_mac(self._signer, parts)

    def knows_request(self, parts: Iterable[bytes], key_id: str, mac: str) -> bool:
        """Whether one of our keys has this id and made this MAC, both in lower-case hexadecimal."""
        key = next((key for key in self._keys.values() if hmac.compare_digest(key.id.hex(), _ascii(key_id))), None)
        made = _request_mac(key or self._signer, parts)  # an unknown key takes as long as a known one
        return hmac.compare_digest(made.hex(), _ascii(mac)) and key is not None


def _request_mac(key: _Key, parts: Iterable[bytes]) -> bytes:
    mac = key.macs["request"].copy()
    for part in parts:
        mac.update(_LENGTH(len(part)))
        mac.update(part)  # apart: a body may be large
    return mac.digest()


def _ascii(text: str) -> str:
    """`compare_digest` refuses other texts; none of them is hexadecimal."""
    return text if text.isascii() else ""


def _bound(task_id: int, target: str, url: str | None, method: str | None) -> bytes:
    """What the MAC covers beside header and body."""
    # surrogatepass: a target that a damaged store hands back must fail at the MAC, not here.
    name = target.encode("utf-8", "surrogatepass")
    if url is None and method is None:
        return _ID_AND_LENGTH(task_id, len(name)) + name + _NO_URL_NO_METHOD
    return _ID_AND_LENGTH(task_id, len(name)) + name + _text(url) + _text(method)


def _text(text: str | None) -> bytes:
    if text is None:
        return _NO_TEXT
    encoded = text.encode("utf-8", "surrogatepass")
    return _LENGTH(len(encoded)) + encoded


def _name_of(codec: int) -> str | None:
    return _NAMES.get(codec)


def _not_accepted(purpose: Purpose, codec: int, codecs: frozenset[int]) -> CodecNotAllowed:
    name = _name_of(codec)
    if name is None:
        return CodecNotAllowed(
            f"The {purpose} uses codec {codec}, which this deferq does not know; it will not be run."
        )
    if codec == HTTP:
        return CodecNotAllowed(
            "This is a request that is delivered to the application as it is, and no call; nothing was run."
        )
    accepted = ", ".join(known for known, number in CODECS.items() if number in codecs)
    return CodecNotAllowed(
        f"The {purpose} is stored as {name}, and this application accepts {accepted}; it will not be run. While there"
        f" are such tasks, set payload_accept to {accepted},{name}."
    )


def _not_an_envelope(envelope: bytes) -> PayloadCorrupt | UnsupportedEnvelope:
    if len(envelope) < _BODY_AT or envelope[:2] != _MAGIC:
        return PayloadCorrupt(
            f"These {len(envelope)} bytes are not an envelope of deferq, or end early. The store is damaged, or"
            " something else writes to it."
        )
    return UnsupportedEnvelope(
        f"The envelope has version {envelope[2]}, and this deferq reads version {VERSION}; upgrade it."
    )


_MAKE_ONE = 'Make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'


def _checked_secret(position: int, secret: object) -> bytes:
    raw = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    if not isinstance(raw, bytes):
        raise ConfigError(f"secrets[{position}] is neither text nor bytes. {_MAKE_ONE}")
    if len(raw) < SECRET_BYTES_MIN:
        raise ConfigError(
            f"secrets[{position}] has {len(raw)} bytes, and at least {SECRET_BYTES_MIN} are needed. {_MAKE_ONE}"
        )
    return raw
