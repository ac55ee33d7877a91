"""Bodies that Google's own library has pickled can be run: they were made with appengine-python-standard 3.1.0."""

from __future__ import annotations

import io
import pickle
import sys
from types import ModuleType
from typing import Any

import pytest

from deferq import Deferq
from deferq.codec.triples import MODULES
from deferq.compat.appengine import deferred, taskqueue
from deferq.model.outcome import SUCCEEDED
from tests.compat import counting
from tests.compat.deferring import run_due, stored

FUNCTION = (((1, "two"), {"key": 3.5}), "tests.compat.counting:note")
METHOD = (("add", 20), "tests.compat.counting:Counter.add")
CLASS_METHOD = (("make", "Counter", 4), "tests.compat.counting:Counter.make")
INSTANCE = (("hello", 7), "tests.compat.counting:Callable")

#: By Google's library: `deferred.serialize(counting.note, 1, "two", key=3.5)` and so on, in both its protocols.
BODIES: list[Any] = [
    pytest.param(
        b"\x80\x05\x95@\x00\x00\x00\x00\x00\x00\x00\x8c\x15tests.compat.counting\x94\x8c\x04note\x94\x93\x94K\x01\x8c"
        b"\x03two\x94\x86\x94}\x94\x8c\x03key\x94G@\x0c\x00\x00\x00\x00\x00\x00s\x87\x94.",
        *FUNCTION,
        id="a function",
    ),
    pytest.param(
        b"(ctests.compat.counting\nnote\np0\n(I1\nVtwo\np1\ntp2\n(dp3\nVkey\np4\nF3.5\nstp5\n.",
        *FUNCTION,
        id="a function, protocol 0",
    ),
    pytest.param(
        b"\x80\x05\x95\x89\x00\x00\x00\x00\x00\x00\x00\x8c&google.appengine.ext.deferred.deferred\x94\x8c\rinvoke_member"
        b"\x94\x93\x94\x8c\x15tests.compat.counting\x94\x8c\x07Counter\x94\x93\x94)\x81\x94}\x94\x8c\x05value\x94K\nsb"
        b"\x8c\x03add\x94K\x05\x87\x94}\x94\x8c\x05twice\x94\x88s\x87\x94.",
        *METHOD,
        id="a method",
    ),
    pytest.param(
        b"(cgoogle.appengine.ext.deferred.deferred\ninvoke_member\np0\n(ccopy_reg\n_reconstructor\np1\n"
        b"(ctests.compat.counting\nCounter\np2\nc__builtin__\nobject\np3\nNtp4\nRp5\n(dp6\nVvalue\np7\nI10\nsbVadd\np8\n"
        b"I5\ntp9\n(dp10\nVtwice\np11\nI01\nstp12\n.",
        *METHOD,
        id="a method, protocol 0",
    ),
    pytest.param(
        b"\x80\x05\x95o\x00\x00\x00\x00\x00\x00\x00\x8c&google.appengine.ext.deferred.deferred\x94\x8c\rinvoke_member"
        b"\x94\x93\x94\x8c\x15tests.compat.counting\x94\x8c\x07Counter\x94\x93\x94\x8c\x04make\x94K\x04\x87\x94}\x94\x87"
        b"\x94.",
        *CLASS_METHOD,
        id="a class method",
    ),
    pytest.param(
        b"(cgoogle.appengine.ext.deferred.deferred\ninvoke_member\np0\n(ctests.compat.counting\nCounter\np1\nVmake\np2\n"
        b"I4\ntp3\n(dp4\ntp5\n.",
        *CLASS_METHOD,
        id="a class method, protocol 0",
    ),
    pytest.param(
        b"\x80\x05\x95D\x00\x00\x00\x00\x00\x00\x00\x8c\x15tests.compat.counting\x94\x8c\x08Callable\x94\x93\x94)\x81\x94}"
        b"\x94\x8c\x04word\x94\x8c\x05hello\x94sbK\x07\x85\x94}\x94\x87\x94.",
        *INSTANCE,
        id="an instance that is called",
    ),
    pytest.param(
        b"(ccopy_reg\n_reconstructor\np0\n(ctests.compat.counting\nCallable\np1\nc__builtin__\nobject\np2\nNtp3\nRp4\n"
        b"(dp5\nVword\np6\nVhello\np7\nsb(I7\ntp8\n(dp9\ntp10\n.",
        *INSTANCE,
        id="an instance that is called, protocol 0",
    ),
]
UPPER = (
    b"\x80\x05\x95P\x00\x00\x00\x00\x00\x00\x00\x8c&google.appengine.ext.deferred.deferred\x94\x8c\rinvoke_member\x94\x93"
    b"\x94\x8c\x03abc\x94\x8c\x05upper\x94\x86\x94}\x94\x87\x94."
)
LARGE = (
    b"\x80\x05\x95z\x00\x00\x00\x00\x00\x00\x00\x8c&google.appengine.ext.deferred.deferred\x94\x8c\x12run_from_datastore"
    b"\x94\x93\x94\x8c0ahFkZXZ-YXBwchsLEhNfRGVmZXJyZWRUYXNrRW50aXR5GAEM\x94\x85\x94}\x94\x87\x94."
)


