"""Set limits of a queue. They win over what the application declares, until they are reset.

They hold for all workers together, and at once. The word none means: no limit. Limits that are not named stay as they
are.
"""

from __future__ import annotations

import argparse

from deferq.cli.arguments import EXIT_OK, CommandError, add_store
from deferq.cli.loading import open_store
from deferq.cli.queues import add_new, find, limits_line
from deferq.model.limits import Limit
from deferq.model.settings import QueueSettings, SetLimits, changed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    parser.add_argument("queue", metavar="QUEUE")
    parser.add_argument(
        "--rate", type=_text, metavar="R", help="so many starts in a time: 5/s, 0.5/s, 100/m, 10/h, 1/d"
    )
    parser.add_argument("--bucket-size", type=_number, metavar="N", help="how many may start at once after a pause")
    parser.add_argument("--max-concurrent", type=_number, metavar="N", help="how many may run at a time")
    add_new(parser)
    parser.set_defaults(rate=_NOT_GIVEN, bucket_size=_NOT_GIVEN, max_concurrent=_NOT_GIVEN)


def run(args: argparse.Namespace) -> int:
    """Set them, and say what holds."""
    given = {"rate": args.rate, "bucket_size": args.bucket_size, "max_concurrent": args.max_concurrent}
    chosen = {field: value for field, value in given.items() if value is not _NOT_GIVEN}
    if not chosen:
        raise CommandError("queues set takes at least one of --rate, --bucket-size and --max-concurrent.")
    with open_store(args) as deferq:
        (queue,) = find(deferq, [args.queue], new=args.new)
        _check(queue, chosen)
        (queue,) = deferq.engine.change_queues([(args.queue, SetLimits(chosen))])
    print(limits_line(queue))
    return EXIT_OK


_NOT_GIVEN = object()


def _check(queue: QueueSettings, chosen: dict[str, Limit]) -> None:
    if chosen.get("bucket_size") is not None and changed(queue, SetLimits(chosen)).limits.rate is None:
        raise CommandError(f"--bucket-size goes with a rate, and queue {queue.name} has none. Give --rate, too.")


def _text(word: str) -> str | None:
    return None if word == "none" else word


def _number(word: str) -> int | None:
    if word == "none":
        return None
    if word.isascii() and word.isdigit():
        return int(word)
    raise argparse.ArgumentTypeError(f"'{word}' is neither a whole number nor none")
