"""The workers of a store, as their records show them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from deferq.cli.times import US
from deferq.engines.base import Record
from deferq.runtime.dispatcher import BEAT_EVERY_S
from deferq.runtime.pulse import BEATS_MISSED_MAX, KIND

T = TypeVar("T")

_PAGE = 100


class HasRecords(Protocol):
    """A store, as far as its workers are concerned."""

    def now(self) -> int: ...
    def records(self, kind: str, *, after: str | None = None, limit: int = 100) -> list[Record]: ...


class ChildSeen(NamedTuple):
    """What a worker has said about one of its children."""

    pid: int | None
    #: `starting`, `running`, `retiring` or `stuck`.
    state: str
    #: Tasks it runs.
    running: int
    #: Tasks it has run.
    tasks: int
    #: Its memory in bytes.
    rss: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSeen:
    """What one worker has said about itself."""

    key: str
    #: Whether it has kept saying so.
    alive: bool
    host: str
    pid: int | None
    #: None: all.
    queues: list[str] | None
    route: str | None
    threads: int | None
    running: int
    #: Threads that run past the timeout of their task.
    abandoned: int
    started: int | None
    #: Seconds since its last word.
    silent_s: float = 0.0
    children: tuple[ChildSeen, ...] = ()
    #: The release of deferq that it runs; None: it has not said so.
    version: str | None = None
    #: When the record runs out (microseconds since the epoch, UTC).
    due: int | None = None
    #: Whether it delivers tasks with an url of their own; None: it has not said so.
    delivers: bool | None = None
    #: Where it pushes tasks; None: it runs them.
    base: str | None = None
    #: The routes that it pushes, None among them for tasks without one; None: as `route` says.
    pushed: tuple[str | None, ...] | None = None
    #: Whether the base did not answer its pusher, or asked it to slow down.
    in_trouble: bool = False

    @property
    def routes(self) -> tuple[str | None, ...] | None:
        """The routes that it serves, None among them for tasks without one; None: every task."""
        return self.pushed if self.pushed or self.route is None else (None, self.route)

    def serves(self, queue: str) -> bool:
        """Whether it takes tasks of this queue."""
        return self.queues is None or queue in self.queues

    def takes(self, route: str | None) -> bool:
        """Whether it takes tasks of this route; None: those without one."""
        return self.routes is None or route in self.routes


def workers(engine: HasRecords) -> list[WorkerSeen]:
    """Every worker with a record; those that are gone without a word too, until somebody removes it."""
    now = engine.now()
    return [_seen(record, now) for record in _records(engine)]


def _records(engine: HasRecords) -> Iterator[Record]:
    after: str | None = None
    while page := engine.records(KIND, after=after, limit=_PAGE):
        yield from page
        after = page[-1].key


def _seen(record: Record, now: int) -> WorkerSeen:
    said = _read(record.document)
    queues, pushed = _said(said, "queues", list), _said(said, "routes", list)
    return WorkerSeen(
        key=record.key,
        alive=record.due is not None and record.due > now,
        host=_said(said, "host", str) or "",
        pid=_said(said, "pid", int),
        queues=None if queues is None else [str(queue) for queue in queues],
        route=_said(said, "route", str),
        threads=_said(said, "threads", int),
        running=_said(said, "running", int) or 0,
        abandoned=_said(said, "abandoned", int) or 0,
        started=_said(said, "started", int),
        silent_s=_silent_s(record, now),
        children=tuple(_child(one) for one in _said(said, "children", list) or () if isinstance(one, dict)),
        version=_said(said, "version", str),
        due=record.due,
        delivers=_said(said, "delivers", bool),
        base=_said(said, "base", str),
        pushed=None if pushed is None else tuple(None if route is None else str(route) for route in pushed),
        in_trouble=_said(said, "in_trouble", bool) or False,
    )


def _silent_s(record: Record, now: int) -> float:
    """A record is due when so many beats are missing."""
    return 0.0 if record.due is None else max(0.0, (now - record.due) / US + BEATS_MISSED_MAX * BEAT_EVERY_S)


def _child(said: dict[str, Any]) -> ChildSeen:
    running, tasks, rss = (_said(said, name, int) or 0 for name in ("running", "tasks", "rss"))
    return ChildSeen(_said(said, "pid", int), _said(said, "state", str) or "", running, tasks, rss)


def _said(said: dict[str, Any], name: str, kind: type[T]) -> T | None:
    """What stands there under a name; None if another release means something else by it."""
    value = said.get(name)
    return value if isinstance(value, kind) else None


def _read(text: str) -> dict[str, Any]:
    """The document; an empty one if another release wrote something else."""
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
