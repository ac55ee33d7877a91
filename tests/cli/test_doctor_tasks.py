"""What `deferq doctor` finds in the tasks, the queues and the workers of a store."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq, Queue
from deferq.cli.checkup import inside, tasks
from deferq.cli.warning import LATE_S
from deferq.engines.base import RecordChange, Want, new_lease_id
from deferq.engines.sqlite import readers
from tests.cli import jobs
from tests.cli.conftest import Doctor, Run, edited, with_worker, work_off
from tests.cli.processes import PATIENCE_S

HOUR_US = 3_600_000_000


def lease_one(deferq: Deferq, lease_s: float = 30.0) -> None:
    """As a worker does that then dies."""
    deferq.engine.turn([], Want(free=1, ahead=0, lease_id=new_lease_id(7, 1), lease_us=int(lease_s * 1_000_000)))


def aged(deferq: Deferq, file: Path, seconds: float) -> None:
    """All pending tasks have been ready for so long."""
    due = deferq.engine.now() - int(seconds * 1_000_000)
    with edited(file) as connection:
        connection.execute("update deferq_task set eta = ?, leasable_at = ? where state = 0", (due, due))


def has_run(deferq: Deferq, file: Path, target: str) -> None:
    """An attempt has ended a moment ago."""
    with edited(file) as connection:
        total = "insert into deferq_total values (?, 0, 'default', ?, 1, 0, 1, 1)"
        connection.execute(total, (deferq.engine.now() - 1_000_000, target))


# ---- queues


def test_a_queue_that_nobody_serves(doctor: Doctor, deferq: Deferq) -> None:
    deferq.call(jobs.add, 1).defer(queue="mail")
    with_worker(deferq, queues=["index"])

    found = doctor()["unserved-queue"]

    assert (found["level"], found["queue"]) == ("wrong", "mail")
    assert "no worker serves queue mail" in found["text"]


def test_a_route_that_nobody_serves(doctor: Doctor, deferq: Deferq) -> None:
    deferq.call(jobs.add, 1).defer(route="gpu")
    with_worker(deferq, route="cpu")

    assert "no worker serves that route" in doctor()["unserved-route"]["text"]


def test_tasks_without_a_route_where_only_routes_are_pushed(doctor: Doctor, deferq: Deferq) -> None:
    deferq.defer(jobs.add, 1)
    with_worker(deferq, delivers=True, base="http://eu.example", routes=["eu"])

    assert "1 task of queue default without a route waits" in doctor()["unserved-route"]["text"]


def test_a_base_in_trouble_is_a_note(doctor: Doctor, deferq: Deferq) -> None:
    with_worker(deferq, delivers=True, base="http://eu.example", in_trouble=True)

    assert doctor()["base-in-trouble"]["level"] == "note"


def test_a_paused_queue_is_a_note_with_the_command_that_ends_it(doctor: Doctor, run: Run, deferq: Deferq) -> None:
    deferq.call(jobs.add, 1).defer(queue="mail")
    with_worker(deferq)
    run("queues", "pause", "mail")

    found = doctor()["paused-queue"]

    assert (found["level"], found["do"]) == ("note", "deferq queues resume mail")


def test_a_queue_whose_places_are_all_taken(doctor: Doctor, url: str, file: Path) -> None:
    with Deferq(url, queues={"mail": Queue(max_concurrent=1)}) as deferq:
        for number in (1, 2):
            deferq.call(jobs.add, number).defer(queue="mail")
        lease_one(deferq)
        with_worker(deferq)
        aged(deferq, file, LATE_S + 60)

        found = doctor()

    assert "All 1 places of queue mail (max_concurrent) are taken" in found["full-queue"]["text"]
    assert found["late"]["level"] == "wrong"


def test_a_lease_that_ended_long_ago(doctor: Doctor, deferq: Deferq, file: Path) -> None:
    deferq.defer(jobs.add, 1)
    lease_one(deferq)
    with_worker(deferq)
    with edited(file) as connection:
        connection.execute("update deferq_task set leasable_at = leasable_at - ? where state = 1", (HOUR_US,))

    found = doctor()["stalled"]

    assert "1 task of queue default is stalled: its lease ended 60 min ago" in found["text"]
    assert "restart them" in found["do"]


# ---- targets and keys


def test_what_the_application_does_not_have_comes_with_a_near_name(doctor: Doctor, deferq: Deferq, url: str) -> None:
    """Signed by the application of yesterday, in which the function had another name."""
    from deferq.codec.targets import Located
    from deferq.model.task import NewTask

    engine, now = deferq.engine, deferq.engine.now()
    task_id, target = deferq.ids.next(), "tests.cli.jobs:addd"
    payload = deferq.codec.encode(task_id, Located(target), (1,), {})
    engine.put([NewTask(task_id, "default", target, 0, now, None, False, None, "raise", None, None, None, payload)])
    with_worker(deferq)

    found = doctor("tests.cli.jobs")["unknown-target"]

    assert found["text"] == "1 waiting task calls tests.cli.jobs:addd, which this application does not have."
    assert "Did you mean 'tests.cli.jobs:add'?" in found["do"]
    assert "unknown-target" not in doctor()  # without the application nothing is looked for


def test_parked_tasks_are_told_by_target_with_a_near_one_that_runs(doctor: Doctor, deferq: Deferq, file: Path) -> None:
    for number in range(3):
        deferq.defer(jobs.add, number)
    has_run(deferq, file, "tests.cli.jobs:add")
    with edited(file) as connection:
        connection.execute("update deferq_task set target = 'tests.cli.jobs:addd', parks = 1 where state = 0")
    with_worker(deferq)

    found = doctor()["parked"]

    assert found["text"].startswith("3 tasks that call tests.cli.jobs:addd are parked: no worker that tried knows")
    assert "Did you mean 'tests.cli.jobs:add'?" in found["do"]


def test_tasks_that_were_parked_for_their_key(doctor: Doctor, url: str) -> None:
    with Deferq(url, secrets=["the secret of yesterday"]) as before:
        before.defer(jobs.add, 1)
    with Deferq(url, secrets=["the secret of tomorrow"]) as after:
        work_off(after)

    assert "no worker has the key" in doctor()["parked"]["text"]


def test_a_key_that_the_configuration_lacks(doctor: Doctor, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Deferq(url, secrets=["the secret of yesterday"]) as before:
        before.defer(jobs.add, 1)
        before.defer(jobs.add, "x" * 3000)
        before.defer(jobs.add, 2)
        (key,) = before.codec.keyring.key_ids
    monkeypatch.setenv("DEFERQ_SECRETS", "the secret of tomorrow")

    found = doctor()["unknown-key"]

    assert (found["level"], found["text"].startswith(f"3 waiting tasks are signed with key {key}")) == ("wrong", True)
    monkeypatch.setenv("DEFERQ_SECRETS", "the secret of tomorrow,the secret of yesterday")
    assert "unknown-key" not in doctor()


def test_without_the_application_a_strange_key_is_a_note(doctor: Doctor, url: str) -> None:
    with Deferq(url, secrets=["the secret of yesterday"]) as before:
        before.defer(jobs.add, 1)

    found = doctor()

    assert (found["unknown-key"]["level"], "deferq doctor APP" in found["unknown-key"]["do"]) == ("note", True)


def test_a_payload_that_is_no_envelope(doctor: Doctor, deferq: Deferq, file: Path) -> None:
    handle = deferq.defer(jobs.add, 1)
    with edited(file) as connection:
        connection.execute("update deferq_task set payload = x'00'")

    found = doctor()["payload"]

    assert "1 waiting task has a payload that is no envelope" in found["text"]
    assert str(handle.id) in found["text"]


def test_payloads_of_a_newer_release(doctor: Doctor, deferq: Deferq, file: Path) -> None:
    deferq.defer(jobs.add, 1)
    with edited(file) as connection:
        connection.execute("update deferq_task set payload = cast(x'445102' || substr(payload, 4) as blob)")

    assert "1 waiting task was written by a newer deferq" in doctor()["payload"]["text"]


# ---- deliveries, deaths, suspects


def test_tasks_with_an_url_of_their_own_that_nobody_delivers(doctor: Doctor, deferq: Deferq, file: Path) -> None:
    deferq.defer(jobs.add, 1)
    with edited(file) as connection:
        connection.execute("update deferq_task set url = '/jobs'")
    with_worker(deferq)

    assert "undelivered" not in doctor()  # a moment ago
    aged(deferq, file, tasks.UNDELIVERED_S + 60)
    found = doctor()["undelivered"]

    assert found["text"].startswith("1 task of queue default with an own url waits to be delivered, the first for")
    assert (found["level"], "deferq worker APP" in found["do"]) == ("wrong", True)


@pytest.mark.parametrize(("said", "level"), [({"delivers": True}, "note"), ({"delivers": False}, "wrong")])
def test_it_is_a_note_where_a_worker_that_delivers_is_behind(
    doctor: Doctor, deferq: Deferq, file: Path, said: dict[str, object], level: str
) -> None:
    deferq.defer(jobs.add, 1)
    with edited(file) as connection:
        connection.execute("update deferq_task set url = '/jobs'")
    aged(deferq, file, tasks.UNDELIVERED_S + 60)
    with_worker(deferq, **said)

    assert doctor()["undelivered"]["level"] == level


def test_a_worker_that_delivers_other_queues_does_not_help(doctor: Doctor, deferq: Deferq, file: Path) -> None:
    deferq.defer(jobs.add, 1)
    with edited(file) as connection:
        connection.execute("update deferq_task set url = '/jobs'")
    aged(deferq, file, tasks.UNDELIVERED_S + 60)
    with_worker(deferq, delivers=True, queues=["mail"])

    assert doctor()["undelivered"]["level"] == "wrong"


def test_who_delivers_other_routes_does_not_help(doctor: Doctor, deferq: Deferq, file: Path) -> None:
    deferq.call(jobs.add, 1).defer(route="us")
    with edited(file) as connection:
        connection.execute("update deferq_task set url = '/jobs'")
    aged(deferq, file, tasks.UNDELIVERED_S + 60)
    with_worker(deferq, delivers=True, base="http://eu.example", routes=["eu"])

    found = doctor()["undelivered"]
    assert (found["level"], "with an own url and route us" in found["text"]) == ("wrong", True)


def test_dead_tasks_that_pile_up_are_a_note_by_target_and_reason(doctor: Doctor, deferq: Deferq, file: Path) -> None:
    for _ in range(tasks.DEAD_MIN):
        deferq.defer(jobs.fail)
    with edited(file) as connection:
        died = "update deferq_task set state = 3, reason = 'permanent', finished_at = ?"
        connection.execute(died, (deferq.engine.now(),))

    assert "10 tasks died in the last day: tests.cli.jobs:fail (10 permanent)." in doctor()["dead"]["text"]


def test_tasks_in_quarantine_are_a_note(doctor: Doctor, deferq: Deferq, file: Path) -> None:
    handle = deferq.defer(jobs.add, 1)
    with_worker(deferq)
    with edited(file) as connection:
        connection.execute("update deferq_task set crashes = 2")

    found = doctor()["quarantine"]

    assert found["level"] == "note"
    assert f"deferq tasks show {handle.id}" in found["do"]


# ---- clocks, workers, the log


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("update deferq_task set id = id + (? << 12)", "1 task deferred up to 2 h from now"),
        ("update deferq_total set at = at + ?", "attempts ended up to 2 h from now"),
        ("update deferq_task set leasable_at = leasable_at + ? where state = 1", "1 task leased for more than an hour"),
    ],
)
def test_times_that_have_not_come_yet(doctor: Doctor, deferq: Deferq, file: Path, statement: str, says: str) -> None:
    deferq.defer(jobs.add, 1)
    has_run(deferq, file, "tests.cli.jobs:add")
    lease_one(deferq)
    with edited(file) as connection:
        connection.execute(statement, (2 * HOUR_US,))

    found = doctor()["clock"]

    assert found["level"] == "wrong"
    assert says in found["text"]


def test_a_worker_that_starts_in_the_future(doctor: Doctor, deferq: Deferq) -> None:
    deferq.engine.open()  # type: ignore[attr-defined]
    with_worker(deferq, started=deferq.engine.now() + HOUR_US)

    assert "worker 0000abcd started 60 min from now" in doctor()["clock"]["text"]


def test_tasks_that_are_due_in_many_years_are_a_note(doctor: Doctor, deferq: Deferq) -> None:
    deferq.call(jobs.add, 1).defer(countdown=3600 * 24 * 900)
    with_worker(deferq)

    found = doctor()

    assert found["far-eta"]["text"] == "1 task due in more than a year, the last in 900 d."
    assert "clock" not in found


def test_a_worker_of_another_release(doctor: Doctor, deferq: Deferq) -> None:
    deferq.engine.open()  # type: ignore[attr-defined]
    with_worker(deferq, version="9.9")

    assert "Worker 0000abcd runs deferq 9.9" in doctor()["release"]["text"]


def test_a_worker_says_which_release_it_runs(deferq: Deferq) -> None:
    said: list[dict[str, Any]] = []
    worker = deferq.worker(until_idle=True)
    said.append(worker._description())

    assert said[0]["version"]


def test_a_worker_whose_process_is_gone_from_this_machine(doctor: Doctor, deferq: Deferq) -> None:
    deferq.engine.open()  # type: ignore[attr-defined]
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with_worker(deferq, host=socket.gethostname(), pid=ended.pid)

    assert f"(pid {ended.pid})" in doctor()["vanished-worker"]["text"]


READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("begin")
print(connection.execute("select count(*) from deferq_task").fetchone(), flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(not readers.LOCKS.exists(), reason="only Linux tells who holds a lock")
def test_the_process_that_keeps_the_log_from_being_started_over_is_named(
    doctor: Doctor, deferq: Deferq, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deferq.defer(jobs.add, 1)
    monkeypatch.setattr(inside, "LOG_BYTES_MAX", 1)
    command = [sys.executable, "-c", READER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        named = doctor()["log"]["text"]
        reader.communicate("\n", timeout=PATIENCE_S)

    assert f"(pid {reader.pid})" in named
    assert f"(pid {reader.pid})" not in doctor()["log"]["text"]


def test_a_journal_that_somebody_has_changed_is_a_note(doctor: Doctor, deferq: Deferq, file: Path) -> None:
    deferq.defer(jobs.add, 1)
    deferq.close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("pragma journal_mode = delete")

    assert "journal mode delete" in doctor()["journal"]["text"]


def test_a_record_that_makes_no_sense_breaks_nothing(doctor: Doctor, deferq: Deferq) -> None:
    deferq.engine.open()  # type: ignore[attr-defined]
    deferq.engine.change_records(
        [
            RecordChange("worker", "a", 0, 1, "[1, 2"),
            RecordChange("worker", "b", 0, None, json.dumps({"pid": "x", "started": "soon", "version": 7})),
        ]
    )

    assert "check-failed" not in doctor()
