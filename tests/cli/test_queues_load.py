"""`deferq queues load`, and how queues that a queue.yaml declares are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq, Queue, RetryPolicy
from deferq.engines.declaring import declare
from deferq.model.settings import QueueSettings
from tests.cli import jobs
from tests.cli.conftest import Run, Said
from tests.support import lease

FILE = """\
queue:
- name: default
  rate: 9/s
- name: mail
  rate: 10/m
  target: worker
  retry_parameters:
    task_retry_limit: 7
    task_age_limit: 2d
- name: stopped
  rate: 0
"""


@pytest.fixture(autouse=True)
def file(folder: Path) -> Path:
    path = folder / "queue.yaml"
    path.write_text(FILE)
    return path


def load(run: Run, *words: object, code: int = 0) -> dict[str, Any]:
    said = run("queues", "load", "queue.yaml", "--json", *words)
    assert said.code == code
    document: dict[str, Any] = json.loads(said.out)
    return document


def changes(run: Run, *words: object) -> dict[str, str]:
    return {queue["queue"]: queue["change"] for queue in load(run, *words)["queues"]}


def settings(deferq: Deferq, name: str = "mail") -> QueueSettings:
    return next(queue for queue in deferq.engine.queues() if queue.name == name)


# ---- load


def test_it_says_what_is_new_and_what_changes(run: Run, deferq: Deferq, file: Path) -> None:
    declare(deferq.engine, {"default": Queue(rate="5/s", max_concurrent=3)})
    said = run("queues", "load", "queue.yaml")
    assert said == Said(
        0,
        "default: rate 5/s -> 9/s, bucket_size (none) -> 5, max_concurrent 3 -> 1000, source (none) -> queue.yaml\n"
        "mail: new, rate 10/m, bucket_size 5, max_concurrent 1000, retry 8 attempts and 172,800 s, 0.1 to 3600 s apart,"
        " 16 doublings, route worker\n"
        "stopped: new, max_concurrent 1000, paused yes\n"
        f"\n3 queues changed, 0 as before, in sqlite:///{file.parent}/jobs.db\n",
        "",
    )
    assert settings(deferq).limits.rate == "10/m"
    assert settings(deferq, "stopped").paused
    assert run("queues", "load", "queue.yaml").out.startswith(
        "default: as before\nmail: as before\nstopped: as before\n"
    )


def test_check_says_the_same_and_writes_nothing(run: Run, folder: Path) -> None:
    said = run("queues", "load", "queue.yaml", "--check")
    assert said.code == 0
    assert "3 queues would be changed" in said.out
    assert [path.name for path in folder.iterdir() if path.name.startswith("jobs")] == []
    assert load(run, "--check")["written"] is False
    run("queues", "load", "queue.yaml")
    assert changes(run, "--check") == {"default": "same", "mail": "same", "stopped": "same"}


def test_programs_are_told_before_and_after(run: Run, deferq: Deferq, file: Path) -> None:
    load(run)
    file.write_text(FILE.replace("10/m", "20/m"))
    document = load(run)
    assert (document["ok"], document["written"], document["warnings"]) == (True, True, [])
    mail = document["queues"][1]
    assert (mail["queue"], mail["change"]) == ("mail", "changed")
    assert (mail["before"]["rate"], mail["after"]["rate"]) == ("10/m", "20/m")
    assert mail["after"]["retry"]["max_attempts"] == 8


def test_what_an_operator_has_set_holds_and_is_said(run: Run, deferq: Deferq) -> None:
    declare(deferq.engine, {"mail": Queue(rate="5/s")})
    run("queues", "set", "mail", "--rate", "1/h")
    run("queues", "pause", "mail")
    said = run("queues", "load", "queue.yaml").out
    assert "mail: rate 5/s -> 10/m" in said
    assert "(an operator's word holds: rate 1/h, paused)" in said
    assert (settings(deferq).limits.rate, settings(deferq).paused) == ("1/h", True)


def test_a_queue_that_the_file_names_no_more_is_disabled_and_its_tasks_wait(
    run: Run, deferq: Deferq, file: Path
) -> None:
    load(run)
    deferq.call(jobs.add, 1).defer(queue="mail")
    declare(deferq.engine, {"own": Queue(rate="1/s")})
    file.write_text("queue:\n- name: default\n  rate: 9/s\n")
    assert (
        "mail: disabled, since the file names it no more; its tasks stay, and wait"
        in run("queues", "load", "queue.yaml").out
    )
    assert lease(deferq.engine) == []
    assert settings(deferq).limits.rate == "10/m"
    assert not settings(deferq, "own").paused, "code declares it, and no file has named it"
    assert changes(run) == {"default": "same", "mail": "disabled", "stopped": "disabled"}
    file.write_text(FILE)
    assert changes(run) == {"default": "same", "mail": "changed", "stopped": "same"}
    assert len(lease(deferq.engine)) == 1


@pytest.mark.parametrize(("line", "paused"), [("resume_paused_queues: True\n", False), ("", True)])
def test_queues_that_an_operator_has_paused_go_on_only_if_the_file_says_so(
    run: Run, deferq: Deferq, file: Path, line: str, paused: bool
) -> None:
    load(run)
    run("queues", "pause", "mail")
    file.write_text(line + FILE)
    assert changes(run)["mail"] == ("same" if paused else "resumed")
    assert settings(deferq).paused is paused
    assert settings(deferq, "stopped").paused


def test_what_the_application_declares_in_code_wins(run: Run, deferq: Deferq, folder: Path) -> None:
    program = f"deferq.configure({deferq.settings['url']!r}, queues={{'mail': deferq.Queue(rate='3/s')}})"
    (folder / "code_wins.py").write_text(f"import deferq\n{program}\n")
    said = run("queues", "load", "queue.yaml", "--app", "code_wins", url=None)
    assert said.code == 0
    assert "mail: new, rate 3/s\n" in said.out
    assert settings(deferq).declared == Queue(rate="3/s")


def test_mistakes_are_told_with_their_places_and_nothing_is_written(run: Run, folder: Path, file: Path) -> None:
    file.write_text(FILE.replace("10/m", "10").replace("target", "traget"))
    said = run("queues", "load", "queue.yaml")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[0].startswith("deferq: queue.yaml:5:9: rate: expected")
    assert said.err.splitlines()[1] == "queue.yaml:6:3: There is no 'traget' in a queue. Did you mean 'target'?"
    document = load(run, code=2)
    assert [(one["line"], one["column"]) for one in document["errors"]] == [(5, 9), (6, 3)]
    assert [path.name for path in folder.iterdir() if path.name.startswith("jobs")] == []


def test_what_is_odd_is_said_once(run: Run, file: Path) -> None:
    file.write_text("queue:\n- name: mail\n")
    said = run("queues", "load", "queue.yaml")
    assert said.err == "queue.yaml:2:9: rate: queue mail has none, and gets 5/s. Give it one.\n"
    assert load(run)["warnings"] == [
        {"line": 2, "column": 9, "text": "rate: queue mail has none, and gets 5/s. Give it one."}
    ]


def test_a_file_that_is_not_there_is_an_error(run: Run) -> None:
    said = run("queues", "load", "quue.yaml")
    assert said.code == 2
    assert "'quue.yaml' cannot be read: No such file or directory" in said.err


# ---- ls, config show


def test_ls_shows_what_is_declared_for_the_tasks_of_a_queue(run: Run, deferq: Deferq) -> None:
    policy = RetryPolicy(max_attempts=None, max_age_s=90, jitter=False)
    declare(deferq.engine, {"mail": Queue(retry=policy, route="worker"), "leased": Queue(pull=True)})
    said = run("queues", "ls").out
    assert said.splitlines()[0].split()[-3:] == ["RETRY", "ROUTE", "MODE"]
    assert [line.split()[6:] for line in said.splitlines()[1:]] == [["pull"], ["90", "s", "worker"]]
    (_, mail) = json.loads(run("queues", "ls", "--json").out)["queues"]
    assert (mail["retry"]["max_age_s"], mail["retry"]["jitter"], mail["route"], mail["pull"]) == (
        90,
        False,
        "worker",
        False,
    )


def test_config_show_names_the_file_and_what_it_declares(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "shop_with_file.py").write_text("import deferq\ndeferq.configure(queues={'own': deferq.Queue()})\n")
    monkeypatch.setenv("DEFERQ_QUEUE_YAML", "queue.yaml")
    said = run("config", "show", "--app", "shop_with_file").out
    assert f"queues   {folder}/queue.yaml" in said
    assert "queue_yaml" in said
    assert "environment DEFERQ_QUEUE_YAML" in said
    assert "queue own (declared in code): no limits" in said
    assert (
        "queue mail (declared in queue.yaml): rate 10/m, bucket_size 5, max_concurrent 1000, route worker,"
        " retry 8 attempts and 172,800 s" in said
    )
    assert "queue stopped (declared in queue.yaml): max_concurrent 1000, paused" in said
    document = json.loads(run("config", "show", "--app", "shop_with_file", "--json").out)
    assert (document["queue_file"], document["queues"]["mail"]["route"]) == (f"{folder}/queue.yaml", "worker")


def test_config_show_goes_on_without_a_file_that_has_mistakes(
    run: Run, folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("queue: 5\n")
    monkeypatch.setenv("DEFERQ_QUEUE_YAML", str(file))
    (folder / "shop_with_mistakes.py").write_text("import deferq\n")
    said = run("config", "show", "--app", "shop_with_mistakes")
    assert said.code == 0
    assert f"without the queues: {file}:1:8: Expected a list" in said.err
    assert "tombstone_s" in said.out
    assert run("report", "shop_with_mistakes").code == 0


def test_other_commands_do_not_read_it(run: Run, deferq: Deferq, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deferq.call(jobs.add, 1).defer(queue="mail")
    file.write_text("queue: 5\n")
    monkeypatch.setenv("DEFERQ_QUEUE_YAML", str(file))
    for words in (("tasks", "ls"), ("queues", "ls"), ("queues", "pause", "mail"), ("queues", "resume", "mail")):
        assert run(*words).code == 0
