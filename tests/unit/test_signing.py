"""Envelopes: what fits is opened, anything else is refused before the body is touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferq.codec.signing import JSON, PICKLE, Keyring
from deferq.errors import (
    CodecNotAllowed,
    ConfigError,
    PayloadCorrupt,
    PayloadError,
    PayloadSignatureError,
    UnknownKey,
    UnsupportedEnvelope,
)

OLD, NEW = "an old secret of enough length", b"a new secret of enough length"
RING = Keyring([NEW])
ENVELOPE = RING.seal("payload", 7, "app:send", b"body")


def test_what_was_sealed_can_be_opened() -> None:
    assert RING.open("payload", 7, "app:send", ENVELOPE) == (PICKLE, b"body")


def test_the_envelope_has_the_documented_form() -> None:
    assert ENVELOPE[:4] == b"DQ\x01p"
    assert len(ENVELOPE) == 4 + 4 + 32 + len(b"body")
    assert ENVELOPE.endswith(b"body")


def test_an_envelope_of_the_first_release_opens_for_ever() -> None:
    stored = (
        "44510170becc6070edf0e95727a84aa8e0188ad3d48065610e571b67775935c58ff1f53f49618018626f6479"  # never change this
    )
    assert RING.open("payload", 7, "app:send", bytes.fromhex(stored)) == (PICKLE, b"body")


@pytest.mark.parametrize("length", range(len(ENVELOPE)))
def test_an_envelope_cut_at_any_byte_is_refused(length: int) -> None:
    expected = PayloadCorrupt if length < 40 else PayloadSignatureError
    with pytest.raises(expected):
        RING.open("payload", 7, "app:send", ENVELOPE[:length])


@pytest.mark.parametrize("bit", range(len(ENVELOPE) * 8))
def test_an_envelope_with_any_bit_flipped_is_refused(bit: int) -> None:
    forged = bytearray(ENVELOPE)
    forged[bit // 8] ^= 1 << bit % 8
    expected = {0: PayloadCorrupt, 1: PayloadCorrupt, 2: UnsupportedEnvelope, 3: PayloadSignatureError}
    kind = expected.get(bit // 8, UnknownKey if bit // 8 < 8 else PayloadSignatureError)
    with pytest.raises(kind):
        RING.open("payload", 7, "app:send", bytes(forged))


def test_an_envelope_cannot_be_moved_to_another_task_or_target() -> None:
    for task_id, target in [(8, "app:send"), (-7, "app:send"), (7, "app:sen"), (7, "os:system"), (7, "")]:
        with pytest.raises(PayloadSignatureError, match="does not fit"):
            RING.open("payload", task_id, target, ENVELOPE)


def test_a_result_does_not_pass_for_a_payload() -> None:
    result = RING.seal("result", 7, "app:send", b"body")
    with pytest.raises(PayloadSignatureError):
        RING.open("payload", 7, "app:send", result)
    with pytest.raises(PayloadSignatureError):
        RING.open("result", 7, "app:send", ENVELOPE)


@pytest.mark.parametrize(
    ("url", "method"), [(None, None), ("", None), ("/a", None), ("/a", "POST"), ("/aP", "OST"), (None, "/a")]
)
def test_url_and_method_are_bound_and_nothing_slides_between_them(url: str | None, method: str | None) -> None:
    sealed = RING.seal("payload", 7, "app:send", b"body", url=url, method=method)
    assert RING.open("payload", 7, "app:send", sealed, url=url, method=method) == (PICKLE, b"body")
    for other in [(None, None), ("", None), ("/a", None), ("/a", "POST"), ("/aP", "OST"), (None, "/a"), ("", "")]:
        if other != (url, method):
            with pytest.raises(PayloadSignatureError):
                RING.open("payload", 7, "app:send", sealed, url=other[0], method=other[1])


def test_the_target_does_not_slide_into_the_body() -> None:
    sealed = RING.seal("payload", 7, "app:send", b"Xbody")
    with pytest.raises(PayloadSignatureError):
        RING.open("payload", 7, "app:sendX", sealed[:40] + b"body")


def test_a_damaged_target_fails_at_the_signature() -> None:
    with pytest.raises(PayloadSignatureError):
        RING.open("payload", 7, "app:\udc80", ENVELOPE)


def test_the_newest_secret_signs_and_older_ones_still_verify() -> None:
    rotated, before = Keyring([NEW, OLD]), Keyring([OLD])
    old_envelope = before.seal("payload", 7, "app:send", b"body")
    assert rotated.open("payload", 7, "app:send", old_envelope) == (PICKLE, b"body")
    assert rotated.seal("payload", 7, "app:send", b"body") == ENVELOPE


def test_a_retired_key_is_named_by_its_id_only() -> None:
    old_envelope = Keyring([OLD]).seal("payload", 7, "app:send", b"body")
    with pytest.raises(UnknownKey) as caught:
        RING.open("payload", 7, "app:send", old_envelope)
    assert old_envelope[4:8].hex() in str(caught.value)
    assert OLD not in str(caught.value)


def test_a_newer_version_is_left_to_a_newer_deferq() -> None:
    with pytest.raises(UnsupportedEnvelope, match="version 99, and this deferq reads version 1"):
        RING.open("payload", 7, "app:send", b"DQ" + bytes([99]) + ENVELOPE[3:])


def test_a_genuine_envelope_with_another_codec_is_refused() -> None:
    sealed = RING.seal("payload", 7, "app:send", b"{}", codec=JSON)
    assert RING.open("payload", 7, "app:send", sealed, codecs=frozenset({JSON})) == (JSON, b"{}")
    with pytest.raises(CodecNotAllowed, match="is stored as json, and this application accepts pickle"):
        RING.open("payload", 7, "app:send", sealed)


def test_a_codec_changed_to_pickle_breaks_the_signature() -> None:
    sealed = RING.seal("payload", 7, "app:send", b"{}", codec=JSON)
    with pytest.raises(PayloadSignatureError):
        RING.open("payload", 7, "app:send", sealed[:3] + b"p" + sealed[4:])


@given(st.binary(max_size=200))
def test_no_bytes_that_we_did_not_seal_are_opened(junk: bytes) -> None:
    for envelope in (junk, b"DQ\x01p" + junk, ENVELOPE[:8] + junk):
        with pytest.raises(PayloadError):
            RING.open("payload", 7, "app:send", envelope)


@given(st.integers(-(2**63), 2**63 - 1), st.text(max_size=50), st.binary(max_size=300))
def test_anything_sealed_comes_back(task_id: int, target: str, body: bytes) -> None:
    assert RING.open("payload", task_id, target, RING.seal("payload", task_id, target, body)) == (PICKLE, body)


@pytest.mark.parametrize("secrets", [["short"], [b"fifteen bytes.."], [NEW, ""]])
def test_a_short_secret_is_refused_with_the_way_to_make_one(secrets: list[str | bytes]) -> None:
    with pytest.raises(ConfigError, match="at least 16 are needed") as caught:
        Keyring(secrets)
    assert 'python -c "import secrets; print(secrets.token_urlsafe(32))"' in str(caught.value)
    assert "short" not in str(caught.value)


def test_no_secrets_or_a_bare_one_or_no_text_are_refused() -> None:
    with pytest.raises(ConfigError, match="the list is empty"):
        Keyring([])
    with pytest.raises(ConfigError, match="put it in brackets"):
        Keyring("one secret that is long enough")
    with pytest.raises(ConfigError, match=r"secrets\[0\] is neither text nor bytes"):
        Keyring([None])  # type: ignore[list-item]


def test_a_keyring_shows_no_secret() -> None:
    shown = repr(Keyring([OLD, NEW]))
    assert "Keyring of 2" in shown
    assert "secret" not in shown
