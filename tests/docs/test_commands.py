"""Commands that the pages show are commands that exist."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from deferq.cli.arguments import Parser
from deferq.cli.main import VERBS
from tests.docs.pages import PAGES, ROOT, blocks, name_of

CLI = ROOT / "docs" / "reference" / "cli.md"
_IN_TEXT = re.compile(r"`deferq ([^`\n]+)`")
_IN_BLOCK = re.compile(r"^deferq ([^#\n]+)", re.MULTILINE)


#: What a parent tells its children.
HIDDEN = {"--child"}
GROUPS = {verb.split()[0] for verb in VERBS}


def commands(page: Path) -> list[str]:
    """What follows `deferq` in blocks and in running text."""
    in_blocks = [command for block in blocks(page, "") for command in _IN_BLOCK.findall(block)]
    return [command.strip() for command in (*_IN_TEXT.findall(page.read_text("utf-8")), *in_blocks)]


def verb_of(command: str) -> str | None:
    words = command.split()
    return next((verb for verb in (" ".join(words[:2]), words[0]) if verb in VERBS), None)


def options_of(verb: str) -> set[str]:
    parser = Parser(prog=verb)
    import_module("deferq.cli." + verb.replace(" ", "_")).add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
    return options - HIDDEN


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name_of)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    wrong = []
    for command in commands(page):
        verb = verb_of(command)
        if verb is None:
            wrong += [command] if command not in GROUPS and command.split()[0] not in ("VERB", "--help") else []
        else:
            given = {word.partition("=")[0] for word in shlex.split(command) if word.startswith("--")}
            wrong += [f"{verb} {option}" for option in given - options_of(verb)]
    assert wrong == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_section_with_its_options(verb: str) -> None:
    sections = re.split(r"^## ", CLI.read_text("utf-8"), flags=re.MULTILINE)
    section = next((text for text in sections if re.match(rf"`deferq {verb}\b", text)), None)
    assert section is not None
    common = {"--help", "--url", "--app", "--json"}
    hidden = {"--lifeline", "--again"}
    mentioned = set(re.findall(r"--[a-z][a-z-]*", section))
    assert mentioned - options_of(verb) - common == set()
    assert options_of(verb) - mentioned - common - hidden == set()
