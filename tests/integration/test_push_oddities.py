"""`deferq push` and servers that are odder than broken: early hints, crashes at every request, answers too late."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
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
