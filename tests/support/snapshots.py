"""Snapshots of stores that were never there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deferq.cli.rates import WINDOWS, window
from deferq.cli.snapshot import Snapshot, Waiting
from deferq.cli.workers import WorkerSeen
from deferq.engines.base import Counts, QueueCounts, Total
from deferq.model.limits import Limits

NOW = 1_900_000_000_000_000
MINUTE = 60_000_000


def queue_counts(name: str = "mail", **changed: Any) -> QueueCounts:
    quiet: dict[str, Any] = {"paused": False, "scheduled": 0, "retrying": 0, "parked": 0, "leased": 0}
    return QueueCounts(queue=name, **{**quiet, "ready": 0, "oldest_ready": None, **changed})


def worker_seen(key: str = "00000001", **changed: Any) -> WorkerSeen:
    idle: dict[str, Any] = {"alive": True, "host": "web-7", "pid": 12, "queues": None, "route": None, "threads": 4}
    return WorkerSeen(**{"key": key, **idle, "running": 0, "abandoned": 0, "started": NOW - MINUTE, **changed})


def total(queue: str = "mail", *, attempts: int = 1, failures: int = 0, ago: int = MINUTE // 2) -> Total:
    return Total(NOW - ago, queue, "shop:send", attempts, failures, attempts * 20_000, 30_000)


def snapshot(
    *queues: QueueCounts,
    workers: Iterable[WorkerSeen] = (),
    totals: Iterable[Total] = (),
    waiting: dict[str, Waiting] | None = None,
    limits: dict[str, Limits] | None = None,
    log_bytes: int | None = None,
    cap: int = 10_000,
) -> Snapshot:
    return Snapshot(
        url="sqlite:////srv/jobs.db",
        counts=Counts(now=NOW, queues=queues, succeeded=5, dead=1, cancelled=0, cap=cap),
        workers=tuple(workers),
        windows=tuple(window(list(totals), NOW, minutes) for minutes in WINDOWS),
        waiting=waiting or {},
        limits=limits or {},
        log_bytes=log_bytes,
    )
