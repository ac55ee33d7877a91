"""A task on its way over HTTP: what was packed is unpacked, and what was changed is refused."""

from __future__ import annotations

import pytest

from deferq.codec.signing import Keyring
from deferq.codec.wire import (
    HEADER_BYTES_MAX,
    IN_BODY,
    RUN_PATH,
    SETTLED,
    Delivered,
    Signed,
    outcome_of,
    pack_body,
    pack_fitting,
    pack_header,
    pack_task,
    sign,
    unpack_answer,
    unpack_delivery,
    unpack_header,
    unpack_task,
    verify,
)
from deferq.errors import PayloadCorrupt, PayloadSignatureError
from deferq.http import paths
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
    assert unpack_task(pack_task(TASK._replace(cancel_requested=0)), TASK.payload) == TASK  # as SQLite says it
    assert unpack_task(pack_task(TASK._replace(crashes=2, cancel_requested=True)), b"").crashes == 2


@pytest.mark.parametrize("text", ["", "é", "bm90IEpTT04=", "W10=", "e30=", "x" * 100_000, "eyJpZCI6dHJ1ZX0="])
def test_what_is_no_task_is_corrupt(text: str) -> None:
    with pytest.raises(PayloadCorrupt):
        unpack_task(text, b"")


@pytest.mark.parametrize("cancel_requested", [0, 1])
def test_a_task_comes_back_as_an_engine_has_leased_it(cancel_requested: int) -> None:
    """A row of SQLite has numbers in place of truth values."""
    task = TASK._replace(cancel_requested=cancel_requested)  # type: ignore[arg-type]
    assert unpack_task(pack_task(task), TASK.payload) == task


@pytest.mark.parametrize("wait_s", [None, 0, 600, 0.5])
def test_it_says_for_how_long_its_sender_waits(wait_s: float | None) -> None:
    assert unpack_delivery(pack_task(TASK, wait_s), TASK.payload) == Delivered(TASK, wait_s)


@pytest.mark.parametrize("wait_s", [-1, "600", True, float("nan"), float("inf"), 1e300, 10**400])
def test_what_is_no_number_of_seconds_is_corrupt(wait_s: object) -> None:
    with pytest.raises(PayloadCorrupt):
        unpack_delivery(pack_task(TASK, wait_s), b"")  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**400])
@pytest.mark.parametrize("field", ["id", "lease_id", "starts"])
def test_a_number_that_no_store_holds_is_corrupt(field: str, number: int) -> None:
    with pytest.raises(PayloadCorrupt):
        unpack_task(pack_task(TASK._replace(**{field: number})), b"")


def test_the_wrappers_know_the_path_without_loading_this() -> None:
    assert (paths.RUN_PATH, paths.RUN_PATH.startswith(paths.OUR_PATHS)) == (RUN_PATH, True)


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
    Interrupted(after_s=2.0),
    Cancelled(),
    Parked(error=ERROR),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=repr)
def test_an_outcome_comes_back_as_it_was(outcome: Outcome) -> None:
    assert unpack_header(pack_header(outcome)) == outcome


@pytest.mark.parametrize("outcome", OUTCOMES, ids=repr)
def test_an_outcome_that_is_small_fits_whole_and_in_a_body_all_do(outcome: Outcome) -> None:
    assert unpack_answer(pack_fitting(outcome) or "", b"") == outcome
    assert unpack_answer(IN_BODY, pack_body(outcome)) == outcome


def test_who_has_settled_says_so_in_place_of_an_outcome() -> None:
    assert unpack_answer(SETTLED, b"") is None


def test_a_result_fits_or_does_not() -> None:
    assert unpack_answer(pack_fitting(Succeeded(bytes(3_000))) or "", b"") == Succeeded(bytes(3_000))
    for size in (4_000, 6_000, 1_000_000):
        assert pack_fitting(Succeeded(bytes(size))) is None


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f40d", "\0"])
@pytest.mark.parametrize("kind", [Failed, Parked])
def test_of_a_long_traceback_the_end_fits(letter: str, kind: type[Failed] | type[Parked]) -> None:
    lines = "".join(f"line {number} {letter * 40}\n" for number in range(400))
    long = kind(error=ErrorText(error_type="E", message=letter * 100, traceback=lines))
    text = pack_fitting(long)
    assert text is not None
    assert len(text) <= HEADER_BYTES_MAX
    cut = unpack_header(text)
    assert isinstance(cut, kind)
    assert cut.error.message.startswith(letter * 100)
    *_, last = lines.splitlines()
    assert cut.error.traceback == "" or cut.error.traceback.endswith(f"{last}\n")
    if letter == "x":
        assert len(cut.error.traceback) > 2_000


def test_a_message_of_four_thousand_odd_characters_is_cut_too() -> None:
    error = ErrorText(error_type="E" * 256, message="\0" * 4096, traceback="\0" * 16_384)
    text = pack_fitting(Failed(error=error, reason="permanent", detail="d" * 200))
    assert text is not None
    cut = unpack_header(text)
    assert isinstance(cut, Failed)
    assert cut.error.message.startswith("\0" * 250)


@pytest.mark.parametrize("text", ["e30=", "eyJvdXRjb21lIjoieCIsInJlYXNvbiI6IiJ9", "eyJvdXRjb21lIjoiZmFpbGVkIn0="])
def test_what_is_no_outcome_is_corrupt(text: str) -> None:
    with pytest.raises(PayloadCorrupt):
        unpack_header(text)


@pytest.mark.parametrize("after_s", ["1e300", "-1e300", f"1{'0' * 400}", "Infinity", "NaN", '"5"', "null", "[]"])
def test_an_outcome_has_a_number_of_seconds_that_a_store_holds(after_s: str) -> None:
    with pytest.raises(PayloadCorrupt):
        unpack_answer(IN_BODY, f'{{"outcome":"snoozed","after_s":{after_s},"reason":""}}'.encode())


def test_a_document_is_utf_8_and_nothing_else() -> None:
    body = pack_body(Snoozed(after_s=5))
    assert unpack_answer(IN_BODY, body) == Snoozed(after_s=5)
    with pytest.raises(PayloadCorrupt):
        unpack_answer(IN_BODY, body.decode().encode("utf-16"))


@pytest.mark.parametrize("after_s", [10**400, 10**30, 1e308, float("inf"), float("nan"), True, "5", "nan", [], {}])
@pytest.mark.parametrize("kind", ["retried", "snoozed", "interrupted"])
def test_an_outcome_that_waits_for_no_time_that_a_store_holds_is_corrupt(kind: str, after_s: object) -> None:
    with pytest.raises(PayloadCorrupt):
        outcome_of({"outcome": kind, "reason": "later", "after_s": after_s})


def test_no_text_of_an_outcome_has_half_a_surrogate_pair_in_it() -> None:
    """SQLite would take it, and call the file damaged when it is to give it back."""
    half, texts = "a\ud800b", ("error_type", "message", "traceback")
    said = outcome_of(
        {"outcome": "failed", "permanent": True, "reason": half, "detail": half, "error": dict.fromkeys(texts, half)}
    )
    assert said == Failed(error=ErrorText(**dict.fromkeys(texts, "a?b")), permanent=True, reason="a?b", detail="a?b")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"outcome":"failed"}'])
def test_a_body_that_is_no_outcome_is_corrupt(body: bytes) -> None:
    with pytest.raises(PayloadCorrupt):
        unpack_answer(IN_BODY, body)


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
