"""`deferq completion`: the scripts, tried in the shells that are there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deferq import Deferq
from deferq.cli.completing import SHELLS, usages
from deferq.cli.main import VERBS
from tests.cli import jobs
from tests.cli.conftest import Run

BASH = shutil.which("bash")
#: Calls the function for each line of words, the last of which is being typed, and prints a line of answers.
ASK = """
source "$1"; shift
for typed in "$@"; do
    IFS='|' read -ra COMP_WORDS <<< "$typed|"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _deferq
    echo "${COMPREPLY[@]}"
done
"""


@pytest.fixture
def scripts(run: Run, folder: Path) -> Path:
    for shell in SHELLS:
        (folder / f"deferq.{shell}").write_text(run("completion", shell, url=None).out)
    command = folder / "bin" / "deferq"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m deferq "$@"\n')
    command.chmod(0o755)
    return folder


def completed(scripts: Path, *typed: str) -> list[list[str]]:
    """What bash offers for each line; words are parted by '|' as bash itself parts them."""
    environ = {**os.environ, "PATH": f"{scripts / 'bin'}:{os.environ['PATH']}"}
    ran = subprocess.run(
        ["bash", "--norc", "-c", ASK, "ask", "deferq.bash", *typed],
        cwd=scripts,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stderr == ""
    return [line.split() for line in ran.stdout.splitlines()]


@pytest.mark.skipif(BASH is None, reason="no bash here")
def test_bash_completes_verbs_options_and_values(scripts: Path) -> None:
    (scripts / "shop.py").write_text("")
    offered = completed(
        scripts,
        "deferq|ta",
        "deferq|",
        "deferq|-",
        "deferq|tasks|",
        "deferq|tasks|ls|--st",
        "deferq|tasks|ls|--state|d",
        "deferq|tasks|ls|--state|=|p",
        "deferq|--url|sqlite|:|///x.db|db|",
        "deferq|defer|shop:f|--if-exists|",
        "deferq|worker|sh",
        "deferq|worker|--threads|3|--onc",
        "deferq|completion|",
        "deferq|nonsense|",
        "deferq|worker|--threads|",
    )

    assert offered == [
        ["tasks"],
        list(dict.fromkeys(verb.split()[0] for verb in VERBS)),
        ["--url", "--version", "--help"],
        ["ls", "show", "now", "requeue", "cancel", "wait"],
        ["--state"],
        ["dead"],
        ["pending"],
        ["info", "upgrade", "check", "path"],
        ["raise", "return", "replace"],
        ["shop.py"],
        ["--once"],
        ["bash", "zsh", "fish", "queues"],
        [],
        [],
    ]


@pytest.mark.skipif(BASH is None, reason="no bash here")
def test_bash_completes_names_of_queues_from_the_store_that_the_line_names(scripts: Path) -> None:
    with Deferq(f"sqlite:///{scripts}/other.db") as deferq:
        for queue in ("mail", "maps", "index"):
            deferq.call(jobs.add, 1).defer(queue=queue)

    offered = completed(scripts, "deferq|--url|sqlite|:|///other.db|queues|pause|ma", "deferq|tasks|ls|--queue|")

    assert offered == [["mail", "maps"], []]
    assert not (scripts / ".deferq").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_takes_its_script(scripts: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    checked = subprocess.run([shell, "-n", f"deferq.{shell}"], cwd=scripts, capture_output=True, text=True)

    assert (checked.returncode, checked.stderr) == (0, "")


def test_fish_offers_what_it_should(scripts: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("no fish here")
    code = "source deferq.fish; for line in 'deferq tasks ls --state d' 'deferq db '; complete -C $line; end"
    ran = subprocess.run(["fish", "--no-config", "-c", code], cwd=scripts, capture_output=True, text=True)

    assert [line.split("\t")[0] for line in ran.stdout.splitlines()] == ["dead", "check", "info", "path", "upgrade"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_verb_and_every_option_is_in_each_script(scripts: Path, shell: str) -> None:
    script = (scripts / f"deferq.{shell}").read_text()
    words = {name for usage in usages() for option in usage.options for name in option.names} | {
        word for verb in VERBS for word in verb.split()
    }

    assert "@" not in script.replace("$@", "").replace("[@]", "")
    assert sorted(word for word in words if word.lstrip("-") not in script) == []
    assert re.search(r"(--|-l )child\b", script) is None


def test_names_of_queues_are_printed_and_nothing_else(run: Run, deferq: Deferq) -> None:
    deferq.call(jobs.add, 1).defer(queue="mail")

    assert run("completion", "queues").out == "mail\n"
    assert run("completion", "queues", url="sqlite:///missing.db") == (0, "", "")
    assert run("completion", "queues", url="nonsense") == (0, "", "")


def test_a_shell_that_is_none_is_answered_with_the_one_that_was_meant(run: Run) -> None:
    said = run("completion", "bahs")

    assert (said.code, "Did you mean 'bash'?" in said.err) == (2, True)
