"""Requests to the handler that are forged, broken or out of place (B31 to B48), over WSGI and over ASGI.

Each is refused with its status. Nothing is run and nothing imported, the answer is small and says the same for every
reason, and the log has one line that shows nothing of the request.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deferq import Deferq
from deferq.codec.payload import encode_call
from deferq.codec.signing import Keyring
from deferq.codec.wire import RUN_PATH, SIGNATURE, TASK, TIME, Signed, sign
from deferq.model.outcome import SUCCEEDED
from tests.support import lease_one, sample_tasks, settle
from tests.support.deliveries import (
    Answered,
    Sent,
    Transport,
    delivery,
    over_asgi,
    over_wsgi,
    signed_again,
)

#: Stands in whatever is made up, and nowhere in an answer or a line.
CANARY = "canary-7f3a"
#: A module that is imported by a delivery alone, and each of them has its own.
SOURCE = """
from tests.support.sample_tasks import seen

def run(value):
    seen.append(value)
"""
_numbers = count(1)

Change = Callable[[Deferq, Sent], Sent]


class Bad(NamedTuple):
    """One way in which a delivery is spoilt."""

    number: str
    what: str
    change: Change
    #: One status for both; where servers differ, for WSGI and for ASGI.
    statuses: tuple[int, int]


def bad(number: str, what: str, change: Change, *statuses: int) -> Bad:
    return Bad(number, what, change, (statuses[0], statuses[-1]))


def with_header(name: str, *values: str) -> Change:
    return lambda app, sent: sent.with_header(name, *values)


def only(*headers: tuple[str, str]) -> Change:
    """No header of ours, and these."""
    return lambda app, sent: sent._replace(headers=(("Content-Length", str(len(sent.body))), *headers))


def signed(**changes: Any) -> Change:
    return lambda app, sent: signed_again(app, sent, **changes)


def changed(**changes: Any) -> Change:
    return lambda app, sent: sent._replace(**changes)


def at(seconds: str) -> Change:
    """Signed by us for that time."""
    return lambda app, sent: signed_again(app, sent.with_header(TIME, seconds))


def from_now(seconds: float) -> Change:
    return lambda app, sent: at(str(int(time.time() + seconds)))(app, sent)


def without(name: str) -> Change:
    return lambda app, sent: sent.with_header(name)


def renamed(name: str, to: str) -> Change:
    return lambda app, sent: sent.with_header(name)._replace(
        headers=(*sent.with_header(name).headers, (to, sent.header(name)))
    )


def of_another(app: Deferq, sent: Sent) -> Sent:
    """The signature of another delivery that is as good."""
    app.defer(sample_tasks.note, CANARY)
    return sent.with_header(SIGNATURE, delivery(app).header(SIGNATURE))


def by_another_secret(app: Deferq, sent: Sent) -> Sent:
    keyring = Keyring(["a secret of somebody else"])
    parts = Signed("POST", RUN_PATH, "", sent.header(TIME), sent.header(TASK), sent.body)
    return sent.with_header(SIGNATURE, sign(keyring, parts))


def for_another_path(app: Deferq, sent: Sent) -> Sent:
    return signed_again(app, sent, path="/tasks")._replace(path=RUN_PATH)


def in_upper_case(app: Deferq, sent: Sent) -> Sent:
    return sent.with_header(SIGNATURE, sent.header(SIGNATURE).upper())


def junk(size: int) -> Change:
    return lambda app, sent: sent._replace(body=b"\xff" * size).with_header("Content-Length", str(size))


def longer(name: str, by: str) -> Change:
    return lambda app, sent: sent.with_header(name, sent.header(name) + by)


def length(more: int) -> Change:
    return lambda app, sent: sent.with_header("Content-Length", str(len(sent.body) + more))


def chunked(app: Deferq, sent: Sent) -> Sent:
    return sent.with_header("Content-Length").with_header("Transfer-Encoding", "chunked")


def no_task(app: Deferq, sent: Sent) -> Sent:
    """Ours, and no task: whoever has our secret can do worse."""
    return signed_again(app, sent.with_header(TASK, "bm90aGluZw=="))


def larger_than_a_payload(app: Deferq, sent: Sent) -> Sent:
    return signed_again(app, sent, body=b"x" * (app.engine.payload_limit + 1))


def twice(name: str) -> Change:
    return lambda app, sent: sent.with_header(name, sent.header(name), sent.header(name))


BAD = (
    bad("B31", "no credentials", only(), 403),
    bad("B31", "no signature", without(SIGNATURE), 403),
    bad("B31", "no task", without(TASK), 403),
    bad("B31", "empty credentials", only((TASK, ""), (TIME, ""), (SIGNATURE, "")), 403),
    bad("B32", "App Engine's header", only(("X-AppEngine-TaskName", CANARY), ("X-AppEngine-QueueName", "q")), 403),
    bad("B32", "Cloud Tasks' headers", only(("X-CloudTasks-TaskName", CANARY), ("X-CloudTasks-QueueName", "q")), 403),
    bad("B33", "underscores", only(("X_AppEngine_TaskName", CANARY)), 403),
    bad("B33", "twice, mixed case", only(("X-AppEngine-Taskname", "a"), ("X-APPENGINE-TASKNAME", CANARY)), 403),
    bad("B33", "our task twice", twice(TASK), 403, 400),
    bad("B33", "our signature twice", twice(SIGNATURE), 403, 400),
    bad("B33", "our time twice", twice(TIME), 403, 400),
    bad("B34", "development server", only(("Server-Software", "Development/2.0")), 403),
    bad("B35", "bearer token", only(("Authorization", f"Bearer {CANARY}.e30.x")), 403),
    bad("B36", "algorithm none", only(("Authorization", "Bearer eyJhbGciOiJub25lIn0.e30.")), 403),
    bad("B37", "another service's mail", only(("X-Goog-Authenticated-User-Email", CANARY)), 403),
    bad("B38", "token of 1 MB", only(("Authorization", "Bearer " + "a." * 500_000)), 403),
    bad("B38", "signature of 1 MB", with_header(SIGNATURE, "v1." * 350_000), 403),
    bad("B39", "too old", from_now(-302), 403),
    bad("B39", "too new", from_now(+303), 403),
    bad("B39", "no time", without(TIME), 403),
    *(
        bad("B39", f"time {text!r}", at(text), 403)
        for text in ("1e9", "-1", "+1", "0x10", " 1", "1_0", "9" * 13, "9" * 5000, "²", "nan")
    ),
    bad("B40", "body changed", changed(body=b"x"), 400),
    bad("B40", "body changed, as long", lambda app, sent: sent._replace(body=sent.body[:-1] + b"?"), 403),
    bad("B40", "query changed", changed(query="a=b"), 403),
    bad(
        "B40",
        "signed for another path",
        for_another_path,
        403,
    ),
    bad("B40", "time changed", with_header(TIME, str(int(time.time()) - 1)), 403),
    bad("B40", "task changed", lambda app, sent: sent.with_header(TASK, sent.header(TASK)[:-4] + "fQ=="), 403),
    bad("B40", "signature of another delivery", of_another, 403),
    bad("B40", "signature by another secret", by_another_secret, 403),
    bad("B40", "signature in upper case", in_upper_case, 403),
    bad(
        "B40",
        "signature with a space",
        longer(SIGNATURE, " "),
        403,
    ),
    bad("B40", "signed, and no task", no_task, 400),
    bad("B41", "no length", without("Content-Length"), 411),
    *(
        bad("B41", f"length {text!r}", with_header("Content-Length", text), 400)
        for text in ("abc", "-1", "+5", "0x10", "1e3", "1_0", "5, 5", "9" * 13, "5\xb2")
    ),
    bad("B41", "length empty", with_header("Content-Length", ""), 411, 400),
    bad("B41", "length zero", with_header("Content-Length", "0"), 403, 400),
    bad(
        "B41",
        "length one less",
        length(-1),
        403,
        400,
    ),
    bad("B41", "length one more", length(+1), 400),
    bad("B42", "two kinds of length", with_header("Transfer-Encoding", "chunked"), 400),
    bad(
        "B42",
        "chunked",
        chunked,
        411,
    ),
    bad("B43", "larger than a payload may be", larger_than_a_payload, 413),
    bad("B43", "says that it is", with_header("Content-Length", "999999999999"), 413),
    *(
        bad("B44", f"method {name[:9]}", signed(method=name), 405)
        for name in ("GET", "HEAD", "PUT", "TRACE", "post", "X" * 10_000)
    ),
    *(
        bad("B45", f"path {path}", signed(path=path), 404)
        for path in (
            "/_deferq/",
            "/_deferq/run/",
            "/_deferq/run/..",
            "/_deferq/%72un",
            "/_deferq/run;x",
            "/_deferq/Run",
        )
    ),
    *(
        bad("B45", f"path {path}", signed(path=path), 404)
        for path in ("/_deferq/run.", "/_deferq//run", "/_deferq/../_deferq/run", "/_deferq/run\0", "/_deferq/\xff")
    ),
    bad("B46", "a form without credentials", only(("Content-Type", "multipart/form-data; boundary=x")), 403),
    bad(
        "B47",
        "line break in our header",
        longer(SIGNATURE, "\r\nX: y"),
        403,
    ),
    bad("B47", "header of 100 kB", with_header(TASK, "A" * 100_000), 403),
    bad("B47", "10,000 headers", only(*((f"X-{number}", CANARY) for number in range(10_000))), 403),
    bad("B33", "our task with underscores", renamed(TASK, TASK.replace("-", "_")), 0, 403),
)


@pytest.fixture
def app(make_app: Callable[..., Deferq]) -> Deferq:
    sample_tasks.forget()
    return make_app("memory://", worker="external", payload_limit=100_000)


@pytest.fixture(params=["wsgi", "asgi"])
def transport(request: pytest.FixtureRequest) -> Transport:
    return over_wsgi if request.param == "wsgi" else over_asgi


@pytest.fixture
def web(app: Deferq, transport: Transport) -> Any:
    return app.wrap_wsgi(_wsgi) if transport is over_wsgi else app.wrap_asgi(_asgi)


def _wsgi(environ: Any, start_response: Any) -> list[bytes]:
    raise AssertionError("this is not for the application")


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("this is not for the application")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the module of the task; nobody has imported it yet."""
    name = f"unwanted_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def sent(app: Deferq, module: str) -> Sent:
    """A delivery that is good, and would import the module and call its function."""
    app.defer(sample_tasks.note)
    task = lease_one(app.engine)
    body = encode_call((CANARY,), {}, None, bound=0)
    payload = app.codec.keyring.seal("payload", task.id, f"{module}:run", body)
    return delivery(app, task._replace(target=f"{module}:run", payload=payload))


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad.number} {bad.what}"[:60])
def test_a_bad_request_is_refused(
    app: Deferq, transport: Transport, web: Any, sent: Sent, module: str, bad: Bad, caplog: pytest.LogCaptureFixture
) -> None:
    status = bad.statuses[transport is over_asgi]
    if not status:
        pytest.skip("WSGI hands a header with underscores over as the one with dashes")
    spoilt = bad.change(app, sent)
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    answered = send(transport, web, spoilt)
    assert answered.status == status
    assert_says_nothing(answered, spoilt)
    assert_one_line(caplog, spoilt)
    assert module not in sys.modules
    assert sample_tasks.seen == []
    assert send(transport, web, sent).status == 200
    assert module in sys.modules
    assert sample_tasks.seen == [CANARY]


