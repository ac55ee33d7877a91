"""From a request to a task that is certainly ours, or to a refusal. Nothing is imported and nothing run in here."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from deferq.codec.requests import REQUEST_TARGET
from deferq.codec.signing import Keyring
from deferq.codec.wire import Delivered, Signed, unpack_delivery, verify
from deferq.errors import PayloadCorrupt, PayloadSignatureError
from deferq.http.message import Request, Response
from deferq.http.refusals import refuse, without_body

_LENGTH: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNED: Final = {"x-deferq-task", "x-deferq-time", "x-deferq-signature"}


def expects(request: Request, limit: int) -> int | Response:
    """How many bytes of body are to be read; or a refusal of what shows by method and headers alone.

    Nobody's body is read who has not all that a delivery has. `limit` is the most bytes that a body may have.
    """
    if request.method != "POST":
        refusal = refuse(405, "a delivery is a POST")
        return without_body(refusal) if request.method == "HEAD" else refusal
    headers = request.headers
    if request.repeated:
        return refuse(400, "a header came twice")
    length = headers.get("content-length")
    if "transfer-encoding" in headers and length is not None:
        return refuse(400, "it came with two kinds of length")
    if length is None:
        return refuse(411, "it came without a length")
    if not _LENGTH.fullmatch(length):
        return refuse(400, "its length is no number")
    if int(length) > limit:
        return refuse(413, "its body is larger than a payload may be")
    if not headers.keys() >= _SIGNED:
        return refuse(403, "it is not signed")
    return int(length)


def admit(
    request: Request, keyring: Keyring, limit: int, now_s: float, *, requests: bool = False
) -> Delivered | Response:
    """What a request brings that we have signed; or a refusal.

    `requests`: also the request of a task that calls nothing, for a view that takes its body for a call.
    """
    length = expects(request, limit)
    if isinstance(length, Response):
        return length
    body = request.body if isinstance(request.body, bytes) else _read(request.body, length)
    if body is None or len(body) != length:
        return refuse(400, "its body is not as long as it says")
    headers = request.headers
    time, task = headers["x-deferq-time"], headers["x-deferq-task"]
    signed = Signed(request.method, request.path, request.query, time, task, body)
    if not _fits(keyring, signed, request.mount, headers["x-deferq-signature"], now_s):
        return refuse(403, "its signature does not fit, or is too old; are the secrets the same, and the clocks right?")
    try:
        delivered = unpack_delivery(task, body)
    except PayloadCorrupt:
        return refuse(400, "it is signed, and brings no task")
    if delivered.as_request and delivered.task.target == REQUEST_TARGET and not requests:
        return refuse(400, "it is a request of the application itself, for a view of its own, and calls nothing here")
    return delivered


def is_genuine(request: Request, keyring: Keyring, limit: int, now_s: float) -> bool:
    """Whether deferq has made this request, for a task that is one. Its body is read, and stays there to be read again.

    Refusals have no reason and are not logged here: it is the view that refuses.
    """
    if request.local is not None:
        return True
    headers = request.headers
    length = headers.get("content-length", "0")
    if request.repeated or not headers.keys() >= _SIGNED or not _LENGTH.fullmatch(length) or int(length) > limit:
        return False
    body = request.body if isinstance(request.body, bytes) else _read(request.body, int(length))
    if body is None:
        return False
    request.put_back(body)
    time, task = headers["x-deferq-time"], headers["x-deferq-task"]
    signed = Signed(request.method, request.path, request.query, time, task, body)
    if not _fits(keyring, signed, request.mount, headers["x-deferq-signature"], now_s):
        return False
    try:
        return unpack_delivery(task, body).as_request
    except PayloadCorrupt:
        return False


def _fits(keyring: Keyring, signed: Signed, mount: str, signature: str, now_s: float) -> bool:
    """A mount point is the server's, which the sender does not sign, or of a router behind the path that it does."""
    for path in (signed.path, mount + signed.path) if mount else (signed.path,):
        try:
            verify(keyring, signed._replace(path=path), signature, now_s)
        except PayloadSignatureError:
            continue
        return True
    return False


def _read(read: Callable[[int], bytes], length: int) -> bytes | None:
    """So many bytes, or fewer if there are no more; None: they could not be read."""
    pieces: list[bytes] = []
    try:
        while length > 0 and (piece := read(length)):
            pieces.append(piece)
            length -= len(piece)
    except Exception:  # of the server, which knows its own errors: the client has gone, or breaks off in the middle
        return None
    return b"".join(pieces)
