"""Waiting for the end of a task. Its result is not restored, since that would run code of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from deferq.app import Deferq
from deferq.cli.arguments import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from deferq.cli.output import printable
from deferq.cli.tasks import missing
from deferq.engines.base import LeasingEngine
from deferq.errors import TaskNotFound
from deferq.model.state import State
from deferq.model.task import Task

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.25
EXIT_TIMEOUT = EXIT_USAGE


def wait_and_report(
    deferq: Deferq, task_id: int, timeout_s: float | None, show: Callable[[Task], None] | None = None
) -> int:
    """Wait for the end, print it (or `show` it), and return the exit code that stands for it."""
    try:
        task = _ended(deferq.engine, task_id, timeout_s)
    except TaskNotFound as error:
        print(f"deferq: {error}", file=sys.stderr)
        return EXIT_FAILED
    if task is None:
        print(f"deferq: Task {task_id} has not finished yet. Is a worker running?", file=sys.stderr)
        return EXIT_TIMEOUT
    (show or _print_state)(task)
    if task.state is State.SUCCEEDED:
        return EXIT_OK
    print(f"deferq: {_why(deferq.engine, task)}", file=sys.stderr)
    return EXIT_FAILED


def _print_state(task: Task) -> None:
    print(task.state.name.lower())


def _ended(engine: LeasingEngine, task_id: int, timeout_s: float | None) -> Task | None:
    """The finished task; None if the time is over first."""
    ends = None if timeout_s is None else time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    while True:
        found = engine.get([task_id])
        if not found:
            raise TaskNotFound(missing(task_id))
        if found[0].state.finished:
            return found[0]
        if ends is not None and time.monotonic() >= ends:
            return None
        time.sleep(pause_s if ends is None else min(pause_s, max(0.0, ends - time.monotonic())))
        pause_s = min(_LONGEST_PAUSE_S, pause_s * 1.5)


def _why(engine: LeasingEngine, task: Task) -> str:
    failures = engine.details(task.id).failures if task.state is State.DEAD else ()
    last = f" {failures[-1].error_type}: {failures[-1].message}" if failures and failures[-1].error_type else ""
    return printable(f"Task {task.id} ({task.target}) is {task.state.name.lower()}: {task.reason}.{last}")
