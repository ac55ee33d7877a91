"""The pages hang together, and agree with the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import deferq
from deferq import testing
from deferq.model.events import EventName
from deferq.model.state import State
from deferq.options import OPTION_NAMES
from tests.docs import tables
from tests.docs.pages import PAGES, ROOT, anchors, links, name_of

DOCS = ROOT / "docs"
API = DOCS / "reference" / "api.md"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = [link for link in links(page) if not leads_somewhere(page, link)]
    assert dead == []


def leads_somewhere(page: Path, link: str) -> bool:
    if link.startswith(("http://", "https://")):
        return True
    path, _, anchor = link.partition("#")
    aim = (page.parent / path).resolve() if path else page
    return aim.exists() and (not anchor or anchor in anchors(aim))


def test_every_page_can_be_reached_from_the_index() -> None:
    reached = {(DOCS / link).resolve() for link in links(DOCS / "index.md")}
    assert set(DOCS.rglob("*.md")) - reached == {DOCS / "index.md"}


def test_every_public_name_has_its_paragraph() -> None:
    described = re.findall(r"^### `(\w+)`\n\n\S", API.read_text("utf-8"), re.MULTILINE)
    assert sorted(described) == sorted(deferq.__all__)


def test_every_name_for_tests_has_its_paragraph() -> None:
    text = (DOCS / "reference" / "testing.md").read_text("utf-8")
    described = re.findall(r"^### `(\w+)`\n\n\S", text, re.MULTILINE)
    assert sorted(described) == sorted(testing.__all__)


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in deferq.__all__ if not hasattr(deferq, name)] == []


def test_every_option_of_a_call_is_described() -> None:
    text = API.read_text("utf-8")
    assert [option for option in OPTION_NAMES if f"`{option}`" not in text] == []


@pytest.mark.parametrize(("path", "name", "make"), tables.PARTS, ids=[name for _, name, _ in tables.PARTS])
def test_what_is_made_from_the_code_is_up_to_date(path: Path, name: str, make) -> None:
    assert tables.stored(path, name) == make(), "run: python -m tests.docs.tables"


def test_every_error_stands_in_the_tree() -> None:
    tree = tables.error_tree()
    asks_again = ("RetryTask", "Snooze")
    assert [
        error.__name__
        for error in tables.error_classes()
        if error.__name__ not in asks_again and not re.search(rf"\b{error.__name__}\b", tree)
    ] == []


def test_every_event_is_described() -> None:
    text = (DOCS / "reference" / "events.md").read_text("utf-8")
    assert [name.value for name in EventName if f"`{name.value}`" not in text] == []


def test_every_state_is_described() -> None:
    text = (DOCS / "explanation" / "life-of-a-task.md").read_text("utf-8")
    assert [state.name for state in State if f"| {state.name.lower()} |" not in text] == []


def test_the_drawing_and_the_table_of_a_tasks_life_are_up_to_date() -> None:
    checked = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "draw-lifecycle"), "--check"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
