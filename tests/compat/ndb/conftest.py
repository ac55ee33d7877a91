"""Google's SDK, in an environment of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.docs.pages import ROOT

#: What pip says where a package is missing, or the index cannot be reached.
NOT_TO_BE_HAD = ("No matching distribution found", "Could not find a version", "ResolutionImpossible")


@pytest.fixture(scope="session")
def sdk_python() -> str:
    """A Python that can import `google.appengine` and deferq. Made from the package index if it is not there.

    Where the index cannot be reached or does not have the SDK, the tests that need it are skipped, and the summary says
    so; whatever else goes wrong is a failure.
    """
    folder = ROOT / ".venv-sdk"
    base = getattr(sys, "_base_executable", sys.executable)
    made = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "environment"), str(folder), "sdk", base],
        capture_output=True,
        text=True,
        timeout=600,
    )
    if made.returncode and any(words in made.stdout + made.stderr for words in NOT_TO_BE_HAD):
        pytest.skip("Google's SDK (appengine-python-standard) is not to be had from this package index: not compared")
    assert made.returncode == 0, (
        "Google's SDK, with which ours is compared, could not be installed: it takes appengine-python-standard and what"
        f" that depends on from the package index.\n{made.stdout}{made.stderr}"
    )
    return str(folder / "bin" / "python")
