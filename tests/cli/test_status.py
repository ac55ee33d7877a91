"""`deferq status` as a page and as a probe."""

from __future__ import annotations

import json
import signal
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deferq import Deferq
from deferq.engines.base import RecordChange
from deferq.model.settings import Pause, SetLimits
from tests.cli import jobs
from tests.cli.conftest import Run, work_off
from tests.cli.processes import Running
from tests.cli.terminals import Terminal
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
    assert "no worker is running, 3 tasks wait" in said.out


def test_what_a_lost_worker_held_is_a_warning_until_another_one_serves_the_queue(run: Run, deferq: Deferq) -> None:
    deferq.call(jobs.add, 1).defer(queue="mail")
    lease_one(deferq.engine)

    said = run("status")
    alive(deferq, queues=["mail"])

    assert said.code == 1
    assert "1 task was left behind by a worker that is gone" in said.out
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
    alive(deferq)

    said = run("status")

    assert said.code == 0
    assert "note     queue mail is paused and 1 task waits" in said.out


def test_tasks_with_a_route_that_nobody_serves_are_found(run: Run, deferq: Deferq) -> None:
    deferq.call(jobs.add, 1).defer(route="gpu")
    deferq.call(jobs.add, 1).defer(route="gpu", countdown=60)
    deferq.call(jobs.add, 2).defer(route="cpu")
    alive(deferq, route="cpu")

    said = run("status", "--json")

    assert said.code == 1
    (warned,) = json.loads(said.out)["warnings"]
    assert (warned["code"], warned["serious"], warned["queue"]) == ("unserved-route", True, "default")
    assert warned["text"].startswith("1 task of queue default with route gpu waits")


def test_parked_tasks_are_named_by_what_they_call(
    run: Run, deferq: Deferq, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "soon_gone.py").write_text("def send(): ...\n")
    assert run("defer", "soon_gone:send").code == 0
    monkeypatch.delitem(sys.modules, "soon_gone")
    (folder / "soon_gone.py").unlink()
    work_off(deferq)
    alive(deferq)

    said = run("status")

    assert said.code == 1
    assert "1 task is parked in queue default: no worker can run soon_gone:send" in said.out


def test_the_rates_of_what_was_run(run: Run, deferq: Deferq) -> None:
    for n in range(3):
        deferq.defer(jobs.add, n)
    deferq.call(jobs.fail).defer(queue="mail")
    work_off(deferq)

    document = json.loads(run("status", "--json").out)

    assert [document["rates"][name]["attempts"] for name in ("1m", "5m")] == [4, 4]
    assert 60 <= document["rates"]["1m"]["span_s"] <= 120
    rates = {queue["queue"]: queue["rates"]["1m"] for queue in document["queues"]}
    assert (rates["default"]["attempts"], rates["default"]["failures"]) == (3, 0)
    assert (rates["mail"]["attempts"], rates["mail"]["failures"]) == (1, 1)
    assert rates["default"]["mean_s"] <= rates["default"]["max_s"]


def test_here_asks_for_a_worker_of_this_machine_alone(run: Run, deferq: Deferq) -> None:
    deferq.defer(jobs.add, 1)
    alive(deferq, host="elsewhere")
    assert run("status", "--here").code == 1

    alive(deferq, "00000002", host=socket.gethostname(), queues=["mail"])
    assert run("status", "--here").code == 0


def test_the_children_of_a_worker_are_in_the_document(run: Run, deferq: Deferq) -> None:
    child = {"pid": 40, "state": "running", "running": 1, "tasks": 9, "rss": 1024}
    alive(deferq, children=[child, "nonsense"])

    (worker,) = json.loads(run("status", "--json").out)["workers"]

    assert worker["children"] == [child]
    assert worker["silent_s"] < 30


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
    assert [(one["code"], one["queue"]) for one in document["warnings"]] == [("unserved-queue", "mail")]


