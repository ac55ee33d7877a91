"""The list is whole, and every test and every case that it names exists."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.badinput.catalogue import ROWS, Row

TESTS = Path(__file__).parents[1]


def test_there_are_eighty_four() -> None:
    assert [row.number for row in ROWS] == list(range(1, 85))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"B{row.number}")
def test_each_is_tried_or_says_what_it_waits_for(row: Row) -> None:
    assert row.tests or row.waits_for
    for test in row.tests:
        function, _, case = test.partition("[")
        path, _, name = function.partition("::")
        assert re.search(rf"^(async )?def {name}\(", (TESTS / path).read_text("utf-8"), re.MULTILINE), test
        assert not case or any(case.removesuffix("]") in known for known in cases_of(path, name)), test


@cache
def cases_of(path: str, name: str) -> tuple[str, ...]:
    """The names of the cases of a test, as its `parametrize` gives them."""
    module = importlib.import_module("tests." + path.removesuffix(".py").replace("/", "."))
    function = getattr(module, name)
    marks = [mark for mark in function.pytestmark if mark.name == "parametrize"]
    return tuple(case for mark in marks for case in _names(mark.args[1], mark.kwargs.get("ids")))


def _names(values: Any, ids: Callable[[Any], str] | list[str] | None) -> Iterator[str]:
    for at, value in enumerate(values):
        if getattr(value, "id", None):
            yield value.id
        elif callable(ids):
            yield ids(value)
        elif ids:
            yield ids[at]
        else:
            yield value if isinstance(value, str) else str(getattr(value, "values", value))
