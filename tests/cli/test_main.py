"""Finding the verb, and what errors look like."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deferq import Deferq
from deferq.cli.main import VERBS, main
from tests.cli import jobs
from tests.cli.conftest import Run
from tests.cli.processes import environment


def test_help_lists_every_verb(run: Run) -> None:
    said = run("--help")

    assert said.code == 0
    assert all(verb in said.out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_its_exit_codes(run: Run, verb: str) -> None:
    said = run(*verb.split(), "--help")

    assert said.code == 0
    assert f"usage: deferq {verb}" in said.out
    assert "Exit codes: 0" in said.out


def test_without_a_verb_the_help_is_shown(run: Run) -> None:
    assert "verbs:" in run(url=None).out


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("stauts", "status"),
        ("task", "tasks"),
        ("tasks lss", "tasks ls"),
        ("db chekc", "db check"),
        ("docter", "doctor"),
        ("config shwo", "config show"),
    ],
)
def test_a_misspelt_verb_is_answered_with_the_one_that_was_meant(run: Run, words: str, meant: str) -> None:
    said = run(*words.split())

    assert said.code == 2
    assert f"Did you mean '{meant}'?" in said.err


def test_a_misspelt_option_is_answered_with_the_one_that_was_meant(run: Run) -> None:
    said = run("worker", "--thread", "3")

    assert said.code == 2
    assert "unrecognized arguments: --thread" in said.err
    assert "Did you mean '--threads'?" in said.err


def test_a_misspelt_option_before_the_verb_is_answered_too(run: Run) -> None:
    said = run("--ulr=x", "status", url=None)

    assert (said.code, "Did you mean '--url'?" in said.err) == (2, True)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_knows_what_was_meant_by_a_misspelt_option(run: Run, verb: str) -> None:
    said = run(*verb.split(), "--hlep")

    assert (said.code, "Did you mean '--help'?" in said.err) == (2, True)


def test_a_misspelt_variable_is_told_and_the_command_goes_on(
    run: Run, deferq: Deferq, monkeypatch: pytest.MonkeyPatch
) -> None:
    deferq.defer(jobs.add, 1)
    monkeypatch.setenv("DEFERQ_THREDS", "3")
    monkeypatch.setenv("DEFERQ_OF_SOMEBODY_ELSE", "3")

    said = run("tasks", "ls")

    assert said.code == 0
    assert said.err == ("deferq: There is no setting DEFERQ_THREDS; it is passed over. Did you mean DEFERQ_THREADS?\n")


def test_a_misspelt_queue_is_answered_with_the_one_that_was_meant(run: Run, deferq: Deferq) -> None:
    deferq.call(jobs.add, 1).defer(queue="mail")

    assert "Did you mean 'mail'?" in run("tasks", "ls", "--queue", "mial").err
    assert "Did you mean 'mail'?" in run("queues", "pause", "mial").err
    requeued = run("tasks", "requeue", "--all-dead", "--queue", "mial")
    assert (requeued.code, "Did you mean 'mail'?" in requeued.err) == (2, True)


def test_a_worker_mentions_a_queue_that_nobody_has_used(folder: Path, deferq: Deferq, url: str) -> None:
    deferq.call(jobs.add, 1).defer(queue="mail")
    command = [sys.executable, "-m", "deferq", "worker", "--url", url, "--once", "--queue", "mial"]
    ended = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=60)

    assert ended.returncode == 0
    assert "deferq worker: There is no queue 'mial' yet. Did you mean 'mail'?" in ended.stderr


def test_a_misspelt_function_is_answered_with_the_one_that_was_meant(run: Run) -> None:
    said = run("defer", "tests.cli.jobs:ad", "1")

    assert (said.code, "Did you mean 'add'?" in said.err) == (2, True)


def test_options_are_never_abbreviated(run: Run) -> None:
    assert run("tasks", "ls", "--js").code == 2


def test_the_url_may_stand_on_either_side_of_the_verb(run: Run, folder: Path) -> None:
    before = run("db", "path", url=f"sqlite:///{folder}/a.db")
    behind = run("db", "path", "--url", f"sqlite:///{folder}/b.db")

    assert (before.out, behind.out) == (f"{folder}/a.db\n", f"{folder}/b.db\n")


def test_an_error_of_deferq_is_one_message_without_a_traceback(run: Run) -> None:
    said = run("status", url="redis://localhost")

    assert said.code == 2
    assert said.err.startswith("deferq: url: no engine for 'redis'.")
    assert "Traceback" not in said.err


def test_an_error_nobody_expected_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deferq.cli.status._once", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        run("status", url="memory://")


def test_ctrl_c_ends_a_command_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("deferq.cli.status._once", interrupted)

    assert main(["--url", "memory://", "status"]) == 130


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    command = f"'{sys.executable}' -m deferq config show --json | true; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], cwd=folder, env=environment(), capture_output=True, text=True)

    assert ended.returncode in (0, 141)  # 0: it was faster
    assert ended.stderr == ""


def test_the_help_imports_no_verb(folder: Path) -> None:
    code = "import sys; from deferq.cli.main import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)

    loaded = {name for name in ended.stderr.split() if name.startswith(("deferq.cli", "rich", "watchfiles"))}
    assert loaded == {"deferq.cli", "deferq.cli.main", "deferq.cli.arguments"}


def test_the_demo_is_run_as_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run_demo(stay: bool) -> int:
        asked.append(stay)
        return 1

    monkeypatch.setattr("deferq.demo.run_demo", run_demo)

    assert [run("demo").code, run("demo", "--stay").code] == [1, 1]
    assert asked == [False, True]


def test_the_version(run: Run) -> None:
    assert run("--version").out.startswith("deferq ")
