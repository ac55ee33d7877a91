"""`deferq tasks ...`: looking at tasks and changing them."""

from __future__ import annotations

import json
import time

import pytest

from deferq import Deferq, State
from tests.cli import jobs
from tests.cli.conftest import Run, work_off


@pytest.fixture
def dead(deferq: Deferq) -> int:
    """A task that has died."""
    handle = deferq.defer(jobs.fail, "no such user")
    work_off(deferq)
    assert handle.state is State.DEAD
    return handle.id


# ---- ls


def test_ls_shows_the_newest_first_and_how_to_go_on(run: Run, deferq: Deferq) -> None:
    ids = [deferq.defer(jobs.add, n).id for n in range(5)]

    said = run("tasks", "ls", "--limit", 2)

    assert [line.split()[0] for line in said.out.splitlines()[1:3]] == [str(ids[4]), str(ids[3])]
    assert f"more: --after {ids[3]}" in said.out


def test_ls_goes_on_after_an_id(run: Run, deferq: Deferq) -> None:
    ids = [deferq.defer(jobs.add, n).id for n in range(3)]

    document = json.loads(run("tasks", "ls", "--json", "--after", ids[1]).out)

    assert [task["id"] for task in document["tasks"]] == [str(ids[0])]
    assert document["next_after"] is None


@pytest.mark.parametrize(
    "where",
    [("--queue", "mail"), ("--state", "pending"), ("--target", "tests.cli.jobs:add"), ("--name", "welcome-1")],
)
def test_ls_narrows_down(run: Run, deferq: Deferq, dead: int, where: tuple[str, str]) -> None:
    handle = deferq.call(jobs.add, 1).defer(queue="mail", name="welcome-1")

    document = json.loads(run("tasks", "ls", "--json", *where).out)

    assert [task["id"] for task in document["tasks"]] == [str(handle.id)]


def test_ls_of_nothing_is_no_error(run: Run, deferq: Deferq) -> None:
    deferq.engine.counts()

    assert run("tasks", "ls").code == 0


def test_a_state_that_does_not_exist_names_the_one_that_was_meant(run: Run) -> None:
    said = run("tasks", "ls", "--state", "deda")

    assert said.code == 2
    assert "Did you mean 'dead'?" in said.err


# ---- show


def test_show_tells_how_a_task_died(run: Run, dead: int) -> None:
    said = run("tasks", "show", dead)

    assert said.code == 0
    assert "dead: permanent" in said.out
    assert "attempt 1 failed: " in said.out or "attempt 1 permanent: " in said.out
    assert "no such user" in said.out
    assert "pickle" in said.out


def test_show_in_json_has_times_in_utc_and_ids_as_text(run: Run, dead: int) -> None:
    document = json.loads(run("tasks", "show", dead, "--json").out)

    assert document["id"] == str(dead)
    assert document["state"] == "dead"
    assert document["created_at"].endswith("Z")
    assert document["codec"] == "pickle"
    assert document["payload_bytes"] > 0
    assert document["failures"][0]["message"] == "no such user"


def test_an_error_cannot_command_the_terminal(run: Run, deferq: Deferq) -> None:
    handle = deferq.defer(jobs.fail, "\033[2Jgone")
    work_off(deferq)

    said = run("tasks", "show", handle.id)

    assert "\033" not in said.out
    assert "gone" in said.out


@pytest.mark.parametrize("verb", ["show", "now", "requeue", "cancel", "wait"])
def test_an_unknown_id_is_said_to_be_unknown(run: Run, deferq: Deferq, verb: str) -> None:
    deferq.engine.counts()

    said = run("tasks", verb, "123")

    assert said.code == 1
    assert "There is no task 123" in said.err


def test_what_is_no_id_is_wrong_usage(run: Run) -> None:
    assert run("tasks", "show", "welcome-1").code == 2


# ---- changing


def test_now_makes_a_task_due(run: Run, deferq: Deferq) -> None:
    handle = deferq.call(jobs.add, 1).defer(countdown=3600)

    said = run("tasks", "now", handle.id)

    assert (said.code, said.out) == (0, "1 task due now\n")
    assert handle.refresh().reading(deferq.engine.now()) == "ready"


def test_now_does_not_touch_what_has_ended_and_says_so(run: Run, dead: int) -> None:
    said = run("tasks", "now", dead)

    assert said.code == 1
    assert f"Task {dead} is dead; only pending tasks" in said.err


def test_cancel(run: Run, deferq: Deferq) -> None:
    handle = deferq.defer(jobs.add, 1)

    assert run("tasks", "cancel", handle.id).code == 0
    assert handle.state is State.CANCELLED


def test_requeue_puts_a_dead_task_back(run: Run, deferq: Deferq, dead: int) -> None:
    said = run("tasks", "requeue", dead)

    assert (said.code, said.out) == (0, "1 task requeued\n")
    assert deferq.task(dead).state is State.PENDING


def test_requeue_all_dead_goes_through_every_page(run: Run, deferq: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deferq.cli.tasks_requeue._PAGE", 3)
    deferq.defer_many(deferq.call(jobs.fail) for _ in range(10))
    work_off(deferq)

    assert run("tasks", "requeue", "--all-dead").out == "10 tasks requeued\n"
    assert run("tasks", "requeue", "--all-dead").out == "0 tasks requeued\n"


def test_requeue_all_dead_of_one_queue(run: Run, deferq: Deferq, dead: int) -> None:
    deferq.call(jobs.fail).defer(queue="mail")
    work_off(deferq)

    assert run("tasks", "requeue", "--all-dead", "--queue", "mail").out == "1 task requeued\n"
    assert deferq.task(dead).state is State.DEAD


@pytest.mark.parametrize("words", [(), ("1", "--all-dead"), ("1", "--queue", "mail")])
def test_requeue_takes_ids_or_all_dead(run: Run, words: tuple[str, ...]) -> None:
    assert run("tasks", "requeue", *words).code == 2


# ---- wait


def test_wait_says_succeeded_without_restoring_the_result(run: Run, deferq: Deferq) -> None:
    handle = deferq.defer(jobs.add, 1, 2)
    work_off(deferq)

    said = run("tasks", "wait", handle.id)

    assert (said.code, said.out) == (0, "succeeded\n")


def test_wait_for_a_dead_task_is_exit_code_1_and_the_reason(run: Run, dead: int) -> None:
    said = run("tasks", "wait", dead)

    assert (said.code, said.out) == (1, "dead\n")
    assert "no such user" in said.err


def test_wait_in_json_prints_the_task(run: Run, dead: int) -> None:
    said = run("tasks", "wait", dead, "--json")

    assert said.code == 1
    assert json.loads(said.out)["state"] == "dead"


def test_a_cancelled_task_does_not_blame_the_error_of_an_earlier_life(run: Run, deferq: Deferq, dead: int) -> None:
    run("tasks", "requeue", dead)
    run("tasks", "cancel", dead)

    said = run("tasks", "wait", dead)

    assert (said.code, said.out) == (1, "cancelled\n")
    assert "no such user" not in said.err


def test_wait_gives_up_in_time_with_exit_code_2(run: Run, deferq: Deferq) -> None:
    handle = deferq.defer(jobs.add, 1)
    began = time.monotonic()

    assert run("tasks", "wait", handle.id, "--timeout", "0.05").code == 2
    assert time.monotonic() - began < 2
