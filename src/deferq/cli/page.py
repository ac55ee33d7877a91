"""The page that `deferq status` shows to people: lines that fit a terminal, and are plain text without one."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from deferq.cli.columns import Column, shortened, table
from deferq.cli.output import number, printable
from deferq.cli.rates import Rate, Window
from deferq.cli.snapshot import Snapshot
from deferq.cli.times import US, duration, local
from deferq.cli.warning import Warned, waited
from deferq.cli.workers import ChildSeen, WorkerSeen
from deferq.engines.base import QueueCounts

_LABEL = 9
#: Lines that each part of a page has at least.
_SHARE_MIN = 3
_QUEUES_WIDTH = 24


class Style(StrEnum):
    """What a line is, for whoever colours it."""

    PLAIN = ""
    HEADING = "bold"
    QUIET = "dim"
    SERIOUS = "red"
    NOTE = "yellow"


class Line(NamedTuple):
    """One line of a page."""

    text: str
    style: Style = Style.PLAIN


def page(seen: Snapshot, warnings: Sequence[Warned], *, width: int, height: int | None = None) -> list[Line]:
    """All lines. With a `height` warnings and workers have a third each of what the heading leaves."""
    top = _heading(seen, width)
    share = None if height is None else max(_SHARE_MIN, (height - len(top)) // 3)
    top += [*_cut(_warnings(warnings, width), share), Line("")]
    workers = _workers(seen, width, share)
    room = None if height is None else max(_SHARE_MIN, height - len(top) - len(workers))
    return [*top, *_queues(seen, width, room), *workers][:height]


def _heading(seen: Snapshot, width: int) -> list[Line]:
    counts = seen.counts
    gone = len(seen.workers) - len(seen.alive)
    workers = f"{len(seen.alive)} alive" + (f", {gone} gone without a word" if gone else "")
    ended = ((counts.succeeded, "succeeded"), (counts.dead, "dead"), (counts.cancelled, "cancelled"))
    history = ", ".join(f"{number(value, counts.cap)} {state}" for value, state in ended)
    fields = [("store", seen.url), ("time", local(counts.now)), ("workers", workers), ("history", history)]
    fields += [(_ago(window), _rate_line(window.all)) for window in seen.windows if seen.windows[-1].all.attempts]
    return [Line(shortened(f"{name:<{_LABEL}}{printable(value)}", width)) for name, value in fields]


def _ago(window: Window) -> str:
    return f"{window.minutes} min"


def _rate_line(rate: Rate) -> str:
    if not rate.attempts:
        return "no attempts"
    times = f"mean {duration(rate.mean_s or 0)}, longest {duration(rate.max_s or 0)}"
    return f"{per_s(rate.per_s)}, {rate.failed_share:.1%} failed, {times}"


def per_s(rate: float) -> str:
    """`12.3/s`; what is slower than that by the minute."""
    if rate < 1:
        return f"{rate * 60:.1f}/min" if rate * 60 < 10 else f"{rate * 60:.0f}/min"
    return f"{rate:.1f}/s" if rate < 100 else f"{rate:,.0f}/s"


def _warnings(warnings: Sequence[Warned], width: int) -> list[Line]:
    lines = [Line("")] if warnings else []
    for warned in warnings:
        label, style = ("warning", Style.SERIOUS) if warned.serious else ("note", Style.NOTE)
        lines += labelled(label, warned.text, style, width)
    return lines


def labelled(label: str, text: str, style: Style, width: int) -> list[Line]:
    """A paragraph beside its label."""
    wrapped = textwrap.wrap(printable(text), max(20, width - _LABEL), break_on_hyphens=False)
    return [Line(f"{label if nth == 0 else '':<{_LABEL}}{text}", style) for nth, text in enumerate(wrapped)]


# ---- queues


def _queues(seen: Snapshot, width: int, room: int | None) -> list[Line]:
    queues = seen.counts.queues
    if not queues:
        return [Line("No queue has been used yet.", Style.QUIET)]
    shown = queues if room is None or len(queues) < room else _busiest(seen, room - 2)
    heading, *rows = table(_queue_columns(seen, shown), width)
    lines = [Line(heading, Style.HEADING), *map(Line, rows)]
    if len(shown) < len(queues):
        lines.append(Line(f"... and {len(queues) - len(shown)} queues with less to do", Style.QUIET))
    return lines


def _busiest(seen: Snapshot, room: int) -> list[QueueCounts]:
    """Those with most to do, in the order in which all stand."""
    rates = seen.windows[-1]

    def weight(queue: QueueCounts) -> tuple[int, int]:
        return queue.ready + queue.leased + queue.parked, rates.of(queue.queue).attempts

    first = sorted(seen.counts.queues, key=weight, reverse=True)[:room]
    return [queue for queue in seen.counts.queues if queue in first]


def _queue_columns(seen: Snapshot, queues: Sequence[QueueCounts]) -> list[Column]:
    cap = seen.counts.cap
    rates = [seen.windows[0].of(queue.queue) for queue in queues]
    return [
        Column("QUEUE", [queue.queue for queue in queues], right=False),
        Column("READY", [number(queue.ready, cap) for queue in queues]),
        Column("LEASED", [number(queue.leased, cap) for queue in queues]),
        Column("SCHEDULED", [_some(queue.scheduled, cap) for queue in queues], spare=3),
        Column("RETRYING", [_some(queue.retrying, cap) for queue in queues], spare=2),
        Column("PARKED", [_some(queue.parked, cap) for queue in queues]),
        Column("OLDEST", [_oldest(queue, seen) for queue in queues]),
        Column("RATE", [per_s(rate.per_s) if rate.attempts else "" for rate in rates]),
        Column("FAILED", [_some(rate.failures) for rate in rates], spare=1),
        Column("MEAN", [_time(rate.mean_s) for rate in rates], spare=4),
        Column("LONGEST", [_time(rate.max_s) for rate in rates], spare=5),
        Column("", ["paused" if queue.paused else "" for queue in queues], right=False),
    ]


def _some(count: int, cap: int | None = None) -> str:
    """Zeros would be noise."""
    return number(count, cap) if count else ""


def _oldest(queue: QueueCounts, seen: Snapshot) -> str:
    return "" if queue.oldest_ready is None else _time(waited(queue, seen.counts.now))


def _time(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


# ---- workers


def _workers(seen: Snapshot, width: int, room: int | None) -> list[Line]:
    """Those alive first. Children are left out if there is no room for them all."""
    if not seen.workers:
        return []
    workers = sorted(seen.workers, key=lambda worker: not worker.alive)
    rows = list(chain.from_iterable(map(_with_children, workers)))
    if room is not None and len(rows) + 2 > room:
        rows = list(workers)
    cells = [_child_row(one) if isinstance(one, ChildSeen) else _worker_row(one, seen.counts.now) for one in rows]
    heading, *lines = table(_worker_columns(cells), width)
    styled = [Line(text, _style(one)) for text, one in zip(lines, rows, strict=True)]
    return _cut([Line(""), Line(heading, Style.HEADING), *styled], room)


def _worker_columns(cells: Sequence[Sequence[str]]) -> list[Column]:
    names = ("WORKER", "PID", "STATE", "RUNNING", "THREADS", "HELD", "TASKS", "MEMORY", "UP", "ROUTE", "QUEUES")
    spare = (0, 0, 0, 0, 5, 0, 4, 3, 2, 0, 1)
    left = {"WORKER", "STATE", "ROUTE", "QUEUES"}
    return [
        Column(name, [printable(row[place]) for row in cells], right=name not in left, spare=spare[place])
        for place, name in enumerate(names)
    ]


def _with_children(worker: WorkerSeen) -> list[WorkerSeen | ChildSeen]:
    return [worker, *worker.children]


def _worker_row(worker: WorkerSeen, now: int) -> tuple[str, ...]:
    up = duration(max(0.0, (now - worker.started) / US)) if worker.started and worker.alive else ""
    return (
        worker.host or worker.key,
        _text(worker.pid),
        "alive" if worker.alive else f"gone for {duration(worker.silent_s)}",
        _text(worker.running) if worker.alive else "",
        _text(worker.threads),
        _some(worker.abandoned),
        "",
        "",
        up,
        _route(worker),
        "all" if worker.queues is None else shortened(", ".join(worker.queues), _QUEUES_WIDTH),
    )


def _route(worker: WorkerSeen) -> str:
    """What it serves; and where it pushes that, if it does."""
    if worker.base is None:
        return worker.route or ""
    routes = ", ".join(route or "none" for route in worker.routes or ())
    return f"{routes} -> {worker.base}" if routes else f"-> {worker.base}"


def _child_row(child: ChildSeen) -> tuple[str, ...]:
    memory = f"{child.rss / 1024 / 1024:,.0f} MiB" if child.rss else ""
    return (
        "  child",
        _text(child.pid),
        child.state,
        _text(child.running),
        "",
        "",
        number(child.tasks),
        memory,
        "",
        "",
        "",
    )


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _style(one: WorkerSeen | ChildSeen) -> Style:
    if isinstance(one, ChildSeen):
        return Style.NOTE if one.state == "stuck" else Style.QUIET
    return Style.PLAIN if one.alive else Style.QUIET


def _cut(lines: list[Line], most: int | None) -> list[Line]:
    if most is None or len(lines) <= most:
        return lines
    return [*lines[: most - 1], Line(f"... and {len(lines) - most + 1} lines more", Style.QUIET)]
