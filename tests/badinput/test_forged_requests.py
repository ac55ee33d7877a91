"""What the table of bad inputs does not name is refused as well: over WSGI, ASGI, and sockets of two servers.

Each time the good delivery, from which it was made, is served afterwards: whatever was forged has not even spoilt it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq
from deferq.codec.payload import encode_call
from deferq.codec.wire import OUTCOME, TASK, unpack_task
from deferq.model.task import Leased
from tests.badinput.requests import CANARY, FORGED, Forged
from tests.badinput.sockets import PATIENCE_S, head_of, raw, serving_asgi, serving_wsgi, status_of
from tests.badinput.watching import Watch
from tests.process.test_raw_requests import BROKEN, Good
from tests.support import lease_one, sample_tasks
from tests.support.deliveries import Answered, Sent, Transport, delivery, over_asgi, over_wsgi

SOURCE = """
from tests.support.sample_tasks import seen

def run(value):
    seen.append(value)
"""
WORDS = {
    400: "malformed", 403: "refused", 404: "not found", 405: "method not allowed", 409: "held elsewhere",
    411: "length required", 413: "too large", 503: "unavailable",
}  # fmt: skip
_numbers = count(1)


def theirs_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


async def theirs_asgi(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


@pytest.fixture
def app(make_app: Callable[..., Deferq]) -> Deferq:
    return make_app(worker="external", payload_limit=100_000)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the module of the task; nobody has imported it yet."""
    name = f"never_wanted_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def good(app: Deferq, module: str) -> Sent:
    """A delivery that is good, and would import the module and call its function."""
    app.defer(sample_tasks.note)
    task = lease_one(app.engine)
    payload = app.codec.keyring.seal("payload", task.id, f"{module}:run", encode_call((CANARY,), {}, None, bound=0))
    return delivery(app, task._replace(target=f"{module}:run", payload=payload))


@pytest.fixture
def sent(app: Deferq, module: str) -> Sent:
    return good(app, module)


# ---- WSGI and ASGI


@pytest.fixture(params=["wsgi", "asgi"])
def transport(request: pytest.FixtureRequest) -> Transport:
    return over_wsgi if request.param == "wsgi" else over_asgi


@pytest.fixture
def web(app: Deferq, transport: Transport) -> Any:
    return app.wrap_wsgi(theirs_wsgi) if transport is over_wsgi else app.wrap_asgi(theirs_asgi)


def send(transport: Transport, web: Any, sent: Sent) -> Answered:
    return transport(web, sent, check=False) if transport is over_wsgi else transport(web, sent)


@pytest.mark.parametrize("forged", FORGED, ids=lambda forged: forged.what)
def test_what_was_forged_is_refused_in_one_word(
    app: Deferq, transport: Transport, web: Any, sent: Sent, module: str, forged: Forged, watch: Watch
) -> None:
    spoilt = forged.change(app, sent)
    send(transport, web, spoilt)  # whatever our own code needs is loaded by now
    with watch(app, lines=1, canary=CANARY):
        answered = send(transport, web, spoilt)
    status = forged.statuses[transport is over_asgi]
    assert answered.status == status
    word = b"" if spoilt.method == "HEAD" else f'{{"deferq": "{WORDS[status]}"}}\n'.encode()
    assert answered.body == word
    assert OUTCOME.lower() not in answered.headers
    assert module not in sys.modules
    assert send(transport, web, sent).status == 200
    assert sample_tasks.seen == [CANARY]


# ---- sockets


@pytest.fixture(scope="module", params=["wsgiref", "uvicorn"])
def site(request: pytest.FixtureRequest) -> Iterator[tuple[Deferq, int]]:
    """An application behind a server, and its port."""
    app = Deferq("memory://", worker="external", payload_limit=100_000)
    with app, serving(request.param, app) as port:
        for length in ("0", "x"):  # what it needs is loaded by now
            request_of = f"POST /_deferq/run HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
            raw(port, request_of.encode(), thinks_s=PATIENCE_S)
        yield app, port


def serving(server: str, app: Deferq) -> AbstractContextManager[int]:
    if server == "wsgiref":
        return serving_wsgi(app.wrap_wsgi(theirs_wsgi))
    return serving_asgi(app.wrap_asgi(theirs_asgi))


@pytest.mark.parametrize("forged", [one for one in FORGED if one.travels], ids=lambda forged: forged.what)
def test_what_was_forged_is_refused_behind_a_server(
    site: tuple[Deferq, int], module: str, forged: Forged, watch: Watch
) -> None:
    app, _ = site
    sample_tasks.forget()
    sent = good(app, module)
    spoilt = forged.change(app, sent)
    assert_refused(site, watch, module, head_of(spoilt), spoilt.body)
    assert_served(site, sent)


#: The server of the standard library hands over the first of two lengths, and underscores as dashes: what arrives is
#: as it should be, and nobody behind it can tell.
NOT_BY_WSGIREF = {"B41 two lengths", "B33 underscores"}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_on_the_wire_is_refused(
    request: pytest.FixtureRequest, site: tuple[Deferq, int], module: str, name: str, watch: Watch
) -> None:
    if name in NOT_BY_WSGIREF and "wsgiref" in request.node.name:
        pytest.skip("wsgiref puts it right")
    sample_tasks.forget()
    sent = good(site[0], module)
    pieces = BROKEN[name](Good(task_of(sent), sent))
    assert_refused(site, watch, module, *pieces, lines=2 if " behind a " in name else 1)
    assert_served(site, sent)


def task_of(sent: Sent) -> Leased:
    return unpack_task(sent.header(TASK), sent.body)


def assert_refused(site: tuple[Deferq, int], watch: Watch, module: str, *pieces: bytes, lines: int = 1) -> None:
    """By us or by the server: with a 4xx, or by closing the connection."""
    app, port = site
    with watch(app, lines=lines, canary=CANARY, imports=True):
        said = raw(port, *pieces)
    status = status_of(said)
    assert status is None or 400 <= status < 500 or status in (501, 505), said
    assert OUTCOME.lower().encode() not in said.lower()
    assert CANARY.encode() not in said
    assert module not in sys.modules


def assert_served(site: tuple[Deferq, int], sent: Sent) -> None:
    said = raw(site[1], head_of(sent), sent.body, thinks_s=PATIENCE_S)
    assert status_of(said) == 200, said
    assert sample_tasks.seen == [CANARY]


def test_however_a_genuine_delivery_is_spelt_it_runs_once(site: tuple[Deferq, int], module: str) -> None:
    """Another percent-encoding, the absolute form, an older HTTP, a wait for 100: the path is the same."""
    app, port = site
    sample_tasks.forget()
    sent = good(app, module)
    heads = [
        head_of(sent, target="/_deferq/%72un"),
        head_of(sent, target="http://localhost/_deferq/run"),
        head_of(sent, version="1.0"),
        head_of(sent.with_header("Expect", "100-continue")),
        head_of(sent),
    ]
    answers = [status_of(raw(port, head, sent.body, thinks_s=PATIENCE_S)) for head in heads]
    assert answers[0] == 200
    assert set(answers[1:]) <= {404, 409}  # a server may take the absolute form for a path of the application
    assert sample_tasks.seen == [CANARY]