def send(transport: Transport, web: Any, sent: Sent) -> Answered:
    """The validator would complain about what only a careless server hands over."""
    return transport(web, sent, check=False) if transport is over_wsgi else transport(web, sent)


def assert_says_nothing(answered: Answered, sent: Sent) -> None:
    """A word by the status, and nothing else; no more to HEAD."""
    words = {
        400: b'{"deferq": "malformed"}\n',
        403: b'{"deferq": "refused"}\n',
        404: b'{"deferq": "not found"}\n',
        405: b'{"deferq": "method not allowed"}\n',
        411: b'{"deferq": "length required"}\n',
        413: b'{"deferq": "too large"}\n',
    }
    assert answered.body == (b"" if sent.method == "HEAD" else words[answered.status])
    known = {"content-type", "content-length", "x-deferq-refused"} | ({"allow"} if answered.status == 405 else set())
    assert set(answered.headers) == known
    assert answered.headers.get("allow", "POST") == "POST"


def assert_one_line(caplog: pytest.LogCaptureFixture, sent: Sent) -> None:
    records = [record for record in caplog.records if record.name.startswith("deferq")]
    (record,) = records
    assert (record.name, record.levelno, record.exc_info) == ("deferq.http", logging.WARNING, None)
    line = record.getMessage()
    assert len(line) < 200
    assert line.isprintable()
    assert CANARY not in line
    assert sent.path not in line


