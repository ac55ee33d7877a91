"""`deferq status` as a page and as a probe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deferq import Deferq
from deferq.engines.base import RecordChange
from deferq.model.settings import Pause
from tests.cli import jobs
from tests.cli.conftest import Run
from tests.support.leases import lease_one


def alive(deferq: Deferq, key: str = "00000001", *, for_s: float = 30, **said: object) -> None:
    """Leave the record of a worker."""
    due = deferq.engine.now() + int(for_s * 1e6)
    document = {"host": "here", "pid": 1, "queues": None, "route": None, "threads": 4, "running": 0, "abandoned": 0}
    deferq.engine.change_records([RecordChange("worker", key, 0, due, json.dumps({**document, **said}))])


def test_a_quiet_store_is_fine(run: Run, deferq: Deferq) -> None:
    deferq.engine.counts()

    said = run("status")

    assert said.code == 0
    assert "warning" not in said.out


def test_tasks_that_nobody_serves_are_a_warning_and_exit_code_1(run: Run, deferq: Deferq) -> None:
    for n in range(3):
        deferq.call(jobs.add, n).defer(queue="mail")

    said = run("status")

    assert said.code == 1
    assert "3 tasks wait in queue mail and no worker serves it" in said.out


def test_what_a_lost_worker_held_is_a_warning_until_another_one_serves_the_queue(run: Run, deferq: Deferq) -> None:
    deferq.call(jobs.add, 1).defer(queue="mail")
    lease_one(deferq.engine)

    said = run("status")
    alive(deferq, queues=["mail"])

    assert said.code == 1
    assert "1 task was left behind in queue mail by a worker that is gone" in said.out
    assert run("status").code == 0


def test_a_worker_that_serves_the_queue_makes_it_fine(run: Run, deferq: Deferq) -> None:
    deferq.call(jobs.add, 1).defer(queue="mail")
    alive(deferq, queues=["mail"])

    said = run("status")

    assert said.code == 0
    assert "1 alive" in said.out


@pytest.mark.parametrize("record", [{"queues": ["index"]}, {"for_s": -1}])
def test_a_worker_of_other_queues_or_without_a_pulse_does_not(
    run: Run, deferq: Deferq, record: dict[str, object]
) -> None:
    deferq.call(jobs.add, 1).defer(queue="mail")
    alive(deferq, **record)  # type: ignore[arg-type]

    assert run("status").code == 1


def test_a_paused_queue_waits_on_purpose(run: Run, deferq: Deferq) -> None:
    deferq.call(jobs.add, 1).defer(queue="mail")
    deferq.engine.change_queues([("mail", Pause())])

    said = run("status")

    assert said.code == 0
    assert "paused" in said.out


def test_json_has_counts_workers_and_warnings(run: Run, deferq: Deferq) -> None:
    deferq.call(jobs.add, 1).defer(queue="mail")
    deferq.call(jobs.add, 1).defer(queue="mail", countdown=60)
    alive(deferq, running=2, queues=["index"])

    document = json.loads(run("status", "--json").out)

    (queue,) = document["queues"]
    assert (queue["queue"], queue["ready"], queue["scheduled"], queue["paused"]) == ("mail", 1, 1, False)
    assert queue["oldest_ready"].endswith("Z")
    assert queue["oldest_ready_age_s"] >= 0
    (worker,) = document["workers"]
    assert (worker["key"], worker["alive"], worker["running"]) == ("00000001", True, 2)
    assert len(document["warnings"]) == 1


def test_a_record_that_is_no_json_does_not_break_the_page(run: Run, deferq: Deferq) -> None:
    deferq.engine.change_records([RecordChange("worker", "00000002", 0, deferq.engine.now() + 10**9, "nonsense")])

    assert run("status").code == 0


def test_counts_that_stopped_at_their_cap_say_so(run: Run, deferq: Deferq) -> None:
    deferq.defer_many(deferq.call(jobs.add, n) for n in range(10_050))

    assert "10,000+ tasks wait in queue default" in run("status").out


def test_a_store_that_is_not_there_is_not_made(run: Run, folder: Path) -> None:
    said = run("status", url=f"sqlite:///{folder}/misspelt.db")

    assert said.code == 2
    assert "There is no store" in said.err
    assert not (folder / "misspelt.db").exists()


def test_a_file_that_is_no_store_is_refused(run: Run, folder: Path) -> None:
    (folder / "jobs.db").write_text("not a database, but long enough to be taken for one " * 40)

    said = run("status")

    assert said.code == 2
    assert "Traceback" not in said.err


def test_the_store_is_the_one_that_the_application_configures(run: Run, folder: Path) -> None:
    with Deferq(f"sqlite:///{folder}/own.db") as own:
        own.defer(jobs.add, 1)
    (folder / "shop_with_store.py").write_text("from deferq import Deferq\nq = Deferq('sqlite:///own.db')\n")
    (folder / "pyproject.toml").write_text("[tool.deferq]\napp = 'shop_with_store:q'\n")

    said = run("status", "--json", url=None)

    assert json.loads(said.out)["store"].endswith("/own.db")


def test_watching_prints_again_until_ctrl_c(run: Run, deferq: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    deferq.defer(jobs.add, 1)
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("deferq.cli.status.time.sleep", pause)

    said = run("status", "--json", "--watch", "3")

    assert said.code == 130
    assert pauses == [3.0, 3.0]
    assert [json.loads(line)["queues"][0]["ready"] for line in said.out.splitlines()] == [1, 1]
