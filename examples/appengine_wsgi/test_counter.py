"""Two minutes pass in a test, and nobody waits for them: python -m pytest"""

from __future__ import annotations

import io
from wsgiref.util import setup_testing_defaults

import pytest
from main import COUNTER, Base, add_later, app, engine

from deferq import State


@pytest.fixture(autouse=True)
def empty() -> None:
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)


def ask(path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """What a server would get: the status and the text."""
    environ = {"PATH_INFO": path, "REQUEST_METHOD": "GET" if body is None else "POST", **headers}
    environ |= {"wsgi.input": io.BytesIO(body or b""), "CONTENT_LENGTH": str(len(body or b""))}
    setup_testing_defaults(environ)
    statuses: list[str] = []
    text = b"".join(app(environ, lambda status, headers, _=None: statuses.append(status)))
    return int(statuses[0].split()[0]), text.decode()


def test_the_three_additions_are_made_at_once_after_a_minute_and_after_two(deferq_tasks, deferq_clock) -> None:
    ask("/counter/increment")
    answers = [ask("/counter/get")]
    for wait_s in (0, 60, 60):
        deferq_clock.advance(wait_s)
        deferq_tasks.drain()
        answers.append(ask("/counter/get"))
    assert answers == [(200, "0"), (200, "10"), (200, "20"), (200, "30")]


def test_the_last_one_is_delivered_to_its_own_path(deferq_tasks, capsys) -> None:
    ask("/counter/increment")
    task = deferq_tasks.assert_deferred(add_later, COUNTER, 10, countdown=120, url="/custom/path")
    deferq_tasks.drain(future=True)
    assert task.state is State.SUCCEEDED
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_whoever_posts_to_a_handler_and_is_no_worker_runs_nothing(deferq_tasks) -> None:
    spoofed = {"HTTP_X_APPENGINE_TASKNAME": "t", "HTTP_X_APPENGINE_QUEUENAME": "default"}
    for path in ("/custom/path", "/_ah/queue/deferred"):
        assert ask(path, b"cbuiltins\nprint\n.", **spoofed)[0] == 403
    assert ask("/counter/get") == (200, "0")
