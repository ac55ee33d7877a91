"""Child processes of the bench. Each has a process group of its own and is killed at the end, whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_living: list[subprocess.Popen[bytes]] = []


def spawn(argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a child whose output goes to `log` and which finds the `bench` package."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env=child_environment(environment),
            start_new_session=True,
        )
    _living.append(child)
    return child


@contextlib.contextmanager
def running(
    argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A child for the length of a block."""
    child = spawn(argv, log, environment)
    try:
        yield child
    finally:
        end(child)


def child_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment, with the `bench` package in reach."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **(more or {})}


def python(*arguments: str) -> list[str]:
    """The command line of a Python child."""
    return [sys.executable, *arguments]


def end(child: subprocess.Popen[bytes], patience_s: float = 3.0) -> None:
    """Ask a child to stop, then kill whatever is left of its group."""
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience_s)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child in _living:
        _living.remove(child)


def end_all() -> None:
    """Leave nothing running."""
    for child in tuple(_living):
        end(child, patience_s=1.0)


def tail(log: Path, lines: int = 3) -> str:
    """The last words of a child."""
    if not log.exists():
        return ""
    return " / ".join(log.read_text(errors="replace").strip().splitlines()[-lines:])
