"""What `ndb` keeps by the thread goes with each request and each task. That it helps is tried in tests/compat/ndb."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from deferq import Deferq
from deferq.compat.appengine import deferred, wrap_wsgi_app
from deferq.testing import recording
from tests.compat import counting


@pytest.fixture
def contexts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the part of `ndb` that holds it was told."""
    told: list[Any] = []
    tasklets = SimpleNamespace(set_context=told.append)
    monkeypatch.setitem(sys.modules, "google.appengine.ext.ndb.tasklets", tasklets)
    return told


def test_each_task_begins_with_an_empty_one(app: Deferq, contexts: list[Any]) -> None:
    with recording() as tasks:
        for number in range(3):
            deferred.defer(counting.note, number)
        tasks.drain()
    assert contexts == [None] * 3


def test_each_request_begins_with_an_empty_one(app: Deferq, contexts: list[Any]) -> None:
    def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    wrapped = wrap_wsgi_app(page)
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    with recording():
        for _ in range(2):
            wrapped(dict(environ), lambda *_: None)
    assert contexts == [None] * 2


def test_where_there_is_no_ndb_nothing_of_it_is_loaded(app: Deferq) -> None:
    with recording() as tasks:
        deferred.defer(counting.note, 1)
        assert tasks.drain()[0].outcome == "succeeded"
    assert not any(name.startswith("google.appengine") for name in sys.modules)