def test_a_record_that_is_no_json_does_not_break_the_page(run: Run, deferq: Deferq) -> None:
    deferq.engine.change_records([RecordChange("worker", "00000002", 0, deferq.engine.now() + 10**9, "nonsense")])

    assert run("status").code == 0


@pytest.mark.parametrize("field", ["host", "pid", "queues", "route", "threads", "running", "started", "children"])
@pytest.mark.parametrize("value", [None, 5, "five", [5], {"five": 5}])
def test_a_worker_of_a_release_that_says_other_things_does_not_break_the_page(
    run: Run, deferq: Deferq, field: str, value: object
) -> None:
    alive(deferq, **{field: value})

    assert run("status").code == 0
    assert run("status", "--json").code == 0


def test_counts_that_stopped_at_their_cap_say_so(run: Run, deferq: Deferq) -> None:
    deferq.defer_many(deferq.call(jobs.add, n) for n in range(10_050))

    assert "10,000+ tasks wait" in run("status").out


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

    assert said.code == 0
    assert pauses == [3.0, 3.0]
    assert [json.loads(line)["queues"][0]["ready"] for line in said.out.splitlines()] == [1, 1]


def test_without_a_terminal_watching_prints_one_line_each_time(folder: Path, url: str, deferq: Deferq) -> None:
    deferq.call(jobs.add, 1).defer(queue="mail")

    with Running(folder, "status", "--watch", "0.05", "--url", url) as watching:
        line = watching.wait_for("ready 1, leased 0, ", times=2)
        assert line.endswith("; no-worker")
        watching.send(signal.SIGINT)
        assert watching.exit_code() == 0
        watching.wait_for_silence()
    assert "Traceback" not in watching.output


def test_watching_outlives_an_outage_of_the_store(folder: Path, url: str, deferq: Deferq) -> None:
    deferq.defer(jobs.add, 1)
    deferq.close()
    store, away = folder / "jobs.db", folder / "away.db"

    with Running(folder, "status", "--watch", "0.05", "--url", url) as watching:
        watching.wait_for("ready 1")
        store.rename(away)
        watching.wait_for("the store is out of reach")
        away.rename(store)
        before = len(watching.lines)
        watching.wait_for("ready 1", times=before + 1)
        watching.send(signal.SIGINT)
        assert watching.exit_code() == 0


@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_terminal_is_redrawn_in_place_and_left_as_it_was(
    folder: Path, url: str, deferq: Deferq, rich: bool, number: signal.Signals
) -> None:
    if rich:
        pytest.importorskip("rich")
    else:
        (folder / "rich.py").write_text("raise ImportError\n")
    deferq.defer(jobs.add, 1)

    with Terminal(folder, "status", "--watch", "0.05", "--url", url) as terminal:
        terminal.wait_for("1 task waits", times=3)
        terminal.send(number)
        assert terminal.exit_code() == 0

    shown, _, left = terminal.output.rpartition("\033[?1049l")
    assert "\033[?1049h" in shown
    assert terminal.output.rindex("\033[?25h") > terminal.output.rindex("\033[?25l")
    assert "1 task waits" in left
    assert "Traceback" not in terminal.output


def test_watching_ends_with_its_terminal(folder: Path, url: str, deferq: Deferq) -> None:
    deferq.defer(jobs.add, 1)

    with Terminal(folder, "status", "--watch", "0.05", "--url", url) as terminal:
        terminal.wait_for("1 task waits")
        terminal.hang_up()
        terminal.exit_code()


def test_a_queue_with_a_slow_rate_may_have_tasks_that_wait_for_long(run: Run, deferq: Deferq) -> None:
    deferq.call(jobs.add, 1).defer(queue="mail", eta=datetime.now(UTC) - timedelta(minutes=12))
    deferq.engine.change_queues([("mail", SetLimits({"rate": "1/d"}))])
    alive(deferq)

    said = run("status")

    assert said.code == 0
    assert "its rate is 1/d" in said.out
