"""The ledger of a storm: what tasks and producers themselves say they did. deferq has no part in it.

All records have one size, and a page holds a whole number of them. So a process that is killed while it writes leaves a
whole record or none, and any number of processes may append to one file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

SIZE = 128
#: In the current folder, which is that of the storm.
FILE = "ledger"


class Record(NamedTuple):
    """One line. What does not apply is 0."""

    #: Of a task: start, end, fail, retry, snooze. Of a producer: intend (or named, if it has a name), accepted, again,
    #: refused.
    what: str
    #: When, in nanoseconds on the machine's monotonic clock.
    at: int
    pid: int
    ppid: int
    #: Chosen by whoever deferred the task: known before there is an answer.
    token: str
    task: int = 0
    attempt: int = 0
    #: When the execution that ends here had started.
    began: int = 0


def note(what: str, token: str, task: int = 0, attempt: int = 0, began: int = 0) -> int:
    """Append a record; returns its time."""
    at = time.monotonic_ns()
    record = Record(what, at, os.getpid(), os.getppid(), token, task, attempt, began)
    line = " ".join(map(str, record)).ljust(SIZE - 1) + "\n"
    assert len(line) == SIZE, line
    os.write(_descriptor(), line.encode())
    return at


_descriptors: dict[str, int] = {}


def _descriptor() -> int:
    if FILE not in _descriptors:
        _descriptors[FILE] = os.open(FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return _descriptors[FILE]


def read(path: Path) -> list[Record]:
    """All records, as they were written."""
    data = path.read_bytes() if path.exists() else b""
    assert len(data) % SIZE == 0, "a record of the ledger is torn"
    return [_parse(data[at : at + SIZE].decode()) for at in range(0, len(data), SIZE)]


def _parse(line: str) -> Record:
    what, at, pid, ppid, token, task, attempt, began = line.split()
    return Record(what, int(at), int(pid), int(ppid), token, int(task), int(attempt), int(began))


# ---- what follows from it


class Execution(NamedTuple):
    """One start of a task, and how it ended."""

    token: str
    task: int
    attempt: int
    pid: int
    ppid: int
    start: int
    #: None: it says nothing of its end; its process was killed, or is not at its end yet.
    end: int | None
    #: end, fail, retry, snooze; empty: nothing is known.
    how: str


def executions(records: Iterable[Record]) -> list[Execution]:
    """Each start with its end, in order of their starts."""
    records = list(records)
    ends = {(r.task, r.attempt, r.pid, r.began): r for r in records if r.began}
    return sorted(_executions(records, ends), key=lambda one: one.start)


def _executions(records: Iterable[Record], ends: dict[tuple[int, int, int, int], Record]) -> Iterator[Execution]:
    for r in records:
        if r.what == "start":
            end = ends.get((r.task, r.attempt, r.pid, r.at))
            how = (end.at, end.what) if end else (None, "")
            yield Execution(r.token, r.task, r.attempt, r.pid, r.ppid, r.at, *how)
