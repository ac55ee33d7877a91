"""`deferq defer`: a call from a shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deferq import Deferq, State
from deferq import default as default_module
from tests.cli.conftest import Run, work_off


def test_a_call_is_stored_and_its_id_printed(run: Run, deferq: Deferq) -> None:
    said = run("defer", "tests.cli.jobs:add", "1", "--kw", "b=2")

    assert said.code == 0
    handle = deferq.task(said.out.strip())
    work_off(deferq)
    assert handle.wait(timeout=5) == 3


def test_options_may_stand_between_the_arguments(run: Run, deferq: Deferq) -> None:
    said = run("defer", "tests.cli.jobs:add", "--queue", "mail", "-1", "--priority", "7", "2", "--tag", "a", "--json")

    task = deferq.task(json.loads(said.out)["id"]).task
    assert (task.queue, task.priority, task.options.tags) == ("mail", 7, ("a",))
    work_off(deferq)
    assert deferq.task(task.id).wait(timeout=5) == 1


def test_a_function_in_the_current_folder_is_found(run: Run, deferq: Deferq, folder: Path) -> None:
    (folder / "only_in_this_folder.py").write_text("def greet(name):\n    return 'moin ' + name\n")

    said = run("defer", "only_in_this_folder:greet", '"Ida"')

    assert deferq.task(said.out.strip()).task.target == "only_in_this_folder:greet"


def test_a_call_deferred_function_is_deferred_once(run: Run, deferq: Deferq) -> None:
    said = run("defer", "tests.cli.jobs:reindex", "1")

    assert deferq.task(said.out.strip()).task.queue == "index"


def test_an_eta_with_its_zone(run: Run, deferq: Deferq) -> None:
    said = run("defer", "tests.cli.jobs:add", "1", "--eta", "2080-01-01T00:00+00:00")

    assert deferq.task(said.out.strip()).task.reading(deferq.engine.now()) == "scheduled"


def test_a_name_that_is_taken(run: Run) -> None:
    first = run("defer", "tests.cli.jobs:add", "1", "--name", "once")
    second = run("defer", "tests.cli.jobs:add", "1", "--name", "once")
    third = run("defer", "tests.cli.jobs:add", "1", "--name", "once", "--if-exists", "return", "--json")

    assert second.code == 2
    assert "has the name 'once'" in second.err
    assert json.loads(third.out) == {"id": first.out.strip(), "existed": True}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("tests.cli.jobs:add", "hello"), "A text needs double quotes: '\"hello\"'"),
        (("tests.cli.jobs:add", "--kw", "b"), "expected NAME=JSON"),
        (("tests.cli.jobs:add", "1", "2", "3"), "cannot be called with these arguments"),
        (("tests.cli.jobs:sub", "1"), "cannot be found"),
        (("no_such_module:add", "1"), "no_such_module"),
        (("just_a_word",), "'just_a_word' is not module:function"),
        (("tests.cli.jobs:add", "1", "--eta", "2080-01-01"), "time zone"),
        (("tests.cli.jobs:add", "1", "--eta", "soon"), "ISO 8601"),
        (("tests.cli.jobs:add", "1", "--priority", "1000"), "priority"),
        (("tests.cli.jobs:add", "1", "--if-exists", "explode"), "if_exists"),
    ],
)
def test_what_is_refused_says_why_and_stores_nothing(
    run: Run, deferq: Deferq, words: tuple[str, ...], why: str
) -> None:
    deferq.engine.counts()

    said = run("defer", *words)

    assert said.code == 2
    assert why in said.err
    assert "Traceback" not in said.err
    assert json.loads(run("tasks", "ls", "--json").out)["tasks"] == []


def test_json_is_one_document_even_when_it_waited(run: Run, deferq: Deferq) -> None:
    run("defer", "tests.cli.jobs:add", "1", "--name", "once")
    work_off(deferq)

    said = run("defer", "tests.cli.jobs:add", "1", "--name", "once", "--if-exists", "return", "--wait", "--json")

    assert said.code == 0
    assert json.loads(said.out)["existed"]


def test_waiting_for_it(run: Run, deferq: Deferq) -> None:
    said = run("defer", "tests.cli.jobs:add", "1", "--wait", "0.01")

    assert said.code == 2
    assert deferq.task(said.out.split()[0]).state is State.PENDING


def test_a_call_is_stored_as_strict_json_where_the_settings_say_so(
    run: Run, deferq: Deferq, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default_module, "_default", None)  # a command starts without one
    monkeypatch.setenv("DEFERQ_PAYLOAD", "json")

    said = run("defer", "tests.cli.jobs:add", "1", "--kw", "b=2")

    handle = deferq.task(said.out.strip())
    assert handle.details().payload.endswith(b'[[1],{"b":2}]')
    work_off(deferq)
    assert handle.wait(timeout=5) == 3
    assert "json" in run("tasks", "show", handle.id).out

    refused = run("defer", "tests.cli.jobs:add", str(2**63))
    assert refused.code == 2
    assert "args[0] cannot be stored: it is an integer outside" in refused.err
