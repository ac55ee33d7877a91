"""Any texts as headers of a delivery or of its answer: declared errors, and what is read can be settled and told on."""

from __future__ import annotations

from base64 import urlsafe_b64encode

from deferq.codec.codec import Invocation
from deferq.codec.signing import PICKLE
from deferq.codec.wire import (
    HEADER_BYTES_MAX,
    IN_BODY,
    SETTLED,
    Signed,
    document_of,
    outcome_of,
    pack_fitting,
    pack_header,
    pack_task,
    sign,
    unpack_answer,
    unpack_delivery,
    unpack_header,
    verify,
)
from deferq.errors import PayloadCorrupt, PayloadSignatureError
from deferq.http.attempt import Attempt
from deferq.model.events import EventName
from deferq.model.outcome import (
    INTERRUPTED,
    SUCCEEDED,
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
from deferq.runtime.executor import Executor
from deferq.runtime.guarded import left_to_others
from deferq.runtime.settling import event_of, settle
from tests.fuzz import fixtures
from tests.fuzz.fixtures import CODEC, KEYRING, NOW, NOW_S, OLD_KEYRING, STRANGER, task_of

_ERROR = ErrorText(error_type="ValueError", message="no", traceback="File ...")
OUTCOMES: tuple[Outcome, ...] = (
    SUCCEEDED,
    Succeeded(KEYRING.seal("result", 7, "a:b", b"[1]", codec=PICKLE)),
    Failed(error=_ERROR),
    Failed(error=_ERROR, permanent=True, reason="corrupt", detail="all of it"),
    Retried(),
    Retried(after_s=3.5, reason="busy"),
    Snoozed(after_s=60, reason="later"),
    INTERRUPTED,
    Interrupted(after_s=2.0, reason="waits"),
    Cancelled(),
    Parked(error=_ERROR),
)
_EXECUTOR = Executor(CODEC, now=lambda: NOW)


# ---- the task


def seeds_task() -> list[bytes]:
    """Documents as JSON, and one as it stands in the header."""
    options = '{"retry":{"max_attempts":3,"max_age_s":60},"timeout_s":9,"tags":["a"],"headers":[["X-A","1"]]}'
    tasks = [
        task_of(),
        task_of("later", name="once", route="eu", url="/tasks/note?a=1", options=options),
        task_of(attempts=24, starts=30, parks=3, crashes=3, expires_at=NOW + 1, cancel_requested=True),
    ]
    documents = [fixtures.document_of(task, wait_s) for task in tasks for wait_s in (None, 25.0)]
    return [*documents, b"=" + pack_task(tasks[0]).encode(), b"=e30=", b"{}", b"[]"]


def fuzz_task(data: bytes) -> None:
    """`data` is a document; after "=" it is the header itself."""
    text = data[1:].decode("latin-1") if data[:1] == b"=" else urlsafe_b64encode(data).decode()
    try:
        delivered = unpack_delivery(text, b"DQ")
    except PayloadCorrupt:
        return
    task, wait_s, as_request = delivered
    assert unpack_delivery(pack_task(task, wait_s, as_request=as_request), b"DQ") == delivered
    Attempt(task, 12.5, wait_s).is_late(99.0)
    assert not isinstance(_EXECUTOR.prepare(task), Invocation)
    left_to_others(task)
    for outcome in OUTCOMES:
        _settle(task, outcome)


def _settle(task: Leased, outcome: Outcome) -> None:
    """What settling it would store, and what would be announced."""
    settlement = settle(task, outcome, 17, NOW, 0.5)
    assert abs(settlement.transition.eta) < 2**63, "no store takes it"
    event_of(settlement, EventName.TASK_FAILED, NOW)


# ---- the outcome


def seeds_outcome() -> list[bytes]:
    """Documents as JSON, and what stands in the header."""
    import json

    documents = [json.dumps(document_of(outcome)).encode() for outcome in OUTCOMES]
    return [*documents, b"=" + pack_header(SUCCEEDED).encode(), b"=" + SETTLED.encode(), b"=" + IN_BODY.encode()]


def fuzz_outcome(data: bytes) -> None:
    """`data` is a document; after "=" it is the header itself."""
    text = data[1:].decode("latin-1") if data[:1] == b"=" else urlsafe_b64encode(data).decode()
    for header, body in ((text, b""), (IN_BODY, data)):
        try:
            outcome = unpack_answer(header, body)
        except PayloadCorrupt:
            continue
        if outcome is not None:
            _check_outcome(outcome)


def _check_outcome(outcome: Outcome) -> None:
    again = outcome_of(document_of(outcome))
    assert again == outcome, (again, outcome)
    assert unpack_header(pack_header(outcome)) == outcome
    fitting = pack_fitting(outcome)
    assert fitting is None or len(fitting) <= HEADER_BYTES_MAX
    _settle(_TASK, outcome)


# ---- the signature


def seeds_signature() -> list[bytes]:
    """The signature and what it stands on, a line each; in place of one a star, and what else was signed."""
    rings = (KEYRING, OLD_KEYRING, STRANGER)
    lines = [[sign(ring, _SIGNED), *_SIGNED[:5], _SIGNED.body.decode()] for ring in rings]
    lines += [[signature, *lines[0][1:]] for signature in ("", "v1", "v1..", "v2.00000000.00", "v1.é.é")]
    moved = [_SIGNED[:5], _SIGNED[1:6], ["POST", "/_deferq/run?a=1", "", *_SIGNED[3:5]]]
    lines += [["*", *first, "the body", "", *second, "the body"] for first in moved for second in moved]
    return ["\n".join(map(str, line)).encode("latin-1", "replace") for line in lines]


def fuzz_signature(data: bytes) -> None:
    """Only what was signed with one of our keys passes, and only as it was signed."""
    signature, *texts = data.decode("latin-1").split("\n")
    signed, first = _signed(texts[-6:]), _signed(texts[:6])
    if signature == "*":
        signature = sign(KEYRING, first)
    try:
        verify(KEYRING, signed, signature, NOW_S)
    except PayloadSignatureError:
        return
    assert signature in (sign(KEYRING, signed), sign(OLD_KEYRING, signed))
    assert abs(int(signed.time) - NOW_S) <= 300


def _signed(texts: list[str]) -> Signed:
    method, path, query, time, task, body = (*texts, *map(str, _SIGNED[len(texts) : 5]), "")[:6]
    return Signed(method, path, query, time, task, body.encode("latin-1"))


_TASK = task_of()
_SIGNED = Signed("POST", "/_deferq/run", "a=1", str(NOW_S), "e30=", b"the body")
