"""The simulator, run over a copy of the package: as it is, or with a bug in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tests.planted.bug import Bug, plant

SOURCE = Path(__file__).resolve().parents[2] / "src" / "deferq"
#: Runs at a time: a run keeps one core busy.
AT_ONCE = 2
#: Seconds after which a run is taken for one that never ends.
PATIENCE_S = 100.0


class Said(NamedTuple):
    """How a run of the simulator ended."""

    code: int
    #: What it printed on both streams.
    text: str


class Simulator:
    """Runs `python -m deferq.testing.simulate` with the bugs in copies of the package below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sound = folder / "sound" / "deferq"
        shutil.copytree(SOURCE, self._sound)
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._numbers = count()
        self._runs: dict[Bug, Future[Said]] = {}

    def begin(self, bugs: Iterable[Bug]) -> None:
        """Run all of these in the background, so that no core is idle while a test looks at one."""
        for bug in bugs:
            self._runs[bug] = self._pool.submit(self.with_bug, bug)

    def said(self, bug: Bug) -> Said:
        """How the run with this bug ended; waits for it."""
        return self._runs[bug].result()

    def with_bug(self, bug: Bug) -> Said:
        """Plant a bug in a copy, and run the simulator there."""
        copy = self._folder / str(next(self._numbers)) / "deferq"
        shutil.copytree(self._sound, copy, ignore=shutil.ignore_patterns("__pycache__"))
        try:
            plant(bug, copy)
            return run(copy.parent, bug.engine, bug.seeds, bug.where)
        finally:
            shutil.rmtree(copy.parent)

    def without_bug(self, engine: str, seeds: int, where: str = "") -> Said:
        """Run the simulator in the copy that nobody has changed."""
        return run(self._sound.parent, engine, seeds, where)

    def close(self) -> None:
        """Begin nothing more, and wait for what runs."""
        self._pool.shutdown(cancel_futures=True)


def run(path: Path, engine: str, seeds: int, where: str = "") -> Said:
    """Seeds 0 to `seeds` with the package that stands below `path`, until one breaks a promise."""
    words = ["--engine", engine, "--seeds", str(seeds), *([where] if where else [])]
    command = [sys.executable, "-m", "deferq.testing.simulate", *words]
    environment = {**os.environ, "PYTHONPATH": str(path)}
    pipe, both = subprocess.PIPE, subprocess.STDOUT
    try:
        done = subprocess.run(
            command, env=environment, cwd=path, stdout=pipe, stderr=both, text=True, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return Said(-1, f"did not end within {PATIENCE_S:.0f} s")
    return Said(done.returncode, done.stdout)
