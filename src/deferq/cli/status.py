"""What waits in each queue, what runs, and who works.

Exit codes make it a probe: 0 all is well; 1 something is wrong, and the warnings say what; 2 the store cannot be read.
Counts stop at 10,000 and are then printed as 10,000+.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from typing import Any

from deferq.cli.arguments import EXIT_FAILED, EXIT_OK, add_json, add_store, seconds
from deferq.cli.loading import open_store
from deferq.cli.output import number, plural, print_json, print_table
from deferq.cli.times import US, duration, local, relative, utc
from deferq.cli.workers import WorkerSeen, workers
from deferq.engines.base import Counts, LeasingEngine, QueueCounts

EPILOG = "Exit codes: 0 all is well; 1 there are warnings; 2 the store cannot be read, or wrong usage."
WATCH_S = 2.0
_CLEAR = "\033[H\033[2J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_json(parser)
    parser.add_argument(
        "--watch", "-w", metavar="S", nargs="?", type=seconds, const=WATCH_S, help="again every S seconds, by default 2"
    )


def run(args: argparse.Namespace) -> int:
    """Print it once, or again and again."""
    with open_store(args) as deferq:
        while True:
            warned = _print_status(deferq.engine, args)
            if args.watch is None:
                return EXIT_FAILED if warned else EXIT_OK
            sys.stdout.flush()
            time.sleep(args.watch)


def _print_status(engine: LeasingEngine, args: argparse.Namespace) -> bool:
    """Whether there was anything to warn of."""
    counts = engine.counts()
    seen = workers(engine)
    warnings = warnings_of(counts, seen)
    if args.json:
        indent = None if args.watch is not None else 2
        print_json(_document(engine.url, counts, seen, warnings), indent=indent)
    else:
        if args.watch is not None and sys.stdout.isatty():
            print(_CLEAR, end="")
        _print_for_people(engine.url, counts, seen, warnings)
    return bool(warnings)


def warnings_of(counts: Counts, seen: Iterable[WorkerSeen]) -> list[str]:
    """What somebody should do something about."""
    alive = [worker for worker in seen if worker.alive]
    warnings = []
    for queue in counts.queues:
        served = any(worker.serves(queue.queue) for worker in alive)
        if queue.ready and not queue.paused and not served:
            tasks = "1 task waits" if queue.ready == 1 else f"{number(queue.ready, counts.cap)} tasks wait"
            warnings.append(f"{tasks} in queue {queue.queue} and no worker serves it; start one with: deferq worker")
        if queue.leased and not served:
            tasks = "1 task was" if queue.leased == 1 else f"{number(queue.leased, counts.cap)} tasks were"
            warnings.append(
                f"{tasks} left behind in queue {queue.queue} by a worker that is gone; start one with: deferq worker"
            )
        if queue.parked:
            tasks = "1 task is" if queue.parked == 1 else f"{number(queue.parked, counts.cap)} tasks are"
            warnings.append(
                f"{tasks} parked in queue {queue.queue}: no worker can run them; 'deferq tasks show ID' says why"
            )
    warnings += [
        f"worker {worker.key} has given up {plural(worker.abandoned, 'thread')} that ran past a timeout; restart it"
        for worker in alive
        if worker.abandoned
    ]
    return warnings


# ---- for people


def _print_for_people(url: str, counts: Counts, seen: list[WorkerSeen], warnings: list[str]) -> None:
    cap = counts.cap
    print(f"store    {url}")
    print(f"workers  {_workers_line(seen)}")
    print(
        f"history  {number(counts.succeeded, cap)} succeeded, {number(counts.dead, cap)} dead,"
        f" {number(counts.cancelled, cap)} cancelled\n"
    )
    if counts.queues:
        print_table(
            ("queue", ">ready", ">scheduled", ">retrying", ">parked", ">leased", "oldest ready", ""),
            [_queue_row(queue, counts) for queue in counts.queues],
        )
    else:
        print("No queue has been used yet.")
    if any(worker.alive for worker in seen):
        print()
        print_table(
            ("worker", "host", ">pid", "queues", "route", ">threads", ">running", "since"),
            [_worker_row(worker, counts.now) for worker in seen if worker.alive],
        )
    for warning in warnings:
        print(f"\nwarning: {warning}")


def _workers_line(seen: list[WorkerSeen]) -> str:
    alive = sum(worker.alive for worker in seen)
    gone = len(seen) - alive
    return f"{alive} alive" + (f", {gone} gone without a word" if gone else "")


def _queue_row(queue: QueueCounts, counts: Counts) -> tuple[object, ...]:
    numbers = (queue.ready, queue.scheduled, queue.retrying, queue.parked, queue.leased)
    oldest = "" if queue.oldest_ready is None else duration(max(0.0, (counts.now - queue.oldest_ready) / US))
    return (queue.queue, *(number(n, counts.cap) for n in numbers), oldest, "paused" if queue.paused else "")


def _worker_row(worker: WorkerSeen, now: int) -> tuple[object, ...]:
    queues = "all" if worker.queues is None else ", ".join(worker.queues)
    since = f"{local(worker.started)} ({relative(worker.started, now)})" if worker.started else ""
    return worker.key, worker.host, worker.pid, queues, worker.route, worker.threads, worker.running, since


# ---- for programs


def _document(url: str, counts: Counts, seen: list[WorkerSeen], warnings: list[str]) -> dict[str, Any]:
    return {
        "store": url,
        "now": utc(counts.now),
        "cap": counts.cap,
        "queues": [_queue_document(queue, counts.now) for queue in counts.queues],
        "succeeded": counts.succeeded,
        "dead": counts.dead,
        "cancelled": counts.cancelled,
        "workers": [_worker_document(worker) for worker in seen],
        "warnings": warnings,
    }


def _queue_document(queue: QueueCounts, now: int) -> dict[str, Any]:
    oldest = queue.oldest_ready
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
    }


def _worker_document(worker: WorkerSeen) -> dict[str, Any]:
    return {
        "key": worker.key,
        "alive": worker.alive,
        "host": worker.host,
        "pid": worker.pid,
        "queues": worker.queues,
        "route": worker.route,
        "threads": worker.threads,
        "running": worker.running,
        "abandoned": worker.abandoned,
        "started": utc(worker.started),
    }
