"""Delete every pending task of a queue. Tasks that run already go on, and history stays.

It asks first. Without a terminal to ask on it deletes nothing unless --yes is given.
"""

from __future__ import annotations

import argparse
import sys
import time

from deferq.cli.arguments import EXIT_FAILED, EXIT_OK, CommandError, add_store
from deferq.cli.loading import open_store
from deferq.cli.output import number, plural
from deferq.cli.queues import find
from deferq.engines.base import LeasingEngine

EPILOG = (
    "Exit codes: 0 done; 1 somebody said no; 2 wrong usage or configuration, or the store cannot be used, or there is"
    " no such queue."
)
#: Tasks deleted in one transaction; others write in between.
_BATCH = 1_000
#: Seconds between two lines about how far it is.
_SAY_EVERY_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    parser.add_argument("queue", metavar="QUEUE")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """Ask, and delete them."""
    with open_store(args) as deferq:
        find(deferq, [args.queue])
        if not args.yes and not _confirmed(deferq.engine, args.queue):
            print("Nothing was deleted.", file=sys.stderr)
            return EXIT_FAILED
        print(f"{args.queue}: {plural(_purge(deferq.engine, args.queue), 'pending task')} deleted")
    return EXIT_OK


def _confirmed(engine: LeasingEngine, queue: str) -> bool:
    if not sys.stdin.isatty():
        raise CommandError(f"queues purge deletes every pending task of queue {queue}. Say --yes if that is meant.")
    print(f"Delete {_pending(engine, queue)} of queue {queue}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _pending(engine: LeasingEngine, queue: str) -> str:
    counts = engine.counts()
    for one in counts.queues:
        if one.queue == queue:
            pending = min(counts.cap, one.ready + one.scheduled + one.retrying + one.parked)
            return "1 pending task" if pending == 1 else f"{number(pending, counts.cap)} pending tasks"
    return "every pending task"


def _purge(engine: LeasingEngine, queue: str) -> int:
    """Batch by batch, to the first that is not full: a queue that is being filled meanwhile would never be empty."""
    deleted, say_at = 0, time.monotonic() + _SAY_EVERY_S
    while True:
        batch = engine.purge(queue, limit=_BATCH)
        deleted += batch
        if batch < _BATCH:
            return deleted
        if time.monotonic() >= say_at:
            print(f"{deleted:,} deleted", file=sys.stderr, flush=True)
            say_at = time.monotonic() + _SAY_EVERY_S
