"""Deliveries as a pusher makes them, and servers' ways of handing requests to an application."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from deferq import Deferq
from deferq.codec.wire import OUTCOME, RUN_PATH, SIGNATURE, TASK, TIME, Signed, pack_task, sign, unpack_answer
from deferq.model.outcome import Outcome
from deferq.model.task import Leased
from tests.support.leases import lease_one

Header = tuple[str, str]


class Sent(NamedTuple):
    """A request, in the parts of which it consists on the wire."""

    method: str
    path: str
    query: str
    headers: tuple[Header, ...]
    body: bytes

    def with_header(self, name: str, *values: str) -> Sent:
        """The header has these values instead; none: it is left out."""
        others = [header for header in self.headers if header[0].lower() != name.lower()]
        return self._replace(headers=(*others, *((name, value) for value in values)))

    def header(self, name: str) -> str:
        return next(value for key, value in self.headers if key.lower() == name.lower())


class Answered(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def outcome(self) -> Outcome | None:
        """What it says of the task; None: the handler has settled it."""
        return unpack_answer(self.headers[OUTCOME.lower()], self.body)


class Transport(Protocol):
    """How a request comes to the application."""

    def __call__(self, application: Any, sent: Sent, **more: Any) -> Answered: ...


def delivery(
    app: Deferq,
    task: Leased | None = None,
    *,
    path: str = RUN_PATH,
    query: str = "",
    wait_s: float | None = None,
    late_s: float = 0,
) -> Sent:
    """What a pusher of `app` sends for a task, by default the next one that is due."""
    task = task or lease_one(app.engine)
    time_text, document = str(int(time.time() - late_s)), pack_task(task, wait_s)
    signature = sign(app.codec.keyring, Signed("POST", path, query, time_text, document, task.payload))
    headers = ((TASK, document), (TIME, time_text), (SIGNATURE, signature), ("Content-Length", str(len(task.payload))))
    return Sent("POST", path, query, headers, task.payload)


def signed_again(app: Deferq, sent: Sent, **changes: Any) -> Sent:
    """The same with other parts, and a signature that fits them."""
    sent = sent._replace(**changes)
    signed = Signed(sent.method, sent.path, sent.query, sent.header(TIME), sent.header(TASK), sent.body)
    again = sent.with_header(SIGNATURE, sign(app.codec.keyring, signed))
    return again.with_header("Content-Length", str(len(sent.body)))


# ---- servers


def over_wsgi(application: Any, sent: Sent, *, check: bool = True, **more: Any) -> Answered:
    """As a careful WSGI server does it, watched by the standard validator."""
    environ = environ_of(sent) | more
    answered: list[Any] = []

    def start_response(status: str, headers: list[Header], exc_info: Any = None) -> Callable[[bytes], object]:
        answered[:] = [int(status[:3]), {name.lower(): value for name, value in headers}]
        return lambda _: None

    response = validator(application)(environ, start_response) if check else application(environ, start_response)
    try:
        body = b"".join(response)
    finally:
        if hasattr(response, "close"):
            response.close()
    return Answered(*answered, body)


def environ_of(sent: Sent) -> dict[str, Any]:
    """Headers that differ by dash and underscore alone, or by case, become one: WSGI cannot tell them apart."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ |= {
        "REQUEST_METHOD": sent.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": sent.path.encode().decode("latin-1"),
        "QUERY_STRING": sent.query,
        "wsgi.input": io.BytesIO(sent.body),
        "wsgi.errors": io.StringIO(),
    }
    for name, value in sent.headers:
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def over_asgi(application: Any, sent: Sent, *, pieces: int = 3, **more: Any) -> Answered:
    """As an ASGI server does it, in an event loop of its own; what the application sends is checked."""
    return asyncio.run(in_loop(application, sent, pieces=pieces, **more))


async def in_loop(application: Any, sent: Sent, *, pieces: int = 1, **more: Any) -> Answered:
    """The same within a loop."""
    messages = _body_messages(sent.body, pieces)
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await application(scope_of(sent) | more, receive, send)
    return _checked(said)


def scope_of(sent: Sent) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": sent.method,
        "scheme": "http",
        "path": sent.path,
        "raw_path": sent.path.encode(),
        "query_string": sent.query.encode("latin-1"),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in sent.headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }


def _body_messages(body: bytes, pieces: int) -> list[dict[str, Any]]:
    size = max(1, -(-len(body) // pieces))
    parts: Sequence[bytes] = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    return [
        {"type": "http.request", "body": part, "more_body": number < len(parts)}
        for number, part in enumerate(parts, start=1)
    ]


def _checked(said: list[dict[str, Any]]) -> Answered:
    """What ASGI wants of a response: one start, then a body that ends, all of it bytes, names in lower case."""
    start, *bodies = said
    assert start["type"] == "http.response.start"
    assert type(start["status"]) is int
    for name, value in start["headers"]:
        assert type(name) is bytes
        assert type(value) is bytes
        assert name == name.lower()
        assert not {*name, *value} & {0x0A, 0x0D}
    assert [message["type"] for message in bodies] == ["http.response.body"] * len(bodies)
    assert [bool(message.get("more_body")) for message in bodies] == [True] * (len(bodies) - 1) + [False]
    body = b"".join(message.get("body", b"") for message in bodies)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
    return Answered(start["status"], headers, body)
