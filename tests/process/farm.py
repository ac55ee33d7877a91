"""A store in a folder, and real workers with real children on it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from deferq import Deferq, RetryPolicy, State
from deferq.app import TaskHandle
from deferq.engines.base import Filter
from tests.cli.processes import PATIENCE_S, Running

APP = Path(__file__).with_name("child_tasks.py")
sys.path.append(str(APP.parent))
#: Fails fast, so that tests need not wait.
QUICK = {"min_backoff_s": 0.01, "max_backoff_s": 0.05}


class Farm:
    """What a test sees of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/jobs.db"
        self.deferq = Deferq(self.url)
        self.deferq.engine.counts()

    def worker(self, *words: str, app: str | None = str(APP)) -> Running:
        return Running(self.folder, "worker", *([app] if app else []), "--url", self.url, *words)

    def put(self, fn: Callable[..., Any], *args: Any, attempts: int = 3, **options: Any) -> TaskHandle:
        return self.deferq.call(fn, *args).defer(retry=RetryPolicy(max_attempts=attempts, **QUICK), **options)

    def put_many(self, fn: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[TaskHandle]:
        return self.deferq.defer_many([self.deferq.call(fn, *args) for args in arguments])

    def runs(self, handle: TaskHandle | None = None) -> list[list[str]]:
        """What tasks have noted: each a task id, a process id, a word."""
        path = self.folder / "runs"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if handle is None or line[0] == str(handle.id)]

    def times_run(self) -> Counter[str]:
        return Counter(line[0] for line in self.runs())

    def wait_for_run(self, handle: TaskHandle, times: int = 1) -> int:
        """Wait until it has begun so often; returns the process that began it last."""
        until(lambda: len(self.runs(handle)) >= times, f"{handle} has not begun {times} times")
        return int(self.runs(handle)[-1][1])

    def wait_all(self, handles: Iterable[TaskHandle], timeout_s: float = 60.0) -> None:
        ids = [handle.id for handle in handles]
        until(
            lambda: all(task.state.finished for task in self.deferq.engine.get(ids)), "they have not ended", timeout_s
        )

    def states(self, handles: Iterable[TaskHandle]) -> Counter[State]:
        return Counter(task.state for task in self.deferq.engine.get([handle.id for handle in handles]))

    def kinds(self, handle: TaskHandle) -> list[str]:
        """How its attempts failed, the first first."""
        return [failure.kind for failure in sorted(handle.details().failures, key=lambda one: one.attempt)]

    def leased(self) -> int:
        return len(self.deferq.engine.find(Filter(state=State.LEASED)).tasks)

    def children(self) -> list[dict[str, Any]]:
        """As the record of the only worker shows them; it is written some seconds after each change."""
        (record,) = self.deferq.engine.records("worker")
        found: list[dict[str, Any]] = json.loads(record.document)["children"]
        return found


def until(condition: Callable[[], object], otherwise: str, timeout_s: float = PATIENCE_S) -> None:
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, otherwise
        time.sleep(0.01)


def child_pids(worker: Running) -> list[int]:
    """Children that were announced, the latest last."""
    return [int(line.rpartition("is ready: pid ")[2]) for line in list(worker.lines) if "is ready: pid " in line]


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return Path("/proc").is_dir() is False
