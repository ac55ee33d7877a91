"""Answers to a push that are made to hurt: the pusher goes on, and no task is left as it cannot be."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deferq.codec.wire import OUTCOME
from deferq.engines.base import Filter
from deferq.model.state import State
from tests.support.pushing import Office, until
from tests.support.scripted import Scripted, answer

ERROR = {"error_type": "os.system", "message": "touch canary-7f3a", "traceback": ""}
HALF = "a\ud800b"
SAID: dict[str, dict[str, Any]] = {
    "comes again in 10^400 seconds": {"outcome": "retried", "reason": "", "after_s": 10**400},
    "comes again in 1e300 seconds": {"outcome": "snoozed", "reason": "", "after_s": 1e300},
    "given back for ever": {"outcome": "interrupted", "reason": "r", "after_s": float("inf")},
    "comes again at no time": {"outcome": "retried", "reason": "", "after_s": float("nan")},
    "half a surrogate pair": {"outcome": "failed", "reason": HALF, "detail": HALF, "permanent": True,
                              "error": dict.fromkeys(ERROR, HALF)},
    "a failure that was leased": {"outcome": "failed", "reason": "leased", "permanent": True, "error": ERROR},
    "a failure that succeeded": {"outcome": "failed", "reason": "succeeded", "permanent": True, "error": ERROR},
    "a kind of error that is a function": {"outcome": "failed", "reason": "x", "permanent": True, "error": ERROR},
    "no outcome": {"outcome": "deleted", "reason": ""},
}  # fmt: skip


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path, "threads")
    yield office
    office.deferq.close()


def test_no_answer_ends_a_pusher_or_leaves_a_task_as_it_cannot_be(office: Office) -> None:
    """All of them at once, and behind them one that is as it should be."""
    bad = {office.put_url(f"/{number}").id: said for number, said in enumerate(SAID.values())}
    good = office.put_url("/good")

    def script(seen: Any, connection: Any) -> object:
        said = (
            SAID[[*SAID][int(seen.path[1:])]] if seen.path[1:].isdigit() else {"outcome": "succeeded", "result": None}
        )
        text = base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
        return connection.sendall(answer(500 if "failed" in said.values() else 200, (OUTCOME, text)))

    with Scripted(script) as server, office.pushing(server.url):
        office.ended(good)
        until(lambda: all(office.deferq.task(one).task.state.finished for one in bad), "a task is still there")
    page = office.deferq.engine.find(Filter(), limit=100)  # all of them can be read
    states = {task.id: task.state for task in page.tasks}
    assert states[good.id] is State.SUCCEEDED
    for task_id, said in bad.items():
        assert states[task_id] is (State.DEAD if said["outcome"] == "failed" else State.SUCCEEDED)
        office.deferq.task(task_id).details()
