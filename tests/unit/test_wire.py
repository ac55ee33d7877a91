"""A task on its way over HTTP: what was packed is unpacked, and what was changed is refused."""

from __future__ import annotations

import pytest

from deferq.codec.signing import Keyring
from deferq.codec.wire import Signed, pack_header, pack_task, sign, unpack_header, unpack_task, verify
from deferq.errors import PayloadCorrupt, PayloadSignatureError
from deferq.model.outcome import (
    INTERRUPTED,
    Cancelled,
    ErrorText,
    Failed,
    Interrupted,
    Outcome,
    Parked,
    Retried,
    Snoozed,
    Succeeded,
)
from deferq.model.task import Leased

KEYRING = Keyring(["a secret of some length"])
NOW_S = 1_800_000_000
ERROR = ErrorText(error_type="ValueError", message="no – \n", traceback="Traceback\n")
TASK = Leased(
    id=2**62,
    queue="mail",
    target="app:größe",
    priority=-5,
    eta=1,
    attempts=0,
    starts=1,
    parks=0,
    expires_at=None,
    name="n",
    route=None,
    url="/x",
    options=None,
    payload=b"DQ",
    first_due=1,
    lease_id=2**40,
    leased_until=3,
    cancel_requested=False,
)
REQUEST = Signed("POST", "/_deferq/run", "", str(NOW_S), pack_task(TASK), TASK.payload)


def test_a_task_comes_back_as_it_was() -> None:
    assert unpack_task(pack_task(TASK), TASK.payload) == TASK
    assert unpack_task(pack_task(TASK._replace(crashes=2, cancel_requested=True)), b"").crashes == 2


@pytest.mark.parametrize("text", ["", "é", "bm90IEpTT04=", "W10=", "e30=", "x" * 100_000, "eyJpZCI6dHJ1ZX0="])
def test_what_is_no_task_is_corrupt(text: str) -> None:
    with pytest.raises(PayloadCorrupt):
        unpack_task(text, b"")


OUTCOMES: list[Outcome] = [
    Succeeded(),
    Succeeded(b"\x00\xff"),
    Failed(error=ERROR),
    Failed(error=ERROR, permanent=True, reason="corrupt", detail="more"),
    Retried(),
    Retried(after_s=2.5, reason="busy"),
    Snoozed(after_s=3.0),
    INTERRUPTED,
    Interrupted(after_s=1.0, reason="no"),
    Cancelled(),
    Parked(error=ERROR),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=repr)
def test_an_outcome_comes_back_as_it_was(outcome: Outcome) -> None:
    assert unpack_header(pack_header(outcome)) == outcome


@pytest.mark.parametrize("text", ["e30=", "eyJvdXRjb21lIjoieCIsInJlYXNvbiI6IiJ9", "eyJvdXRjb21lIjoiZmFpbGVkIn0="])
def test_what_is_no_outcome_is_corrupt(text: str) -> None:
    with pytest.raises(PayloadCorrupt):
        unpack_header(text)


def test_a_signature_fits_what_was_signed_within_five_minutes() -> None:
    signature = sign(KEYRING, REQUEST)
    for late_s in (-300, 0, 300):
        verify(KEYRING, REQUEST, signature, NOW_S + late_s)
    verify(Keyring(["another secret of some length", "a secret of some length"]), REQUEST, signature, NOW_S)


@pytest.mark.parametrize("field", Signed._fields)
def test_whatever_is_changed_is_refused(field: str) -> None:
    old = getattr(REQUEST, field)
    changed = REQUEST._replace(**{field: old + (b"x" if isinstance(old, bytes) else "1")})
    with pytest.raises(PayloadSignatureError):
        verify(KEYRING, changed, sign(KEYRING, REQUEST), NOW_S)


def test_nothing_slides_from_one_part_into_the_next() -> None:
    slid = REQUEST._replace(path=REQUEST.path + "a", query="")
    signature = sign(KEYRING, REQUEST._replace(query="a"))
    with pytest.raises(PayloadSignatureError):
        verify(KEYRING, slid, signature, NOW_S)


@pytest.mark.parametrize(
    "time", ["", "-1", "1e9", "٣" * 10, str(NOW_S - 301), str(NOW_S + 301), "9" * 5000, f" {NOW_S}"]
)
def test_a_time_that_is_none_or_far_away_is_refused(time: str) -> None:
    request = REQUEST._replace(time=time)
    with pytest.raises(PayloadSignatureError):
        verify(KEYRING, request, sign(KEYRING, request), NOW_S)


def test_only_the_one_spelling_of_a_signature_is_taken() -> None:
    signature = sign(KEYRING, REQUEST)
    version, key_id, mac = signature.split(".")
    odd = ["", ".", "..", signature.upper(), signature + " ", f"v2.{key_id}.{mac}", f"{version}..{mac}", "v1.é.é", mac]
    for text in odd:
        with pytest.raises(PayloadSignatureError):
            verify(KEYRING, REQUEST, text, NOW_S)
