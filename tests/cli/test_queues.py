"""`deferq queues ...`: looking at queues, and changing what holds for them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq, Queue
from deferq import default as default_module
from deferq.engines.base import Bell
from deferq.engines.declaring import declare
from deferq.model.limits import Limits
from deferq.model.settings import QueueSettings
from tests.cli import jobs
from tests.cli.conftest import Run
from tests.support import lease

READY = 3


@pytest.fixture
def mail(deferq: Deferq) -> Deferq:
    """A store with a declared queue in which tasks wait, and another one."""
    declare(deferq.engine, {"mail": Queue(rate="5/s", max_concurrent=4)})
    for number in range(READY):
        deferq.call(jobs.add, number).defer(queue="mail")
    deferq.call(jobs.add, 1).defer(queue="index")
    return deferq


def settings(deferq: Deferq, name: str = "mail") -> QueueSettings:
    return next(queue for queue in deferq.engine.queues() if queue.name == name)


def listed(run: Run, name: str = "mail") -> dict[str, Any]:
    said = run("queues", "ls", "--json")
    assert said.code == 0
    return next(queue for queue in json.loads(said.out)["queues"] if queue["queue"] == name)


class Keyboard(io.StringIO):
    """Somebody at a terminal."""

    def isatty(self) -> bool:
        return True


# ---- ls


def test_ls_shows_what_waits_and_what_limits_it(run: Run, mail: Deferq) -> None:
    lease(mail.engine, 1, queues=["mail"])
    run("queues", "set", "mail", "--rate", "1/m")
    run("queues", "pause", "index")

    lines = run("queues", "ls").out.splitlines()

    assert lines[0].split() == [
        "QUEUE",
        "READY",
        "SCHEDULED",
        "RETRYING",
        "PARKED",
        "LEASED",
        "RATE",
        "MAX",
        "CONCURRENT",
    ]
    assert lines[1].split() == ["index", "1", "0", "0", "0", "0", "paused"]
    assert lines[2].split() == ["mail", "2", "0", "0", "0", "1", "1/m", "(set)", "4"]
    assert "queues reset" in lines[-1]


def test_ls_tells_programs_what_holds_and_who_says_so(run: Run, mail: Deferq) -> None:
    run("queues", "set", "mail", "--rate", "1/m", "--max-concurrent", "none")

    assert listed(run) == {
        "queue": "mail",
        "paused": False,
        "ready": READY,
        "scheduled": 0,
        "retrying": 0,
        "parked": 0,
        "leased": 0,
        "rate": "1/m",
        "bucket_size": 5,
        "max_concurrent": None,
        "retry": None,
        "route": None,
        "pull": False,
        "declared": {"rate": "5/s", "max_concurrent": 4},
        "set": {"rate": "1/m", "max_concurrent": None},
    }
    assert listed(run, "index")["bucket_size"] is None


def test_ls_of_a_store_without_queues_is_no_error(run: Run, deferq: Deferq) -> None:
    deferq.engine.counts()
    assert run("queues", "ls") == (0, "", "No queue has been used yet.\n")
    assert json.loads(run("queues", "ls", "--json").out)["queues"] == []


# ---- pause, resume


def test_pause_and_resume_several_queues_at_once(run: Run, mail: Deferq) -> None:
    assert run("queues", "pause", "mail", "index").out == "mail: paused\nindex: paused\n"
    assert lease(mail.engine) == []
    assert run("queues", "resume", "mail").out == "mail: resumed\n"
    assert {task.queue for task in lease(mail.engine)} == {"mail"}


def test_status_says_which_queue_is_paused(run: Run, mail: Deferq) -> None:
    run("queues", "pause", "mail")
    assert "paused" in run("status").out


# ---- set, reset


def test_what_is_set_holds_until_it_is_reset(run: Run, mail: Deferq) -> None:
    said = run("queues", "set", "mail", "--rate", "10/h", "--bucket-size", 2)
    assert said == (0, "mail: rate 10/h (set), bucket_size 2 (set), max_concurrent 4 (declared)\n", "")
    assert settings(mail).limits == Limits(rate="10/h", bucket_size=2, max_concurrent=4)

    said = run("queues", "reset", "mail")
    assert said == (0, "mail: rate 5/s (declared), max_concurrent 4 (declared)\n", "")
    assert settings(mail).limits == Limits(rate="5/s", max_concurrent=4)


def test_none_takes_a_declared_limit_away(run: Run, mail: Deferq) -> None:
    said = run("queues", "set", "mail", "--rate", "none", "--max-concurrent", "none")
    assert said.out == "mail: rate none (set), max_concurrent none (set)\n"
    assert settings(mail).limits == Limits()
    assert "none (set)" in run("queues", "ls").out


def test_reset_of_a_queue_without_limits_says_so_and_leaves_it_paused(run: Run, mail: Deferq) -> None:
    run("queues", "pause", "index")
    assert run("queues", "reset", "index").out == "index: no limits\n"
    assert settings(mail, "index").paused


def test_set_wakes_workers_that_wait(run: Run, mail: Deferq) -> None:
    run("queues", "set", "mail", "--max-concurrent", 1)
    bell: Bell = mail.engine.bell(1)
    run("queues", "set", "mail", "--max-concurrent", 2)
    assert bell.wait(0)
    bell.close()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ((), "at least one of --rate"),
        (("--rate", "fast"), "rate: expected"),
        (("--rate", "0"), "pause the queue instead"),
        (("--max-concurrent", "0"), "pause the queue instead"),
        (("--max-concurrent", "many"), "neither a whole number nor none"),
        (("--bucket-size", "0"), "bucket_size: expected"),
        (("--bucket-size", "7", "--rate", "none"), "--bucket-size goes with a rate"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_and_nothing_changes(
    run: Run, mail: Deferq, words: tuple[str, ...], hint: str
) -> None:
    before = mail.engine.queues()
    said = run("queues", "set", "mail", *words)
    assert said.code == 2
    assert hint in said.err
    assert mail.engine.queues() == before


def test_a_bucket_size_by_itself_goes_with_the_declared_rate(run: Run, mail: Deferq) -> None:
    assert run("queues", "set", "mail", "--bucket-size", 9).code == 0
    assert settings(mail).limits.burst == 9


# ---- queues that are not there


@pytest.mark.parametrize(
    "words",
    [("pause", "mial"), ("resume", "mial"), ("reset", "mial"), ("set", "mial", "--rate", "1/s"), ("purge", "mial")],
)
def test_a_mistyped_name_makes_no_queue(run: Run, mail: Deferq, words: tuple[str, ...]) -> None:
    said = run("queues", *words)
    assert said.code == 2
    assert "Did you mean 'mail'?" in said.err
    assert [queue.name for queue in mail.engine.queues()] == ["index", "mail"]


def test_a_new_queue_can_be_set_up_before_its_first_task(run: Run, mail: Deferq) -> None:
    assert run("queues", "pause", "later", "--new").code == 0
    assert run("queues", "set", "later", "--new", "--max-concurrent", 1).code == 0
    assert (settings(mail, "later").paused, settings(mail, "later").limits) == (True, Limits(max_concurrent=1))


@pytest.mark.parametrize(
    ("words", "offered"),
    [(("pause", "later"), True), (("set", "later", "--rate", "1/s"), True), (("resume", "later"), False)],
)
def test_a_verb_that_can_make_a_queue_says_how(run: Run, mail: Deferq, words: tuple[str, ...], offered: bool) -> None:
    assert ("say --new" in run("queues", *words).err) is offered


def test_a_name_that_no_queue_can_have_is_refused(run: Run, mail: Deferq) -> None:
    said = run("queues", "pause", "no such", "--new")
    assert (said.code, "queue: a queue name has" in said.err) == (2, True)


def test_a_queue_that_the_application_declares_can_be_set_before_its_first_task(
    run: Run, folder: Path, mail: Deferq, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default_module, "_default", None)  # afterwards the default is again what it was
    (folder / "sms_shop.py").write_text(
        f"from deferq import Queue, configure\nconfigure({mail.engine.url!r}, queues={{'sms': Queue(rate='1/s')}})\n"
    )
    said = run("queues", "set", "sms", "--app", "sms_shop", "--max-concurrent", 3, url=None)
    assert said.code == 0, said.err
    assert settings(mail, "sms").chosen == {"max_concurrent": 3}


# ---- purge


def test_purge_deletes_what_waits_and_nothing_else(run: Run, mail: Deferq) -> None:
    (running,) = lease(mail.engine, 1, queues=["mail"])
    assert run("queues", "purge", "mail", "--yes").out == "mail: 2 pending tasks deleted\n"
    counts = {queue.queue: queue.ready for queue in mail.engine.counts().queues}
    assert counts == {"index": 1, "mail": 0}
    assert mail.task(running.id).task.lease_id == running.lease_id
    assert run("queues", "purge", "mail", "--yes").out == "mail: 0 pending tasks deleted\n"


def test_purge_in_many_batches_says_how_far_it_is(run: Run, mail: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deferq.cli.queues_purge._BATCH", 2)
    monkeypatch.setattr("deferq.cli.queues_purge._SAY_EVERY_S", 0.0)
    mail.call(jobs.add, 1).defer(queue="mail")
    said = run("queues", "purge", "mail", "--yes")
    assert said == (0, "mail: 4 pending tasks deleted\n", "2 deleted\n4 deleted\n")


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("y\n", 0, 0), ("Yes\n", 0, 0), ("n\n", 1, READY), ("", 1, READY)]
)
def test_purge_asks_at_a_terminal(
    run: Run, mail: Deferq, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Keyboard(answer))
    said = run("queues", "purge", "mail")
    assert said.code == code
    assert "Delete 3 pending tasks of queue mail? [y/N]" in said.err
    assert next(queue.ready for queue in mail.engine.counts().queues if queue.queue == "mail") == left


def test_purge_without_a_terminal_wants_to_be_told(run: Run, mail: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    said = run("queues", "purge", "mail")
    assert said.code == 2
    assert "--yes" in said.err
    assert mail.engine.counts().queues[1].ready == READY
