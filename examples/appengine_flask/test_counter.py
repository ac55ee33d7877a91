"""Two minutes pass in a test, and nobody waits for them: python -m pytest"""

from __future__ import annotations

import pytest
from main import COUNTER, Base, add_later, app, engine

from deferq import State


@pytest.fixture(autouse=True)
def empty() -> None:
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)


def count() -> str:
    return app.test_client().get("/counter/get").text


def test_the_three_additions_are_made_at_once_after_a_minute_and_after_two(deferq_tasks, deferq_clock) -> None:
    app.test_client().get("/counter/increment")
    counts = [count()]
    for wait_s in (0, 60, 60):
        deferq_clock.advance(wait_s)
        deferq_tasks.drain()
        counts.append(count())
    assert counts == ["0", "10", "20", "30"]


def test_the_last_one_is_delivered_to_its_own_path(deferq_tasks) -> None:
    app.test_client().get("/counter/increment")
    assert [task.url for task in deferq_tasks.deferred_tasks(add_later)] == [None, None, "/custom/path"]
    deferq_tasks.assert_deferred(add_later, COUNTER, 10, countdown=120, url="/custom/path")
    deferq_tasks.drain(future=True)
    assert {task.state for task in deferq_tasks.deferred_tasks()} == {State.SUCCEEDED}


def test_whoever_posts_to_a_handler_and_is_no_worker_runs_nothing(deferq_tasks) -> None:
    spoofed = {"X-AppEngine-TaskName": "t", "X-AppEngine-QueueName": "default"}
    for path in ("/custom/path", "/_ah/queue/deferred"):
        assert app.test_client().post(path, data=b"cbuiltins\nprint\n.", headers=spoofed).status_code == 403
    assert count() == "0"
