"""What the page shows is what is printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks, snippets

PAGE = ROOT / "docs" / "howto" / "make-tasks-idempotent.md"


@pytest.mark.slow
def test_the_page_shows_what_assert_idempotent_says(tmp_path: Path) -> None:
    for one in snippets(PAGE):
        (tmp_path / (one.file_name or "session.py")).write_text(one.code)
        if one.file_name is None:
            break
    ran = subprocess.run([sys.executable, "session.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert ran.stdout == blocks(PAGE, "")[0], ran.stderr