@pytest.mark.parametrize(
    "path", ["//_deferq/run", "/_DEFERQ/run", "/x/../_deferq/run", "/_deferq", "/ _deferq/run", "_deferq/run"]
)
def test_what_only_looks_like_our_path_is_the_applications(
    app: Deferq, transport: Transport, sent: Sent, path: str
) -> None:
    """B45: it has an outcome of its own, and the handler does not hear of it."""

    def theirs_wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("404 Not Found", [])
        return []

    async def theirs_asgi(scope: Any, receive: Any, say: Any) -> None:
        await say({"type": "http.response.start", "status": 404, "headers": []})
        await say({"type": "http.response.body"})

    web: Any = app.wrap_wsgi(theirs_wsgi) if transport is over_wsgi else app.wrap_asgi(theirs_asgi)
    assert send(transport, web, signed_again(app, sent, path=path)).status == 404
    assert sample_tasks.seen == []


def test_any_content_type_will_do_on_what_is_signed(transport: Transport, web: Any, sent: Sent) -> None:
    """B46"""
    assert send(transport, web, sent.with_header("Content-Type", "text/html")).status == 200


def test_a_second_delivery_is_put_off_and_after_the_end_there_is_nothing_to_do(
    app: Deferq, transport: Transport, web: Any
) -> None:
    """B48"""
    app.defer(sample_tasks.note, CANARY)
    task = lease_one(app.engine)
    sent = delivery(app, task)
    assert [send(transport, web, sent).status for _ in range(3)] == [200, 409, 409]
    settle(app.engine, task, SUCCEEDED)
    assert send(transport, web, sent).status == 200
    assert sample_tasks.seen == [(CANARY,)]


