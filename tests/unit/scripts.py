"""Runs small programs as real processes, for everything that depends on what `__main__` is."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path


def write(folder: Path, **files: str) -> None:
    """Write modules: `write(tmp_path, hello="...", pkg__mod="...")` makes hello.py and pkg/mod.py."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))


def python(folder: Path, *arguments: str, given: str | None = None) -> str:
    """What `python arguments` prints when it is run in `folder`; its errors count as output."""
    search_path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": search_path},
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return (done.stdout + done.stderr).strip()
