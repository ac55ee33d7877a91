"""Requests that are broken on the wire (B41 to B44, B47, B48), at real servers.

Servers answer some of these by themselves, each in its own way: with a 4xx, by closing the connection, or by waiting
for what does not come. What matters is the same for all: the task does not run, nobody is told that it did, our log has
a line at most, and the next delivery that is as it should be is served.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import NamedTuple

import pytest

from deferq.codec.wire import OUTCOME, RUN_PATH, SIGNATURE, TASK, TIME, unpack_answer
from deferq.model.outcome import Succeeded
from deferq.model.task import Leased
from tests.badinput.wire import WIRE, Pieces
from tests.process.servers.running import PATIENCE_S, Site
from tests.process.servers.table import SERVERS, Server
from tests.support import lease_one
from tests.support.deliveries import Sent, delivery

NAMES = ("gunicorn", "gunicorn with threads", "uvicorn", "granian, WSGI", "granian, ASGI", "waitress")
#: How long a server may think about what is broken, before we go.
THINKS_S = 1.5
OURS = "a delivery was refused"


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(one, id=one.name.replace(", ", "-").replace(" ", "-")) for one in SERVERS if one.name in NAMES
    ],
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose application runs no worker: it takes deliveries."""
    server: Server = request.param
    site = Site(server, tmp_path_factory.mktemp("site"))
    try:
        site.start(DEFERQ_WORKER="external")
        site.get("/here")
        yield site
    finally:
        site.close()


class Good(NamedTuple):
    """A delivery that would run, and what is to be told of it."""

    task: Leased
    sent: Sent

    def head(self, *, without: tuple[str, ...] = (), more: tuple[str, ...] = (), method: str = "POST") -> bytes:
        headers = [f"{name}: {value}" for name, value in self.sent.headers if name not in without]
        lines = [f"{method} {RUN_PATH} HTTP/1.1", "Host: localhost", *headers, *more, "", ""]
        return "\r\n".join(lines).encode("latin-1")


@pytest.fixture
def good(site: Site) -> Good:
    (task_id,) = site.defer("note")
    task = lease_one(site.store.engine, lease_s=600)
    assert task.id == task_id
    return Good(task, delivery(site.store, task))


def raw(site: Site, *pieces: bytes, patience_s: float = THINKS_S) -> bytes:
    """What a server says to these bytes until it closes the connection, or has nothing more to say."""
    with closing(socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE_S)) as connection:
        with suppress(OSError):  # it has closed the connection in our face
            for piece in pieces:
                connection.sendall(piece)
        connection.settimeout(patience_s)
        said = b""
        with suppress(OSError):
            while piece := connection.recv(65_536):
                said += piece
                if is_whole(said):
                    break
        return said


def is_whole(said: bytes) -> bool:
    """Whether an answer is there to its last byte, by the length that it gives itself, or is one of ours."""
    head, end, body = after_interim(said).partition(b"\r\n\r\n")
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(end) and (b"deferq" in said or (found is not None and len(body) >= int(found[1])))


def after_interim(said: bytes) -> bytes:
    while said.startswith(b"HTTP/1.1 100 "):
        said = said.partition(b"\r\n\r\n")[2]
    return said


def status_of(said: bytes) -> int | None:
    """None: it has closed the connection, or said nothing."""
    said = after_interim(said)
    return int(said.split(b" ", 2)[1]) if said.startswith(b"HTTP/1.") else None


def serve(site: Site, good: Good) -> None:
    """The same delivery as it should be; it has not run before."""
    said = raw(site, good.head(more=("Connection: close",)), good.sent.body, patience_s=PATIENCE_S)
    assert status_of(said) == 200, said
    head = said.split(b"\r\n\r\n")[0].decode()
    text = next(line.split(": ", 1)[1] for line in head.split("\r\n") if line.lower().startswith(OUTCOME.lower()))
    assert isinstance(unpack_answer(text, b""), Succeeded)


Broken = Callable[[Good], tuple[bytes, ...]]


def length(text: str | None) -> Broken:
    more = () if text is None else (f"Content-Length: {text}",)
    return lambda good: (good.head(without=("Content-Length",), more=more), good.sent.body)


def with_head(*more: str, body: bytes | None = None) -> Broken:
    return lambda good: (good.head(more=more), good.sent.body if body is None else body)


def unsigned(*more: str) -> Broken:
    return lambda good: (good.head(without=(SIGNATURE,), more=more), good.sent.body)


def method(name: str) -> Broken:
    return lambda good: (good.head(method=name), good.sent.body)


def chunked(ends: bytes) -> Broken:
    def request(good: Good) -> tuple[bytes, ...]:
        head = good.head(without=("Content-Length",), more=("Transfer-Encoding: chunked",))
        return head, b"%x\r\n%b\r\n" % (len(good.sent.body), good.sent.body) + ends

    return request


def underscores(good: Good) -> tuple[bytes, ...]:
    """The right names, but for underscores."""
    ours = (TASK, TIME, SIGNATURE)
    spelt = tuple(f"{name.replace('-', '_')}: {good.sent.header(name)}" for name in ours)
    return good.head(without=ours, more=spelt), good.sent.body