def test_a_body_that_breaks_off_is_refused(app: Deferq, sent: Sent) -> None:
    """B42, B43: the server says so in a way of its own, when the body is read."""

    class BreaksOff:
        def read(self, size: int) -> bytes:
            raise OSError("the client has gone")

    web = app.wrap_wsgi(_wsgi)
    assert over_wsgi(web, sent, check=False, **{"wsgi.input": BreaksOff()}).status == 400
    assert sample_tasks.seen == []


def test_a_body_that_comes_in_small_pieces_is_read_to_its_end(app: Deferq, sent: Sent) -> None:
    class Slow:
        def __init__(self) -> None:
            self.left = sent.body

        def read(self, size: int) -> bytes:
            piece, self.left = self.left[:3], self.left[3:]
            return piece

    web = app.wrap_wsgi(_wsgi)
    assert over_wsgi(web, sent, check=False, **{"wsgi.input": Slow()}).status == 200
    assert over_asgi(app.wrap_asgi(_asgi), sent, pieces=20).status == 409


def test_of_a_body_that_is_refused_by_its_headers_nothing_is_read(app: Deferq, sent: Sent) -> None:
    class Unread:
        def read(self, size: int) -> bytes:
            raise AssertionError("it was read")

    for spoilt in (sent.with_header(SIGNATURE), sent.with_header("Content-Length", "999999999")):
        assert over_wsgi(app.wrap_wsgi(_wsgi), spoilt, check=False, **{"wsgi.input": Unread()}).status in (403, 413)


@pytest.mark.parametrize("field", ["headers", "path"])
def test_a_name_in_the_environment_of_the_server_is_no_credential(app: Deferq, sent: Sent, field: str) -> None:
    """B34: a server may put anything there."""
    more = {"SERVER_SOFTWARE": "Development/2.0", "X_DEFERQ_TASK": sent.header(TASK), "REMOTE_USER": "admin"}
    spoilt = sent._replace(headers=(("Content-Length", str(len(sent.body))),))
    assert over_wsgi(app.wrap_wsgi(_wsgi), spoilt, **more).status == 403
