"""The list is whole, and every test it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.catalogue.failures import FAILURES, Row

TESTS = Path(__file__).parents[1]


def test_there_are_seventy() -> None:
    assert [row.number for row in FAILURES] == list(range(1, 71))


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: row.number)
def test_each_is_tried_or_says_what_it_waits_for(row: Row) -> None:
    assert row.tests or row.waits_for
    for test in row.tests:
        path, _, function = test.partition("::")
        assert re.search(rf"^(async )?def {function}\(", (TESTS / path).read_text("utf-8"), re.MULTILINE), test
