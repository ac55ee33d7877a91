"""Requests that are stored as they are: a task that calls nothing, but is to be delivered as its maker has said.

Its envelope is signed as that of a call is, with a codec of its own, so that nobody takes it for one. The url stands
with the task and is covered by the signature; the headers are the task's own; method and body are what is sealed.
"""

from __future__ import annotations

from typing import NamedTuple

from deferq.codec.signing import TRIPLE, body_of, codec_of
from deferq.errors import PayloadCorrupt

#: Of a task that is not delivered at all, but leased by whoever asks for it.
PULL = "PULL"
#: What such tasks call: nothing. Of those that are delivered, and of those that are pulled.
REQUEST_TARGET = "deferq.compat.appengine.taskqueue:request"
PULL_TARGET = "deferq.compat.appengine.taskqueue:pull"
METHODS = ("POST", "GET", "HEAD", "PUT", "DELETE", PULL)
#: Those that have a length, if only of nothing.
METHODS_WITH_BODY = ("POST", "PUT")
_TRIPLE = bytes([TRIPLE])


class StoredRequest(NamedTuple):
    """What is sealed of it."""

    method: str
    body: bytes


def pack_request(request: StoredRequest) -> bytes:
    """The body of its envelope."""
    return b"%b\n%b" % (request.method.encode("ascii"), request.body)


def unpack_request(body: bytes) -> StoredRequest:
    """The inverse of `pack_request`. Raises PayloadCorrupt."""
    method, found, rest = body.partition(b"\n")
    name = method.decode("ascii", "replace")
    if not found or name not in METHODS:
        raise PayloadCorrupt("The payload is no request that this release knows.")
    return StoredRequest(name, rest)


def is_request(envelope: bytes | None) -> bool:
    """Whether an envelope says that it holds a request, and no call."""
    return codec_of(envelope) == "http"


def request_in(envelope: bytes) -> StoredRequest | None:
    """The request in an envelope whose signature was verified; None: it is a call. Raises PayloadCorrupt.

    A call of App Engine's deferred library is a request, too, where it is delivered: views get the bare pickle.
    """
    if envelope[3:4] == _TRIPLE:
        return StoredRequest("POST", body_of(envelope))
    return unpack_request(body_of(envelope)) if is_request(envelope) else None
