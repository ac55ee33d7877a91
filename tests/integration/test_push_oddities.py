"""`deferq push` and servers that are odder than broken: early hints, crashes at every request, answers too late."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from deferq.codec import wire
from deferq.model.outcome import SUCCEEDED, ErrorText, Failed
from deferq.model.state import State
from tests.support.pushing import Office, kinds, until
from tests.support.scripted import Scripted, Seen, answer

BROKE = ErrorText(error_type="ValueError", message="it broke", traceback="Traceback: it broke")


@pytest.fixture(params=["aiohttp", "threads"])
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    if request.param == "aiohttp":
        pytest.importorskip("aiohttp", reason="pip install '.[push]' brings it")
    office = Office(tmp_path, request.param)
    yield office
    office.deferq.close()


def test_an_interim_answer_is_not_taken_for_the_answer(office: Office) -> None:
    """Else the answer of one task would be read as that of the next one."""
    handles = [office.put(number, attempts=1) for number in range(4)]

    def script(seen: Seen, connection: socket.socket) -> None:
        task = office.opened(seen).task
        office.deferq.engine.take_up([(task.id, task.lease_id)])
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
        time.sleep(0.05)
        failed = task.id == handles[0].id
        outcome = Failed(error=BROKE, permanent=True, reason="permanent") if failed else SUCCEEDED
        connection.sendall(answer(200, (wire.OUTCOME, wire.pack_header(outcome))))

    with Scripted(script) as server, office.pushing(server.url, concurrency=1):
        tasks = office.ended(*handles)
    assert [task.state for task in tasks] == [State.DEAD, State.SUCCEEDED, State.SUCCEEDED, State.SUCCEEDED]
    assert len(server.seen) == 4


@pytest.mark.slow
def test_a_task_that_breaks_every_connection_does_not_hold_up_the_others(office: Office) -> None:
    """A view that kills the process of its server, say."""
    poison = office.put_url("/poison")
    others = [office.put() for _ in range(5)]
    good = office.handler(lambda task: SUCCEEDED)

    def script(seen: Seen, connection: socket.socket) -> object:
        return False if seen.path == "/poison" else good(seen, connection)

    with Scripted(script) as server, office.pushing(server.url, lease_s=1.0):
        tasks = office.ended(*others)
        until(lambda: kinds(poison), "it was sent again and again, and no attempt was spent")
    assert {(task.state, task.attempts) for task in tasks} == {(State.SUCCEEDED, 1)}
    assert kinds(poison) == ["worker lost"]


@pytest.mark.slow
def test_what_was_let_go_while_it_was_being_connected_is_not_sent_any_more(office: Office) -> None:
    """A view that takes no lease up would run it beside its next attempt."""
    handle = office.put_url("/jobs")
    looking = threading.Event()

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        if not looking.is_set():
            looking.set()
            time.sleep(1.6)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    with (
        Scripted(lambda seen, connection: connection.sendall(answer())) as server,
        office.pushing(f"http://shop.example:{server.port}", resolve=resolve, deadline_s=0.1, lease_s=30.0),
    ):
        assert looking.wait(10)
        time.sleep(2.0)
        assert (server.seen, office.task(handle).state) == ([], State.LEASED)


@contextmanager
def in_a_hurry(status: int) -> Iterator[str]:
    """A server that answers as soon as it has the headers, and closes without a look at the body."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += connection.recv(1000)
                    connection.sendall(answer(status, ("Connection", "close")))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.slow
def test_who_refuses_by_the_headers_alone_is_heard(office: Office) -> None:
    """It may close before a large body has arrived."""
    handle = office.put("x" * 8_000_000)
    with in_a_hurry(413) as base, office.pushing(base):
        until(lambda: kinds(handle), "nothing was noted")
    assert "HTTP 413" in handle.details().failures[0].message
