"""A task on its way over HTTP: what a delivery carries, what proves that it is ours, and how its outcome comes back.

    POST <path of the application>      (a task that is a request of its maker: as that says)
    X-Deferq-Task       everything that running it needs, as a document
    X-Deferq-Time       when it was sent, in seconds since the epoch
    X-Deferq-Signature  v1.<key id>.<MAC>
    the body            the stored envelope, byte for byte (of such a request: its own body)

The MAC covers method, path, query, time, document and body, each with its length. A delivery in process carries the
same headers as one that was pushed.

The document may say for how long the sender waits for the answer (`wait_s`). Up to then the sender renews the lease and
settles; from then on whoever runs the task does both. The answer carries

    X-Deferq-Outcome    the outcome, as a document; or a word: `in-body`, `settled`
    X-Deferq-Held       another delivery of the same lease has begun, and this one did nothing
    X-Deferq-Refused    a status: the handler has refused the request with it, and nothing was run

One of them stands on the answer, also where a view of the application answers in its own words.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, assert_never

from deferq.codec.signing import Keyring
from deferq.errors import PayloadCorrupt, PayloadSignatureError
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
from deferq.model.retry import is_seconds
from deferq.model.task import Leased

#: Where the handler takes deliveries of tasks without an own url.
RUN_PATH = "/_deferq/run"
TASK, TIME, SIGNATURE, OUTCOME = "X-Deferq-Task", "X-Deferq-Time", "X-Deferq-Signature", "X-Deferq-Outcome"
HELD = "X-Deferq-Held"
REFUSED = "X-Deferq-Refused"
#: In place of an outcome. The body is the document, as it would be too large for a header: an answer of our handler.
IN_BODY = "in-body"
#: In place of an outcome: the handler has settled the task, and nothing is left to do.
SETTLED = "settled"
#: Servers and proxies take headers of 8 KiB, all in all; an outcome may take so much of it.
HEADER_BYTES_MAX = 6 * 1024
#: Seconds that a signature may be old, or that two clocks may differ.
TOLERANCE_S = 300
#: Of an outcome in the body a sender reads so much. It is a result with base64 around it.
BODY_BYTES_MAX = 24 * 1024 * 1024
#: The longest document of a task that is read.
DOCUMENT_BYTES_MAX = 64 * 1024

_FIELDS = tuple(field for field in Leased._fields if field != "payload")
_TEXTS = {"queue", "target", "name", "route", "url", "options"}
_NUMBERS = set(_FIELDS) - _TEXTS - {"cancel_requested"}
#: No store holds larger ones.
_NUMBER_MAX = 2**63 - 1
#: What stands in a task for a field that its document leaves out.
_UNSET = {
    **dict.fromkeys(("expires_at", "name", "route", "url", "options")),
    "cancel_requested": False,
    **Leased._field_defaults,
}


class Signed(NamedTuple):
    """What the signature of a delivery covers. Method and path as the application sees them, the path decoded."""

    method: str
    path: str
    #: Raw, without the question mark.
    query: str
    #: The three headers as texts.
    time: str
    task: str
    body: bytes

    def parts(self) -> tuple[bytes, ...]:
        method, path, query, time, task, body = self
        return (*(text.encode("utf-8", "surrogatepass") for text in (method, path, query, time, task)), body)


def sign(keyring: Keyring, signed: Signed) -> str:
    """The value of X-Deferq-Signature."""
    key_id, mac = keyring.sign_request(signed.parts())
    return f"v1.{key_id.hex()}.{mac.hex()}"


def verify(keyring: Keyring, signed: Signed, signature: str, now_s: float) -> None:
    """Raises PayloadSignatureError if the delivery is not ours, was changed, or is too old; UnknownKey never.

    Whoever forges one learns nothing from the message, so it is the same for every reason.
    """
    version, _, rest = signature.partition(".")
    key_id, _, mac = rest.partition(".")
    genuine = version == "v1" and keyring.knows_request(signed.parts(), key_id, mac)
    if not genuine or not _is_recent(signed.time, now_s):
        raise PayloadSignatureError("The signature of this delivery does not fit it; nothing was run.")


def _is_recent(text: str, now_s: float) -> bool:
    """Digits only: `int` takes Arabic ones, spaces and underscores as well."""
    return text.isascii() and text.isdigit() and len(text) <= 12 and abs(int(text) - now_s) <= TOLERANCE_S


# ---- the task


class Delivered(NamedTuple):
    """What a delivery brings."""

    task: Leased
    #: Seconds from X-Deferq-Time on for which the sender waits for the answer, and keeps the lease; None: to the end.
    wait_s: float | None
    #: Whether it is a request of the task's maker, whose body is what it is: nothing of ours is to be called.
    as_request: bool = False


def pack_task(task: Leased, wait_s: float | None = None, *, as_request: bool = False) -> str:
    """The value of X-Deferq-Task: base64url of a JSON object of all fields but the payload, unset ones left out.

    `wait_s`: for so many seconds from X-Deferq-Time on the sender waits for the answer, and renews the lease meanwhile.
    `as_request`: it is sent as its maker has said, and calls nothing.
    """
    document = {field: getattr(task, field) for field in _FIELDS}
    document["cancel_requested"] = bool(task.cancel_requested)  # SQLite has numbers for it
    document["wait_s"] = wait_s
    document["as_request"] = as_request
    return _packed({field: value for field, value in document.items() if value is not None and value is not False})


def unpack_task(text: str, payload: bytes) -> Leased:
    """The task of `pack_task`. Raises PayloadCorrupt. Fields of a newer deferq are passed over."""
    return unpack_delivery(text, payload).task


def unpack_delivery(text: str, payload: bytes) -> Delivered:
    """The inverse of `pack_task`. Raises PayloadCorrupt. Fields of a newer deferq are passed over."""
    document = _unpacked(text)
    fields: dict[str, Any] = {field: _field(field, document.get(field)) for field in _FIELDS}
    as_request = document.get("as_request", False) is not False
    return Delivered(Leased(**fields, payload=payload), _wait_s(document.get("wait_s")), as_request)


def _wait_s(value: object) -> float | None:
    if value is None or is_seconds(value):
        return value  # type: ignore[return-value]
    raise PayloadCorrupt(f"{TASK}: its wait_s is no number of seconds.")


def _field(field: str, value: object) -> object:
    if value is None and field in _UNSET:
        return _UNSET[field]
    if type(value) is int and field in _NUMBERS and abs(value) <= _NUMBER_MAX:
        return value
    if type(value) is (str if field in _TEXTS else bool if field == "cancel_requested" else None):
        return value
    raise PayloadCorrupt(f"{TASK}: its {field} is missing, or is not what it should be.")


# ---- the outcome


def pack_header(outcome: Outcome) -> str:
    """The value of X-Deferq-Outcome. It holds all of the outcome: the result too, and the traceback."""
    return _packed(document_of(outcome))


def pack_fitting(outcome: Outcome) -> str | None:
    """The same, cut to HEADER_BYTES_MAX: the front of a traceback goes first, then messages. None: it does not fit.

    Nothing of a result can be left out, so one that is too large does not fit.
    """
    if outcome is SUCCEEDED:
        return _SUCCEEDED
    if isinstance(outcome, Succeeded) and len(outcome.result or b"") > HEADER_BYTES_MAX:
        return None
    text = pack_header(outcome)
    if len(text) <= HEADER_BYTES_MAX:
        return text
    if not isinstance(outcome, Failed | Parked):
        return None
    shorter = (pack_header(replace(outcome, error=error)) for error in _shortened(outcome.error))
    return next((text for text in shorter if len(text) <= HEADER_BYTES_MAX), None)


def _shortened(error: ErrorText) -> Iterator[ErrorText]:
    """Shorter and shorter: how much room a character takes in a header depends on what it is."""
    for kept in (3_000, 1_000, 300):
        yield replace(error, traceback=f"{_CUT}\n{error.traceback[-kept:]}")
    yield replace(error, traceback="")
    yield replace(error, error_type=error.error_type[:50], message=error.message[:250] + _CUT, traceback="")


def unpack_answer(text: str, body: bytes) -> Outcome | None:
    """What the X-Deferq-Outcome and the body of an answer say; None: the handler has settled. Raises PayloadCorrupt."""
    if text == SETTLED:
        return None
    if text == IN_BODY:
        return outcome_of(_read(body))
    return unpack_header(text)


def unpack_header(text: str) -> Outcome:
    """The inverse of `pack_header`. Raises PayloadCorrupt."""
    return outcome_of(_unpacked(text))


def document_of(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON can hold it."""
    match outcome:
        case Succeeded():
            result = None if outcome.result is None else base64.b64encode(outcome.result).decode()
            return {"outcome": "succeeded", "result": result}
        case Failed():
            more = {"permanent": outcome.permanent, "reason": outcome.reason, "detail": outcome.detail}
            return {"outcome": "failed", **more, "error": _document_of_error(outcome.error)}
        case Retried():
            return {"outcome": "retried", "after_s": outcome.after_s, "reason": outcome.reason}
        case Snoozed():
            return {"outcome": "snoozed", "after_s": outcome.after_s, "reason": outcome.reason}
        case Interrupted():
            return {"outcome": "interrupted", "after_s": outcome.after_s, "reason": outcome.reason}
        case Cancelled():
            return {"outcome": "cancelled", "reason": outcome.reason}
        case Parked():
            return {"outcome": "parked", "reason": outcome.reason, "error": _document_of_error(outcome.error)}
        case _:
            assert_never(outcome)


