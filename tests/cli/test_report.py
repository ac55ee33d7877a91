"""`deferq report`: what is in it, and above all what is not."""

from __future__ import annotations

import getpass
import json
import socket
from pathlib import Path

import pytest

from deferq import Deferq
from deferq.cli.redacting import Redactor
from tests.cli import jobs
from tests.cli.conftest import Run, with_worker, work_off

#: Must not be found anywhere.
CANARIES = {
    "argument": "canary-argument-11",
    "keyword": "canary-keyword-12",
    "message": "canary-message-13",
    "secret": "canary-secret-0123456789",
    "name": "canary-name-14",
    "tag": "canary-tag-15",
    "header": "canary-header-16",
    "result": "canary-result-17",
    "host": "canary-host-18",
    "user": "canaryuser",
}


@pytest.fixture
def loaded(deferq: Deferq, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Deferq:
    """A store with a canary wherever one could sit, in the home of a user of that name."""
    monkeypatch.setattr(getpass, "getuser", lambda: CANARIES["user"])
    monkeypatch.setattr(socket, "gethostname", lambda: CANARIES["host"])
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("DEFERQ_SECRETS", CANARIES["secret"])
    monkeypatch.setenv("DEFERQ_APP", f"/home/{CANARIES['user']}/shop/app.py")
    with Deferq(deferq.settings["url"]) as signed:
        signed.call(jobs.fail, CANARIES["message"]).defer()
        signed.call(jobs.add, CANARIES["result"], "").defer()
        signed.call(jobs.add, CANARIES["argument"], b=CANARIES["keyword"]).defer(
            name=CANARIES["name"], tags=(CANARIES["tag"],), headers={"X-Shop": CANARIES["header"]}, countdown=60
        )
        work_off(signed)
        with_worker(signed, host=CANARIES["host"], pid=1)
    return deferq


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_no_canary_gets_into_a_report(run: Run, loaded: Deferq, folder: Path, words: tuple[str, ...]) -> None:
    said = run("report", *words)

    assert said.code == 0
    assert [name for name, canary in CANARIES.items() if canary in said.out + said.err] == []
    assert str(folder) not in said.out


def test_messages_are_in_it_only_if_asked_for(run: Run, loaded: Deferq) -> None:
    told = json.loads(run("report", "--json", "--errors").out)

    assert told["messages"] == [f"deferq.errors.PermanentTaskFailure: {CANARIES['message']}"]


def test_what_helps_is_in_it(run: Run, loaded: Deferq) -> None:
    told = json.loads(run("report", "--json").out)

    assert {"deferq", "python", "sqlite", "system"} <= set(told["versions"])
    assert told["settings"]["store"] == "sqlite:///~/jobs.db"
    assert told["settings"]["secrets"].startswith("(1 set), key ")
    assert "(environment DEFERQ_SECRETS)" in told["settings"]["secrets"]
    assert told["settings"]["app"] == "~/shop/app.py (environment DEFERQ_APP)"
    assert told["store"]["schema"] == told["store"]["newest_schema"]
    assert (told["tasks"]["dead"], told["tasks"]["succeeded"], told["tasks"]["scheduled"]) == (1, 1, 1)
    assert told["queues"]["default"]["paused"] is False
    assert told["workers"][0]["threads"] == 4
    assert told["last errors"][0].startswith("permanent: deferq.errors.PermanentTaskFailure, 1 times, last ")
    assert isinstance(told["doctor"], list)


def test_the_text_has_the_same_parts_as_the_json(run: Run, loaded: Deferq) -> None:
    text, told = run("report").out, json.loads(run("report", "--json").out)

    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(told)


def test_the_words_of_an_application_that_fails_are_left_out(run: Run, folder: Path) -> None:
    (folder / "shop_of_report.py").write_text("raise RuntimeError('canary-password-19')\n")

    said = run("report", "shop_of_report.py", "--json")

    assert said.code == 0
    assert "canary-password-19" not in said.out
    assert json.loads(said.out)["application"]["error"] == "it cannot be imported (RuntimeError)"


@pytest.mark.parametrize("content", [None, b"", b"no database, but a text\n" * 100])
def test_a_store_that_cannot_be_read_is_told(run: Run, folder: Path, content: bytes | None) -> None:
    if content is not None:
        (folder / "jobs.db").write_bytes(content)

    said = run("report", "--json")

    assert said.code == 0
    assert "error" in json.loads(said.out)["store"]


def test_nothing_is_made(run: Run, folder: Path) -> None:
    run("report", url=None)

    assert [path.name for path in folder.iterdir()] == ["pyproject.toml"]


def test_the_redactor_takes_out_paths_passwords_and_words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "ida")
    monkeypatch.setattr(socket, "gethostname", lambda: "box.example.org")
    monkeypatch.setenv("HOME", "/srv/ida")
    redactor = Redactor([b"0123456789abcdef"], hosts=["other"])

    assert redactor.text("/srv/ida/shop /home/bob/x /Users/eve") == "~/shop ~/x ~"
    for password in ("hunter2", "hunt/er2", "hunt#er@2", "hunt?er:2"):
        assert redactor.text(f"postgresql://bob:{password}@db/jobs") == "postgresql://bob:***@db/jobs"
    assert (
        redactor.text("box.example.org, box, other, ida, Idaho, boxes")
        == "(host), (host), (host), (user), Idaho, boxes"
    )
    assert redactor.document({"a": ["0123456789abcdef", 7], "ida": None}) == {"a": ["(secret)", 7], "(user)": None}
