"""What `deferq status --json` prints. Names that stand here stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deferq.cli.rates import Rate, Window
from deferq.cli.snapshot import Snapshot
from deferq.cli.times import US, utc
from deferq.cli.warning import Warned
from deferq.cli.workers import WorkerSeen
from deferq.engines.base import QueueCounts


def document(seen: Snapshot, warnings: Sequence[Warned]) -> dict[str, Any]:
    """Everything, for programs."""
    counts = seen.counts
    return {
        "store": seen.url,
        "now": utc(counts.now),
        "cap": counts.cap,
        "queues": [_queue(queue, seen) for queue in counts.queues],
        "rates": {_name(window): _rate(window.all) for window in seen.windows},
        "succeeded": counts.succeeded,
        "dead": counts.dead,
        "cancelled": counts.cancelled,
        "log_bytes": seen.log_bytes,
        "workers": [_worker(worker) for worker in seen.workers],
        "warnings": [_warning(warned) for warned in warnings],
    }


def _queue(queue: QueueCounts, seen: Snapshot) -> dict[str, Any]:
    oldest, now = queue.oldest_ready, seen.counts.now
    return {
        "queue": queue.queue,
        "paused": queue.paused,
        "ready": queue.ready,
        "scheduled": queue.scheduled,
        "retrying": queue.retrying,
        "parked": queue.parked,
        "leased": queue.leased,
        "oldest_ready": utc(oldest),
        "oldest_ready_age_s": None if oldest is None else max(0.0, (now - oldest) / US),
        "rates": {_name(window): _rate(window.of(queue.queue)) for window in seen.windows},
    }


def _name(window: Window) -> str:
    return f"{window.minutes}m"


def _rate(rate: Rate) -> dict[str, Any]:
    return {
        "span_s": rate.span_s,
        "attempts": rate.attempts,
        "failures": rate.failures,
        "attempts_per_s": rate.per_s,
        "failures_per_s": rate.failures / rate.span_s,
        "mean_s": rate.mean_s,
        "max_s": rate.max_s,
    }


def _worker(worker: WorkerSeen) -> dict[str, Any]:
    return {
        "key": worker.key,
        "alive": worker.alive,
        "silent_s": worker.silent_s,
        "host": worker.host,
        "pid": worker.pid,
        "queues": worker.queues,
        "route": worker.route,
        "routes": None if worker.routes is None else list(worker.routes),
        "base": worker.base,
        "threads": worker.threads,
        "running": worker.running,
        "abandoned": worker.abandoned,
        "started": utc(worker.started),
        "version": worker.version,
        "children": [child._asdict() for child in worker.children],
    }


def _warning(warned: Warned) -> dict[str, Any]:
    return {
        "code": warned.code,
        "serious": warned.serious,
        "text": warned.text,
        "queue": warned.queue,
        "worker": warned.worker,
    }
