"""Google's SDK, in an environment of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.docs.pages import ROOT


@pytest.fixture(scope="session")
def sdk_python() -> str:
    """A Python that can import `google.appengine` and deferq. Made from the package index if it is not there.

    Where it cannot be made, the tests that need it fail and say why: a comparison that is left out in silence is none.
    """
    folder = ROOT / ".venv-sdk"
    base = getattr(sys, "_base_executable", sys.executable)
    made = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "environment"), str(folder), "sdk", base],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert made.returncode == 0, (
        "Google's SDK, with which ours is compared, could not be installed: it takes appengine-python-standard and what"
        f" that depends on from the package index.\n{made.stdout}{made.stderr}"
    )
    return str(folder / "bin" / "python")
