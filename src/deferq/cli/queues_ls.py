"""List the queues: what waits in each, its limits, and what is declared for its tasks.

Limits marked with (set) are an operator's, and win over what the application declares. Counts stop at 10,000 and are
then printed as 10,000+.
"""

from __future__ import annotations

import argparse
import sys

from deferq.cli.arguments import EXIT_OK, add_json, add_store
from deferq.cli.loading import open_store
from deferq.cli.output import number, print_json, print_table
from deferq.cli.queues import limit_cell, limits_document, retry_text
from deferq.engines.base import Counts, QueueCounts
from deferq.model.limits import FIELDS
from deferq.model.settings import QueueSettings

_COUNTS = ("ready", "scheduled", "retrying", "parked", "leased")
_ABOUT = ("retry", "route", "mode")
Pair = tuple[QueueSettings, QueueCounts]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print them by name."""
    with open_store(args) as deferq:
        settings = {queue.name: queue for queue in deferq.engine.queues()}
        counts = deferq.engine.counts()
    pairs = [(settings[queue.queue], queue) for queue in counts.queues if queue.queue in settings]
    if args.json:
        print_json({"cap": counts.cap, "queues": [_document(*pair) for pair in pairs]})
    else:
        _print_for_people(pairs, counts)
    return EXIT_OK


def _document(queue: QueueSettings, counts: QueueCounts) -> dict[str, object]:
    numbers = {name: getattr(counts, name) for name in _COUNTS}
    return {"queue": queue.name, "paused": queue.paused, **numbers, **limits_document(queue)}


def _print_for_people(pairs: list[Pair], counts: Counts) -> None:
    if not pairs:
        print("No queue has been used yet.", file=sys.stderr)
        return
    print_table(
        ("queue", *(f">{name}" for name in _COUNTS), *(f">{field.replace('_', ' ')}" for field in FIELDS), *_ABOUT, ""),
        [_row(*pair, counts.cap) for pair in pairs],
    )
    if any(queue.chosen for queue, _ in pairs):
        print("\n(set): by an operator; 'deferq queues reset QUEUE' brings back what is declared")


def _row(queue: QueueSettings, counts: QueueCounts, cap: int) -> tuple[object, ...]:
    numbers = (number(getattr(counts, name), cap) for name in _COUNTS)
    limits = (limit_cell(queue, field) for field in FIELDS)
    about = (retry_text(queue.declared.retry), queue.declared.route, "pull" if queue.declared.pull else "")
    return (queue.name, *numbers, *limits, *about, "paused" if queue.paused else "")
