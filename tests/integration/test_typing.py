"""The public API as a type checker sees it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("typed_program.py")
ROOT = Path(__file__).parents[2]


def test_a_type_checker_takes_what_is_right_and_finds_what_is_wrong() -> None:
    pytest.importorskip("mypy")

    said = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context", str(PROGRAM)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    lines = PROGRAM.read_text("utf-8").splitlines()
    expected = [(number, line.partition("# wrong: ")[2]) for number, line in enumerate(lines, 1) if "# wrong: " in line]
    found = re.findall(r":(\d+): error: .*\[([a-z-]+)\]", said.stdout)
    assert [(int(number), code) for number, code in found] == expected, said.stdout + said.stderr
