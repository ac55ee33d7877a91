"""The lists are whole, and every test that they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deferq.compat.appengine import deferred, taskqueue
from tests.compat.catalogue import DIFFERENCES, FACTS, Difference, Fact

TESTS = Path(__file__).parents[1]
#: What is fixed on purpose, each by words that its line has.
FIXED = [
    "signed",
    "`_url=None`",
    "naive `_eta`",
    "misspelt option",
    "405",
    "`Content-Length`",
    "in the transaction, or not at all",
    "goes with its task",
    "`run_from_datastore` returns None",
    "patches threads",
    "`deferq.current_task()`",
    "dead and kept",
    "ASGI",
]


@pytest.mark.parametrize("row", [*FACTS, *DIFFERENCES], ids=lambda row: row[1][:50])
def test_each_names_tests_that_are_there(row: Fact | Difference) -> None:
    assert row.tests
    for test in row.tests:
        path, _, name = test.partition("::")
        assert re.search(rf"^(async )?def {name}\(", (TESTS / path).read_text("utf-8"), re.MULTILINE), test


@pytest.mark.parametrize("words", FIXED)
def test_what_is_fixed_on_purpose_has_a_line(words: str) -> None:
    assert any(words in f"{one.there} {one.here}" for one in DIFFERENCES)


def test_every_public_name_of_deferred_has_a_line() -> None:
    text = " ".join(fact.what for fact in FACTS)
    ours = ("deferred", "asgi_application")
    assert [name for name in deferred.__all__ if name not in ours and name not in text] == []


def test_the_classes_and_functions_of_taskqueue_have_a_line() -> None:
    text = " ".join(fact.what for fact in FACTS)
    named = [name for name in taskqueue.__all__ if name[0].islower() or name in ("Task", "Queue", "TaskRetryOptions")]
    assert [name for name in named if name not in text] == []