def outcome_of(document: Mapping[str, Any]) -> Outcome:
    """The inverse of `document_of`. Raises PayloadCorrupt."""
    try:
        return _outcome_of(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PayloadCorrupt(f"{OUTCOME}: this is no outcome that this release knows.") from error


def _outcome_of(document: Mapping[str, Any]) -> Outcome:
    kind = document["outcome"]
    if kind == "succeeded":
        result = document["result"]
        return Succeeded(None if result is None else base64.b64decode(result, validate=True))
    reason = _text(document["reason"])
    if kind == "failed":
        error, permanent = _error_of(document["error"]), document["permanent"] is True
        return Failed(error=error, permanent=permanent, reason=reason, detail=_text(document.get("detail", "")))
    if kind == "parked":
        return Parked(error=_error_of(document["error"]), reason=reason)
    if kind == "cancelled":
        return Cancelled(reason=reason)
    if kind == "interrupted":
        after_s = _seconds(document["after_s"])
        return Interrupted(after_s=after_s, reason=reason) if reason or after_s else INTERRUPTED
    if kind == "snoozed":
        return Snoozed(after_s=_seconds(document["after_s"]), reason=reason)
    if kind == "retried":
        after_s = document["after_s"]
        return Retried(after_s=None if after_s is None else _seconds(after_s), reason=reason)
    raise ValueError(kind)


def _document_of_error(error: ErrorText) -> dict[str, str]:
    return {"error_type": error.error_type, "message": error.message, "traceback": error.traceback}


def _error_of(document: Mapping[str, Any]) -> ErrorText:
    return ErrorText(
        error_type=_text(document["error_type"]),
        message=_text(document["message"]),
        traceback=_text(document.get("traceback", "")),
    )


def _seconds(value: Any) -> float:
    """Also negative ones, which mean now; but none that no store can hold."""
    if isinstance(value, bool) or not is_seconds(abs(value)):
        raise ValueError("a number of seconds is expected")
    return float(value)


def _text(value: object) -> str:
    """A text; half of a surrogate pair, which JSON can bring and no store gives back, becomes a question mark."""
    if not isinstance(value, str):
        raise TypeError("a text is expected")
    return value.encode("utf-8", "replace").decode()


# ---- documents


def _packed(document: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document, separators=(",", ":")).encode()).decode()


def pack_body(outcome: Outcome) -> bytes:
    """The body that goes with `in-body`."""
    return json.dumps(document_of(outcome), separators=(",", ":")).encode()


def _unpacked(text: str) -> dict[str, Any]:
    if len(text) > DOCUMENT_BYTES_MAX:
        raise PayloadCorrupt(f"A document of {len(text):,} bytes in a header is more than {DOCUMENT_BYTES_MAX:,}.")
    try:
        return _read(base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error) as error:
        raise PayloadCorrupt("A header that should hold a document does not.") from error


def _read(document: bytes) -> dict[str, Any]:
    try:
        read = json.loads(document.decode())  # left to itself it takes other encodings too, and imports them
    except (ValueError, RecursionError) as error:
        raise PayloadCorrupt("What should be a document is none.") from error
    if not isinstance(read, dict):
        raise PayloadCorrupt("What should be a document is none.")
    return read


_CUT = "[... cut ...]"
_SUCCEEDED = pack_header(SUCCEEDED)
