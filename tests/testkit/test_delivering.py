"""Tasks with an url in a test: they are delivered to the application that is wrapped, else their function is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from deferq import Request, call, default, handler, wrap_wsgi
from deferq.testing import drain, inline, recording
from tests.testkit import jobs


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths to which tasks were delivered, by a view that hands them to the handler."""
    paths: list[str] = []

    def view(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        paths.append(environ["PATH_INFO"])
        response = handler().handle(Request.from_wsgi(environ))
        start_response(response.status_line, response.headers)
        return [response.body]

    monkeypatch.setattr(default, "_web", None)
    monkeypatch.setattr(default, "_default", None)
    wrap_wsgi(view)
    return paths


def test_a_wrapped_application_gets_them_when_they_are_drained(paths: list[str]) -> None:
    with recording() as tasks:
        call(jobs.remember, 1).defer(url="/tasks/one")
        call(jobs.remember, 2).defer()
        assert [(task.args, task.url) for task in tasks.deferred_tasks()] == [((1,), "/tasks/one"), ((2,), None)]
        tasks.assert_deferred(jobs.remember, 1, url="/tasks/one")
        tasks.assert_not_deferred(jobs.remember, 2, url="/tasks/one")
        assert [ran.outcome for ran in drain()] == ["succeeded", "succeeded"]
    assert jobs.done == [1, 2]
    assert paths == ["/tasks/one"]


def test_and_at_once_inline(paths: list[str]) -> None:
    with inline():
        assert call(jobs.remember, 1).defer(url="/tasks/one").wait() == 1
    assert paths == ["/tasks/one"]


def test_where_no_application_is_known_the_function_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default, "_web", None)
    monkeypatch.setattr(default, "_default", None)
    with recording():
        call(jobs.remember, 1).defer(url="/tasks/one")
        (ran,) = drain()
    assert (ran.outcome, jobs.done) == ("succeeded", [1])
