"""Logs are a listener: one line for each thing that went wrong, and none for what goes as it should.

Arguments and results are never logged. Tasks that ask to run again do so quietly.
"""

from __future__ import annotations

import logging

from deferq.model.events import Event, EventName

#: Level and words of each event that is logged.
_TASK_LINES: dict[EventName, tuple[int, str]] = {
    EventName.TASK_FAILED: (logging.WARNING, "failed and will run again"),
    EventName.TASK_DIED: (logging.ERROR, "died"),
    EventName.TASK_PARKED: (logging.WARNING, "is parked: this worker cannot run it"),
    EventName.TASK_QUARANTINED: (logging.WARNING, "runs alone in a fresh process"),
    EventName.TASK_CANCELLED: (logging.INFO, "was cancelled"),
    EventName.TASK_LOST: (logging.WARNING, "is held by another worker now, or has ended; its outcome here was dropped"),
}
_WORKER_LINES: dict[EventName, tuple[int, str]] = {
    EventName.WORKER_STARTED: (logging.INFO, "worker started"),
    EventName.WORKER_STOPPING: (logging.INFO, "worker stopping: it lets running tasks finish"),
    EventName.WORKER_STOPPED: (logging.INFO, "worker stopped"),
    EventName.CHILD_STARTED: (logging.INFO, "a child process is ready"),
    EventName.CHILD_LOST: (logging.ERROR, "a child process is lost"),
    EventName.CHILD_REPLACED: (logging.INFO, "a child process is replaced"),
    EventName.STORE_UNAVAILABLE: (logging.ERROR, "the store is out of reach; trying again"),
    EventName.STORE_RECOVERED: (logging.WARNING, "the store is back"),
}


class LogListener:
    """Writes events to a logger, by default `deferq`."""

    names = frozenset(_TASK_LINES) | frozenset(_WORKER_LINES)

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("deferq")

    def __call__(self, event: Event) -> None:
        if event.name in _TASK_LINES:
            self._task_line(event)
        else:
            level, words = _WORKER_LINES[event.name]
            self._logger.log(level, "%s%s", words, f": {event.detail}" if event.detail else "")

    def _task_line(self, event: Event) -> None:
        level, words = _TASK_LINES[event.name]
        self._logger.log(
            level,
            "task %d %s (queue %s, attempt %d, %.3f s) %s%s%s",
            event.task_id,
            event.target,
            event.queue,
            event.attempt,
            event.duration_s,
            words,
            f": {event.detail}" if event.detail else "",
            f"\n{event.traceback.rstrip()}" if event.traceback else "",
        )
