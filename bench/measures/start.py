"""How long the command line and the import take, wall time of a whole Python process."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from statistics import median

from bench.compare import Bench, Case, Figure, Row, Values
from bench.ours import Ours
from bench.processes import child_environment, python
from bench.system import Candidate, Sink
from bench.systems import peers

HELP = Figure(title="start of `deferq --help`", unit="ms", more_is_better=False)
IMPORT = Figure(title="python -c 'import ...'", unit="ms", more_is_better=False)


class _Python(Candidate):
    """Python without anything."""

    name = "floor: bare python"
    durability = ""
    role = "floor"

    def open(self, folder: Path) -> Sink:
        raise TypeError("nobody defers into Python")


def run(bench: Bench) -> list[Row]:
    """Rows of the interpreter alone, of deferq and of the peers' imports."""
    bare = _case(bench, _Python(), (HELP, IMPORT), ["-c", "pass"])
    ours = [_case(bench, Ours(), (HELP,), ["-m", "deferq", "--help"])]
    ours.append(_case(bench, Ours(), (IMPORT,), ["-c", "import deferq; deferq.defer"]))
    theirs = {peer.packages[0]: peer for peer in peers(bench)}
    imports = [_case(bench, peer, (IMPORT,), ["-c", f"import {name}"], name) for name, peer in theirs.items()]
    return bench.side_by_side([bare, *ours, *imports])


def _case(bench: Bench, candidate: Candidate, figures: tuple[Figure, ...], argv: list[str], label: str = "") -> Case:
    def once(folder: Path) -> Values:
        _wall_ms(argv, folder)  # compiles what is not compiled yet
        return dict.fromkeys(figures, median(_wall_ms(argv, folder) for _ in range(bench.size(10, 3))))

    return Case(candidate=candidate, figures=figures, once=once, label=label and f"import {label}", durability="")


def _wall_ms(argv: list[str], folder: Path) -> float:
    begun = time.perf_counter()
    done = subprocess.run(
        python(*argv), cwd=folder, env=child_environment(), capture_output=True, text=True, check=False, timeout=60
    )
    took_ms = (time.perf_counter() - begun) * 1000
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1:] or done.returncode)
    return took_ms
