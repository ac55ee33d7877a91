"""List tasks, newest first.

The output ends with the id to pass as --after for the next page, if there is one.
"""

from __future__ import annotations

import argparse
import sys

from deferq.cli.arguments import EXIT_OK, add_json, add_store, count, plain, task_id
from deferq.cli.loading import open_store
from deferq.cli.output import print_json, print_table
from deferq.cli.queues import unused
from deferq.cli.tasks import task_document
from deferq.cli.times import relative
from deferq.engines.base import Filter, LeasingEngine, Page
from deferq.model.state import State
from deferq.model.task import Task
from deferq.suggest import did_you_mean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_json(parser)
    parser.add_argument("--queue", type=plain, metavar="Q")
    parser.add_argument("--state", type=_state, help=", ".join(state.name.lower() for state in State))
    parser.add_argument("--target", type=plain, help="exactly this module:function")
    parser.add_argument("--name", type=plain, help="exactly this name")
    parser.add_argument("--limit", type=count, default=20, metavar="N", help="at most N tasks, by default 20")
    parser.add_argument("--after", type=task_id, metavar="ID", help="tasks older than this one")


def run(args: argparse.Namespace) -> int:
    """Print one page."""
    with open_store(args) as deferq:
        where = Filter(args.queue, args.state, args.target, args.name)
        page = deferq.engine.find(where, after=args.after, limit=args.limit)
        now = deferq.engine.now()
        hints = [] if page.tasks or not args.queue else [*unused([args.queue], _names(deferq.engine))]
    if args.json:
        following = None if page.next_after is None else str(page.next_after)
        print_json({"tasks": [task_document(task, now) for task in page.tasks], "next_after": following})
    else:
        _print_for_people(page, now, hints)
    return EXIT_OK


def _names(engine: LeasingEngine) -> list[str]:
    return [queue.name for queue in engine.queues()]


def _print_for_people(page: Page, now: int, hints: list[str]) -> None:
    if not page.tasks:
        print(" ".join(["No task fits.", *hints]), file=sys.stderr)
        return
    print_table(
        ("id", "state", "queue", "target", ">attempts", "when", "name", "reason"),
        [_row(task, now) for task in page.tasks],
    )
    if page.next_after is not None:
        print(f"\nmore: --after {page.next_after}")


def _row(task: Task, now: int) -> tuple[object, ...]:
    when = relative(task.finished_at or task.leasable_at, now)
    return task.id, task.reading(now), task.queue, task.target, task.attempts, when, task.name, task.reason


def _state(text: str) -> State:
    names = [state.name.lower() for state in State]
    if text.lower() in names:
        return State[text.upper()]
    hint = did_you_mean(text.lower(), names, otherwise=f" There are: {', '.join(names)}.")
    raise argparse.ArgumentTypeError(f"there is no state '{text}'.{hint}")