def slowly(good: Good) -> tuple[bytes, ...]:
    """A beginning of a body, and then nothing more."""
    return good.head(), good.sent.body[:4]


def too_large(good: Good) -> tuple[bytes, ...]:
    size = 17 * 1024 * 1024
    return good.head(without=("Content-Length",), more=(f"Content-Length: {size}",)), bytes(1024 * 1024)


BROKEN: dict[str, Broken] = {
    "B41 no length": length(None),
    "B41 length abc": length("abc"),
    "B41 length -1": length("-1"),
    "B41 length +5": length("+5"),
    "B41 length 0x10": length("0x10"),
    "B41 length too small": length("5"),
    "B41 length too large": length("100000"),
    "B41 two lengths": with_head("Content-Length: 5"),
    "B42 two kinds of length": with_head("Transfer-Encoding: chunked"),
    "B42 chunked without an end": chunked(b""),
    "B42 broken chunks": chunked(b"zz\r\n"),
    "B43 too large": too_large,
    "B43 slowly": slowly,
    "B44 GET": method("GET"),
    "B44 HEAD": method("HEAD"),
    "B44 PUT": method("PUT"),
    "B44 TRACE": method("TRACE"),
    "B44 method of 10 kB": method("X" * 10_000),
    "B47 line break in a value": with_head(f"{TASK}: a\r\n b"),
    "B47 bare line feed": with_head(f"{TIME}: 1\n{SIGNATURE}: x"),
    "B47 header of 100 kB": unsigned("X-Long: " + "a" * 100_000),
    "B47 10,000 headers": unsigned(*(f"X-{number}: a" for number in range(10_000))),
    "B47 ours twice": with_head(f"{TASK}: e30="),
    "B33 underscores": underscores,
}


def beyond(make: Pieces) -> Broken:
    return lambda good: make(good.sent)


#: What the table of bad inputs does not name. CONNECT to a host is the application's, and ours here is no match for it.
BROKEN |= {f"beyond: {name}": beyond(make) for name, make in WIRE.items() if name != "authority form"}

#: It hands them over to WSGI as the same header, where nobody can tell; the signature fits, so the delivery is ours.
TAKES_UNDERSCORES = "granian, WSGI"


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_on_the_wire_runs_nothing(site: Site, good: Good, name: str) -> None:
    if site.server.name == TAKES_UNDERSCORES and BROKEN[name] is underscores:
        pytest.skip("this server takes an underscore for a dash")
    ran, lines = len(site.lines("ran")), refusals(site)
    said = raw(site, *BROKEN[name](good))
    status = status_of(said)
    assert status is None or 400 <= status < 600 or answered_by_the_application(said), said
    assert status != 500, said
    assert b"X-Deferq-Outcome" not in said
    assert refusals(site) - lines <= (2 if " behind a " in name else 1)
    assert len(site.lines("ran")) == ran
    assert not passed_through_us(site)
    serve(site, good)
    assert len(site.lines("ran")) == ran + 1


def passed_through_us(site: Site) -> bool:
    """An error that came through deferq's code. Servers may have errors of their own about such requests."""
    return any(line.startswith("  File ") and "/deferq/" in line for line in site.output().splitlines())


def answered_by_the_application(said: bytes) -> bool:
    """A page of its own, to what did not come under our path."""
    return b"deferq" not in said.lower() and b"\r\n\r\n" in said


def refusals(site: Site) -> int:
    return site.output().count(OURS)


@pytest.mark.slow
def test_the_same_delivery_to_several_processes_at_once_runs_once(site: Site, good: Good) -> None:
    """B48: they share the store, and no memory."""
    ran = len(site.lines("ran"))
    connections = [socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE_S) for _ in range(6)]
    for connection in connections:
        connection.sendall(good.head(more=("Connection: close",)) + good.sent.body)
    answers = []
    for connection in connections:
        with closing(connection):
            said = b""
            while piece := connection.recv(65_536):
                said += piece
            answers.append(status_of(said))
    assert sorted(answers, key=str) == [200, *[409] * 5]
    assert len(site.lines("ran")) == ran + 1


@pytest.mark.slow
def test_a_handler_whose_sender_was_killed_keeps_its_lease_and_settles_what_ends_late(site: Site) -> None:
    """The sender lets go after half a second, and the task runs on; it is stored by the process that ran it."""
    (site.folder / "go").unlink(missing_ok=True)
    (task_id,) = site.defer("hold")
    task = lease_one(site.store.engine, lease_s=30)
    sent = delivery(site.store, task, wait_s=0.5)
    with closing(socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE_S)) as connection:
        connection.sendall(Good(task, sent).head() + sent.body)
        site.wait_until(lambda: any(line[0] == "0" for line in site.lines("begun")), "the task to begin")
        time.sleep(0.6)
    (site.folder / "go").touch()
    site.wait_for_success(task_id)


def test_the_names_of_the_servers_are_right() -> None:
    assert {one.name for one in SERVERS} >= set(NAMES)
