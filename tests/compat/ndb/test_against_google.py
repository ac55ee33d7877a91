"""Google's own library and ours are asked the same, each in a process of its own. What differs is listed, all of it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import deferq
from deferq import default as default_module
from deferq.compat.appengine import deferred, taskqueue
from deferq.testing.recorder import DeferredTasks
from tests.compat import taskqueue_cases
from tests.compat.ndb.things import WHOLE
from tests.docs.pages import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
#: What ours answers instead, and why that is meant.
PLAIN = ["Content-Type", "text/plain"]
NO_LENGTH = "The body of the request has no length, or is not as long as it says."
DIFFERENT: dict[str, Any] = {
    # Failures subclass the core's.
    "Error: its bases": ["Error", "DeferqError", "Exception", "BaseException", "object"],
    "PermanentTaskFailure: its bases": [
        *("PermanentTaskFailure", "Error", "PermanentTaskFailure", "DeferqError"),
        *("Exception", "BaseException", "object"),
    ],
    "SingularTaskFailure: its bases": [
        *("SingularTaskFailure", "Error", "DeferqError", "RetryTask", "Exception", "BaseException", "object"),
    ],
    # There is no datastore whose key it could be. That is a PermanentTaskFailure, too.
    "run_from_datastore: an unknown key": "raises Elsewhere",
    # Fixed on purpose.
    "post: no SERVER_SOFTWARE": ["Success", 200, "HTTPStatus", [PLAIN]],
    "post: no CONTENT_LENGTH": [NO_LENGTH, 400, "HTTPStatus", [PLAIN]],
    "application: GET": [[["405 Method Not Allowed", ["Allow", "POST"], PLAIN]], ""],
    "defer: a keyword of nobody": "raises TypeError",
}


def asked(python: str, folder: Path, *words: str) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEFERQ_")}
    path = os.pathsep.join([str(Path(deferq.__file__).parent.parent), str(ROOT)])
    ran = subprocess.run(
        [python, "-m", "tests.compat.ndb.answers", *words],
        cwd=folder,
        env=kept | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    answers: dict[str, Any] = json.loads(ran.stdout)
    return answers


def test_ours_answers_as_googles_does_but_for_what_is_meant(sdk_python: str, tmp_path: Path) -> None:
    googles, ours = asked(sdk_python, tmp_path, "google"), asked(sys.executable, tmp_path, "ours")
    assert googles.keys() == ours.keys()
    assert len(googles) > 80
    differ = {name: ours[name] for name in googles if googles[name] != ours[name]}
    url = differ.pop("defer: _url None")  # fixed on purpose
    assert (googles["defer: _url None"], url) == ("raises TypeError", ours["defer: _url of nothing"])
    assert differ == DIFFERENT


def test_bodies_that_googles_library_has_written_run_where_it_is_not_installed(
    sdk_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deferq_tasks: DeferredTasks
) -> None:
    monkeypatch.setattr(default_module, "_default", None)
    monkeypatch.setattr(default_module, "_web", None)
    assert "google.appengine.ext.deferred" not in sys.modules
    bodies = asked(sdk_python, tmp_path, "google", "bodies")
    assert bodies.keys() == WHOLE.keys()
    for name, (fn, args) in WHOLE.items():
        body = base64.b64decode(bodies[name])
        assert deferred.run(body) == fn(*args), name
        taskqueue.add(payload=body, url="/_ah/queue/deferred")
    assert b"google.appengine.ext.deferred.deferred" in base64.b64decode(bodies["method"])
    assert {ran.outcome for ran in deferq_tasks.drain()} == {"succeeded"}
    assert len(deferq_tasks.deferred_tasks()) == len(WHOLE)


def test_what_is_recorded_of_googles_task_queue_is_what_it_answers(sdk_python: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sdk_python, str(Path(taskqueue_cases.__file__))], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert int(ran.stdout.split()[0]) > 250  # rows
