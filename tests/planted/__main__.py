"""`python -m tests.planted [WORDS]`: which seed is the first to notice each bug, and what it says.

For whoever adds a bug or has changed the simulator: about three times as many seeds are then stated for the bug.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.planted.bug import Bug
from tests.planted.bugs import BUGS
from tests.planted.running import Simulator

#: As many seeds as a bug may need at all, by engine.
MOST = {"memory": 2_000, "sqlite": 500}


def main(words: str) -> None:
    chosen = [bug._replace(seeds=MOST[bug.engine]) for bug in BUGS if words in bug.name or words in bug.file]
    with tempfile.TemporaryDirectory() as folder:
        simulator = Simulator(Path(folder))
        simulator.begin(chosen)
        for bug in chosen:
            print(_line(bug, *simulator.said(bug)), flush=True)


def _line(bug: Bug, code: int, text: str) -> str:
    lines = text.splitlines() or [""]
    said = lines[0] if lines[0].startswith("seed ") else f"ended with {code}: {lines[-1]}"
    kind = f"{bug.engine}{' with children' if bug.children else ', pushed' if bug.push else ''}"
    note = "" if bug.is_shown_by(said) else f"   NOT AS SAID: {bug.shows}"
    return f"{bug.name} ({kind})\n    {said}{note}"


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