@pytest.fixture(autouse=True)
def fresh() -> None:
    counting.forget()


@pytest.mark.parametrize(("body", "expected", "target"), BODIES)
def test_a_body_of_googles_library_runs(body: bytes, expected: Any, target: str) -> None:
    deferred.run(body)
    assert counting.seen == [expected]


@pytest.mark.parametrize(("body", "expected", "target"), BODIES)
def test_it_drains_through_the_store_and_people_see_what_it_calls(
    app: Deferq, body: bytes, expected: Any, target: str
) -> None:
    task = taskqueue.add(url="/_ah/queue/deferred", payload=body)
    assert stored(app, task).target == target
    assert run_due(app) == [SUCCEEDED]
    assert counting.seen == [expected]


def test_a_built_in_method_of_googles_library_runs() -> None:
    assert deferred.run(UPPER) == "ABC"


def test_a_large_call_of_googles_library_stayed_in_its_datastore(app: Deferq) -> None:
    with pytest.raises(deferred.PermanentTaskFailure):
        deferred.run(LARGE)


def test_google_keeps_the_task_of_a_large_call_that_it_delivers_to_us(app: Deferq) -> None:
    """A 200 would make its queue forget the task, and nobody would ever run what stands in its datastore."""
    environ = {
        "REQUEST_METHOD": "POST",
        "REMOTE_ADDR": "0.1.0.2",
        "HTTP_X_APPENGINE_TASKNAME": "task1",
        "CONTENT_LENGTH": str(len(LARGE)),
        "wsgi.input": io.BytesIO(LARGE),
    }
    text, status, _ = deferred.Handler(trust_app_engine_headers=True).post(environ)
    assert status == 503
    assert "Google's datastore" in text


@pytest.mark.parametrize("module", sorted(MODULES))
def test_every_spelling_of_googles_module_is_ours(module: str) -> None:
    body = b"c%b\ninvoke_member\n(Vabc\nVupper\nt}t." % module.encode()
    assert deferred.run(b"(" + body) == "ABC"


def test_ours_is_taken_even_where_googles_library_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def must_not_run(*args: object) -> None:
        raise AssertionError

    theirs: Any = ModuleType("google.appengine.ext.deferred.deferred")
    theirs.invoke_member = must_not_run
    monkeypatch.setitem(sys.modules, theirs.__name__, theirs)
    assert deferred.run(UPPER) == "ABC"


def test_what_we_write_googles_library_does_not_read_and_ours_does() -> None:
    body = deferred.serialize(counting.Counter(1).add, 2)
    assert b"google" not in body
    assert pickle.loads(body)[0] is deferred.invoke_member
