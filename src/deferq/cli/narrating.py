"""What a person at a terminal wants to see of a worker: one line for whatever happens."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import TextIO

from deferq.cli.output import printable
from deferq.cli.times import duration
from deferq.model.events import Event, EventName

_GREEN, _YELLOW, _RED, _DIM = 32, 33, 31, 2
#: Words of each event of a task, with their colour; `{}` is how long the attempt ran.
_TASK_LINES: dict[EventName, tuple[str, int]] = {
    EventName.TASK_STARTED: ("started", _DIM),
    EventName.TASK_SUCCEEDED: ("succeeded in {}", _GREEN),
    EventName.TASK_FAILED: ("failed after {} and will run again", _YELLOW),
    EventName.TASK_RETRIED: ("asked to run again after {}", _YELLOW),
    EventName.TASK_SNOOZED: ("snoozes after {}", _DIM),
    EventName.TASK_PARKED: ("is parked, since this worker cannot run it", _YELLOW),
    EventName.TASK_QUARANTINED: ("runs alone in a fresh process", _YELLOW),
    EventName.TASK_CANCELLED: ("was cancelled", _YELLOW),
    EventName.TASK_DIED: ("died after {}", _RED),
    EventName.TASK_LOST: ("is held by another worker now, or has ended; its outcome here was dropped", _YELLOW),
}
_WORKER_LINES: dict[EventName, tuple[str, int]] = {
    EventName.WORKER_STOPPING: ("stopping: running tasks may finish", _DIM),
    EventName.CHILD_LOST: ("a child process is lost", _RED),
    EventName.CHILD_REPLACED: ("a child process is replaced", _DIM),
    EventName.STORE_UNAVAILABLE: ("the store is out of reach; trying again", _RED),
    EventName.STORE_RECOVERED: ("the store is back", _GREEN),
}
_WITHOUT_DETAIL = {EventName.TASK_STARTED, EventName.TASK_SUCCEEDED}


class Narrator:
    """A listener that writes a line for each event, with the traceback of what failed."""

    names: frozenset[EventName] = frozenset(_TASK_LINES) | frozenset(_WORKER_LINES)

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._coloured = self._out.isatty() and not os.environ.get("NO_COLOR")

    def __call__(self, event: Event) -> None:
        """Write in one go, so that lines of several threads do not mix."""
        self._out.write(f"{datetime.now():%H:%M:%S} {self._line(event)}\n")
        self._out.flush()

    def _line(self, event: Event) -> str:
        if event.name in _WORKER_LINES:
            words, colour = _WORKER_LINES[event.name]
            return self._painted(words, colour) + _detail(event)
        words, colour = _TASK_LINES[event.name]
        attempt = f", attempt {event.attempt}" if event.attempt > 1 else ""
        words = self._painted(words.format(duration(event.duration_s)), colour)
        return f"{printable(event.target)} {words} (task {event.task_id}{attempt}){_detail(event)}"

    def _painted(self, words: str, colour: int) -> str:
        return f"\033[{colour}m{words}\033[0m" if self._coloured else words


def _detail(event: Event) -> str:
    """The traceback if there is one, since it ends with the error; else the error or the reason."""
    if event.traceback:
        return f"\n{printable(event.traceback.rstrip())}"
    return f": {printable(event.detail)}" if event.detail and event.name not in _WITHOUT_DETAIL else ""
