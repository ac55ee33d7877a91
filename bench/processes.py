"""Child processes of the bench. Each has a process group of its own, and is killed at the end with all that descends
from it, whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.machine import tree

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
    """Ask a child to stop, then kill whatever is left of its group and of its tree."""
    with _held(child) as family:
        if child.poll() is None:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(patience_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        _kill(family)
    child.wait()
    if child in _living:
        _living.remove(child)


def kill_tree(child: subprocess.Popen[bytes]) -> None:
    """End a child and all that descend from it without a word, the child first, so that it cannot say one either."""
    with _held(child) as family:
        _kill(family)
    child.wait()


@contextlib.contextmanager
def _held(child: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Descriptors of a child's tree: their numbers cannot come to mean another process."""
    family = []
    try:
        for pid in tree(child.pid) if child.poll() is None else ():
            with contextlib.suppress(ProcessLookupError):
                family.append(os.pidfd_open(pid))
        yield family
    finally:
        for descriptor in family:
            os.close(descriptor)


def _kill(family: Sequence[int]) -> None:
    for descriptor in family:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)


def end_all() -> None:
    """Leave nothing running."""
    for child in tuple(_living):
        end(child, patience_s=1.0)


def tail(log: Path, lines: int = 3) -> str:
    """The last words of a child."""
    if not log.exists():
        return ""
    return " / ".join(log.read_text(errors="replace").strip().splitlines()[-lines:])
