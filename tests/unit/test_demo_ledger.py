"""The demo's own book-keeping."""

from __future__ import annotations

from pathlib import Path

from deferq.demo import ledger


def test_a_line_that_is_seen_in_part_is_left_for_the_next_reading(tmp_path: Path) -> None:
    """A write over the end of a page becomes visible in two pieces."""
    book = tmp_path / "ledger"
    book.write_text("1 done\n2 again\n2 do")
    assert ledger.read(book) == {1: {"done": 1}, 2: {"again": 1}}
    book.write_text("1 done\n2 again\n2")
    assert ledger.read(book)[2] == {"again": 1}


def test_no_ledger_yet_is_an_empty_one(tmp_path: Path) -> None:
    assert ledger.read(tmp_path / "ledger") == {}
