"""Wait until a task has ended, and say how."""

from __future__ import annotations

import argparse

from deferq.cli.arguments import add_json, add_store, seconds, task_id
from deferq.cli.loading import open_store
from deferq.cli.output import print_json
from deferq.cli.tasks import task_document
from deferq.cli.waiting import wait_and_report
from deferq.model.task import Task

EPILOG = (
    "Exit codes: 0 it succeeded; 1 it died or was cancelled, or there is no such task; 2 the time is over, or wrong"
    " usage, or the store cannot be read."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_json(parser)
    parser.add_argument("id", metavar="ID", type=task_id)
    parser.add_argument("--timeout", type=seconds, metavar="S", help="seconds; by default as long as it takes")


def run(args: argparse.Namespace) -> int:
    """Wait."""
    with open_store(args) as deferq:

        def show(task: Task) -> None:
            print_json(task_document(task, deferq.engine.now()))

        return wait_and_report(deferq, args.id, args.timeout, show if args.json else None)
