"""Tasks of `taskqueue` in the tests of an application."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from deferq import Deferq
from deferq import default as default_module
from deferq.compat.appengine import deferred, taskqueue
from deferq.testing import DeferredTasks, recording
from tests.support.sample_tasks import add


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Iterable[DeferredTasks]:
    monkeypatch.setattr(default_module, "_default", Deferq("memory://"))
    with recording() as tasks:
        yield tasks


def test_they_stand_beside_calls_and_can_be_looked_at(tasks: DeferredTasks) -> None:
    taskqueue.add(url="/x", params={"a": 1})
    default_module.default().defer(add, 1, 2)
    taskqueue.add("image", method="PULL", queue_name="pull")
    posted, _, pulled = tasks.deferred_tasks()
    assert posted.args == ("POST", "/x", b"a=1")
    assert pulled.args == ("PULL", None, b"image")
    assert "request('POST', '/x', b'a=1')" in str(posted)
    tasks.assert_deferred(add, 1, 2)
    assert len(tasks.deferred_tasks(add)) == 1


def test_draining_delivers_them_to_the_application_that_was_wrapped(tasks: DeferredTasks) -> None:
    seen: list[str] = []

    def view(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b""]

    default_module.default().wrap_wsgi(view)
    taskqueue.add(url="/x", countdown=60)
    taskqueue.add("image", method="PULL", queue_name="pull")
    tasks.drain()
    assert seen == []
    tasks.drain(future=True)
    assert seen == ["/x"]
    assert len(taskqueue.Queue("pull").lease_tasks(60, 10)) == 1


def test_countdowns_go_by_the_clock_of_the_test(tasks: DeferredTasks) -> None:
    tasks.clock.advance(86_400)
    taskqueue.add(url="/x", countdown=60)
    deferred.defer(add, 1, 2, _countdown=60)
    deferred.defer(add, 3, 4)
    assert [task.countdown for task in tasks.deferred_tasks()] == [60, 60, 0]
    assert [ran.target for ran in tasks.drain()] == [f"{add.__module__}:add"]
    tasks.clock.advance(60)
    assert len(tasks.drain(raises=False)) == 2


def test_a_countdown_is_told_exactly_however_long_adding_takes(tasks: DeferredTasks) -> None:
    for seconds in (0.0123, 0.0071):
        task = taskqueue.Task(url="/x", countdown=120)
        time.sleep(seconds)
        task.add()
    assert [task.countdown for task in tasks.deferred_tasks()] == [120, 120]
