"""From bytes to a request, in a form that mutates well.

POST /_deferq/run?a=1       the first line
X-Deferq-Task: *{...}       after a star the document itself, which is put into base64
X-Deferq-Signature: *       signed by us, as all the rest is
Content-Length: *           the length that fits
!take: 1                    a wish of how server and store behave
!rest                       what is missing of time, signature and length is as if it were there, with a star
                            an empty line
the body                    sealed by us, after the wish `!seal`
"""

from __future__ import annotations

import struct
from base64 import urlsafe_b64encode
from typing import Final, NamedTuple

from deferq.codec.signing import JSON
from deferq.codec.wire import RUN_PATH, Signed, sign, unpack_task
from deferq.engines.answers import TakeUp
from deferq.errors import PayloadCorrupt
from tests.fuzz.fixtures import KEYRING, NOW_S, document_of, task_of
from tests.fuzz.victim import NAMES

_ANSWERS: Final = list(TakeUp)
_STARRED: Final = (b"X-Deferq-Time", b"X-Deferq-Signature", b"Content-Length")


class Drawn(NamedTuple):
    """What is to be sent."""

    method: str
    path: str
    query: str
    #: Names as they were written.
    headers: list[tuple[bytes, bytes]]
    body: bytes
    wishes: dict[bytes, bytes]
    #: Whether our own signature stands on it.
    signed: bool
    #: Whether the body is one that we have sealed, of strict JSON.
    sealed: bool

    @property
    def answer(self) -> TakeUp:
        """What the store says of the lease: mostly that it is ours."""
        wish = self.wishes.get(b"take", b"")
        return _ANSWERS[wish[-1] % len(_ANSWERS)] if wish else TakeUp.TAKEN


def draw(data: bytes) -> Drawn:
    """Whatever `data` is, a request comes of it."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, _, rest = first.decode("latin-1").partition(" ")
    path, _, query = rest.partition("?")
    pairs = [(name, value.removeprefix(b" ")) for name, _, value in (line.partition(b":") for line in lines)]
    wishes = {name[1:]: value for name, value in pairs if name[:1] == b"!"}
    headers = [(name, value) for name, value in pairs if name and name[:1] != b"!"]
    if b"rest" in wishes:
        there = {name.lower() for name, _ in headers}
        headers += [(name, b"*") for name in _STARRED if name.lower() not in there]
    headers = [(name, _encoded(value) if value[:2] == b"*{" else value) for name, value in headers]
    sealed = _sealed(headers, body) if b"seal" in wishes else None
    body = body if sealed is None else sealed
    signed = any(_is(name, b"x-deferq-signature") and value == b"*" for name, value in headers)
    return Drawn(
        method, path, query, _starred(method, path, query, headers, body), body, wishes, signed, sealed is not None
    )


def _encoded(document: bytes) -> bytes:
    return urlsafe_b64encode(document[1:])


def _is(name: bytes, known: bytes) -> bool:
    return name.lower() == known


def _value(headers: list[tuple[bytes, bytes]], known: bytes) -> str:
    return next((value for name, value in headers if _is(name, known)), b"").decode("latin-1")


def _sealed(headers: list[tuple[bytes, bytes]], body: bytes) -> bytes | None:
    """The envelope around the body that the described task needs; None: it calls something else than it may."""
    try:
        task = unpack_task(_value(headers, b"x-deferq-task"), b"")
        if task.target in NAMES:
            return KEYRING.seal("payload", task.id, task.target, body, codec=JSON, url=task.url)
    except (PayloadCorrupt, struct.error):
        pass
    return None


def _starred(
    method: str, path: str, query: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> list[tuple[bytes, bytes]]:
    """The headers, with what belongs in place of the stars."""
    fitting = {b"x-deferq-time": b"%d" % NOW_S, b"content-length": b"%d" % len(body)}
    headers = [(name, fitting.get(name.lower(), value) if value == b"*" else value) for name, value in headers]
    time, task = _value(headers, b"x-deferq-time"), _value(headers, b"x-deferq-task")
    ours = sign(KEYRING, Signed(method, path, query, time, task, body)).encode()
    return [(name, ours if _is(name, b"x-deferq-signature") and value == b"*" else value) for name, value in headers]


def requests() -> list[bytes]:
    """Genuine ones, as seeds."""
    tasks = [task_of(name.partition(":")[2]) for name in sorted(NAMES)]
    tasks += [task_of(attempts=24), task_of(cancel_requested=True), task_of(crashes=3), task_of(url="/tasks/a")]
    tasks += [task_of(options='{"timeout_s":9,"retry":{"max_attempts":1}}'), task_of(expires_at=5)]
    made = [_request(task.id and document_of(task, wait_s)) for task in tasks for wait_s in (None, 20, 0)]
    document = document_of(tasks[0])
    short = [b"POST /_deferq/run\n!rest\n!seal\nX-Deferq-Task: *" + document_of(task) for task in tasks]
    return [
        *made,
        *(request + b'\n\n[["a"],{}]' for request in short),
        _request(document, wishes=b"!take: 2\n"),
        _request(document, wishes=b"!seal:\n!take: 1\n", path=b"/view?a=1"),
        _request(document, wishes=b"!seal:\n!in: short\n"),
        _request(document, wishes=b"!seal:\n!in: raise\n!out: raise\n"),
        _request(document, signature=b"v1.00000000." + b"0" * 64),
        _request(document, wishes=b"!seal:\nTransfer-Encoding: chunked\n"),
        b"GET /_deferq/run\n\n",
        b"HEAD /_deferq/other\n\n",
        b"POST /_deferq/run\nContent-Length: 5000\n\n",
        b"POST /elsewhere\n!type: lifespan\n\n",
    ]


def _request(
    document: bytes, *, path: bytes = RUN_PATH.encode(), signature: bytes = b"*", wishes: bytes = b"!seal:\n"
) -> bytes:
    headers = (b"X-Deferq-Task: *" + document, b"X-Deferq-Time: *", b"X-Deferq-Signature: " + signature)
    lines = b"\n".join((*headers, b"Content-Length: *"))
    return b"POST " + path + b"\n" + wishes + lines + b'\n\n[[1,"a"],{}]'
