"""The ledger: what the tasks themselves write down, beside the store and unknown to it.

Which file it is travels with each task, as a language or a tenant would: the web application sets `LEDGER` and its
Deferq carries it. A line is written in one piece, so that threads and processes may share the file.
"""

from __future__ import annotations

import os
from collections import Counter
from contextvars import ContextVar
from pathlib import Path

from deferq.current import current_task

LEDGER: ContextVar[str] = ContextVar("deferq.demo.ledger")

#: What a task may note: it did its work; it is about to fail; it asked to be run again.
DONE, FAILED, AGAIN = "done", "failed", "again"

#: How often each task noted each word.
Entries = dict[int, Counter[str]]


def note(word: str) -> None:
    """Write down that the current task got this far."""
    descriptor = os.open(LEDGER.get(), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, f"{current_task().id} {word}\n".encode())
    finally:
        os.close(descriptor)


def has_noted(word: str) -> bool:
    """Whether the current task has noted the word before."""
    return read(Path(LEDGER.get())).get(current_task().id, Counter())[word] > 0


def read(path: Path) -> Entries:
    """What every task noted. A line that is being written where a page ends may be seen in part: it comes next time."""
    entries: Entries = {}
    whole_lines = path.read_text().rpartition("\n")[0] if path.exists() else ""
    for line in whole_lines.splitlines():
        task_id, word = line.split()
        entries.setdefault(int(task_id), Counter())[word] += 1
    return entries
