"""Put dead or cancelled tasks back: due now, with all their attempts before them."""

from __future__ import annotations

import argparse

from deferq.cli.arguments import EXIT_OK, CommandError, add_ids, add_store
from deferq.cli.loading import open_store
from deferq.cli.output import plural
from deferq.cli.queues import find
from deferq.cli.tasks import report_changed
from deferq.engines.base import Filter, LeasingEngine
from deferq.model.state import State

_PAGE = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_ids(parser, nargs="*")
    parser.add_argument("--all-dead", action="store_true", help="every dead task instead of single ones")
    parser.add_argument("--queue", metavar="Q", help="with --all-dead: those of one queue")


def run(args: argparse.Namespace) -> int:
    """Requeue those that were named, or all dead ones."""
    _check(args)
    with open_store(args) as deferq:
        if args.all_dead:
            if args.queue:
                find(deferq, [args.queue])
            print(f"{plural(_requeue_all_dead(deferq.engine, args.queue), 'task')} requeued")
            return EXIT_OK
        changed = deferq.engine.requeue(args.ids)
        return report_changed(deferq.engine, args.ids, changed, "requeued", "dead and cancelled")


def _check(args: argparse.Namespace) -> None:
    if args.all_dead == bool(args.ids):
        raise CommandError("tasks requeue takes ids of tasks, or --all-dead: one of the two.")
    if args.queue and not args.all_dead:
        raise CommandError("tasks requeue: --queue goes with --all-dead; a task has one queue anyway.")


def _requeue_all_dead(engine: LeasingEngine, queue: str | None) -> int:
    """Page by page, each in one transaction."""
    requeued, after = 0, None
    while True:
        page = engine.find(Filter(queue=queue, state=State.DEAD), after=after, limit=_PAGE)
        requeued += len(engine.requeue([task.id for task in page.tasks]))
        after = page.next_after
        if after is None:
            return requeued
