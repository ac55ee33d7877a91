"""Many targets, each in a process of its own, two at a time."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.catalogue import Target

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 2
#: Seconds that a process may take to start, and to end, beside what it is told.
SPARE_S = 30
_EXECUTED = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
#: What comes before it is of no interest.
_WRONG = "=== Uncaught Python exception"
_WRITTEN = re.compile(r"(?:Test unit|input) (?:is )?written to (\S+)")


def has_atheris() -> bool:
    """Whether the search can be guided on this Python."""
    return find_spec("atheris") is not None


@dataclass(frozen=True, kw_only=True)
class Told:
    """How to search."""

    folder: Path
    #: For each target.
    seconds: int
    seed: int
    plain: bool
    #: None: as many as fit into the time.
    executions: int | None = None
    #: Monotonic time at which all of it is to end.
    until: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of one target."""

    target: Target
    executions: int
    seconds: float
    #: Whether nothing was wrong.
    ok: bool
    #: The end of what it said.
    said: str
    finding: Path | None = None

    @property
    def replay(self) -> str:
        """The command that runs the finding again."""
        return f"{_command(self.target)} --replay {self.finding}"

    def __str__(self) -> str:
        speed = self.executions / self.seconds if self.seconds else 0.0
        line = f"{self.target.name:10} {self.executions:>11,} executions {speed:>9,.0f} a second"
        if self.ok:
            return f"{line}, nothing wrong"
        return f"{line}, WRONG\n{self.said}" + (f"\nagain: {self.replay}" if self.finding else "")


def run(targets: Iterable[tuple[Target, Told]], tell: Callable[[Report], object] = print) -> list[Report]:
    """All of them, in this order; `tell` hears of each when it has ended."""
    telling = threading.Lock()

    def search(entry: tuple[Target, Told]) -> Report:
        report = run_one(*entry)
        with telling:
            tell(report)
        return report

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(search, targets))


def run_one(target: Target, told: Told) -> Report:
    """One target, until something is wrong or it has done enough."""
    folder = told.folder / target.name
    folder.mkdir(parents=True, exist_ok=True)
    seconds = int(max(1, min(told.seconds, told.until - time.monotonic())))
    options = ["--folder", str(folder), "--seconds", str(seconds), "--seed", str(told.seed)]
    options += [] if told.executions is None else ["--executions", str(told.executions)]
    options += ["--plain"] if told.plain else []
    began = time.monotonic()
    ok, said = _said([*_command(target).split(), *options], seconds + SPARE_S)
    executed, written = _EXECUTED.search(said), _WRITTEN.search(said)
    return Report(
        target=target,
        executions=int(executed[1]) if executed else 0,
        seconds=time.monotonic() - began,
        ok=ok,
        said=said[max(said.find(_WRONG), len(said) - 4_000, 0) :],
        finding=Path(written[1]) if written else None,
    )


def _said(command: list[str], seconds_max: float) -> tuple[bool, str]:
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds_max)
        except BaseException as error:  # too slow, or somebody wants us to end
            process.kill()
            output, _ = process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            output += b"\nit did not end and was killed"
        return process.returncode == 0, output.decode(errors="replace")


def _command(target: Target) -> str:
    return f"{sys.executable} -m tests.fuzz.one {target.name}"
