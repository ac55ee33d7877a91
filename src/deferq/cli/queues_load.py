"""Bring what an App Engine queue.yaml declares to the store, and say what changes.

Applications read the file by themselves, and no queue waits for this command. It is what deploying the file was: it
also disables queues that a former queue.yaml has declared and this one names no more (their tasks stay, and wait), and
it resumes queues that an operator has paused, if the file says resume_paused_queues: True. Limits that an operator has
set stay.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deferq import stores
from deferq.app import Deferq
from deferq.cli.arguments import EXIT_OK, EXIT_USAGE, add_json, add_store
from deferq.cli.loading import open_store
from deferq.cli.output import plural, print_json, printable
from deferq.cli.queue_changes import QueueChanged, document, line, planned
from deferq.cli.showing import store_line
from deferq.compat.appengine.queueyaml import read
from deferq.errors import QueueYamlError
from deferq.model.settings import QueueSettings

if TYPE_CHECKING:
    from deferq.compat.appengine.queueyaml.reading import QueueYaml

EPILOG = (
    "Exit codes: 0 done, or with --check the file is right; 2 the file has mistakes, wrong usage or configuration, or"
    " the store cannot be used."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_json(parser)
    parser.add_argument("file", metavar="FILE", help="a queue.yaml")
    parser.add_argument("--check", action="store_true", help="say what is wrong, or what would change; write nothing")


def run(args: argparse.Namespace) -> int:
    """Read it, and change what it changes."""
    try:
        said = read(args.file)
    except QueueYamlError as error:
        if not args.json:
            raise
        print_json({"file": args.file, "ok": False, "errors": [_told(*problem) for problem in error.problems]})
        print(f"deferq: {error}", file=sys.stderr)
        return EXIT_USAGE
    with open_store(args, must_exist=False) as deferq:
        changes = planned(said, {**said.queues, **deferq.queues_in_code}, _known(deferq))
        if not args.check and (orders := [(one.name, order) for one in changes for order in one.orders]):
            deferq.engine.change_queues(orders)
        url = store_line(deferq.settings)
    (_print_json if args.json else _print)(args, said, changes, url)
    return EXIT_OK


def _known(deferq: Deferq) -> Sequence[QueueSettings]:
    """The queues of the store; a store that is not there yet is not made for it."""
    path = stores.store_path(deferq.settings)
    return [] if path is not None and not path.exists() else deferq.engine.queues()


def _print(args: argparse.Namespace, said: QueueYaml, changes: Sequence[QueueChanged], url: str) -> None:
    for warning in said.warnings:
        print(printable(f"{args.file}:{warning}"), file=sys.stderr)
    for one in changes:
        print(line(one))
    count = sum(bool(one.orders) for one in changes)
    would = "would be changed" if args.check else "changed"
    print(f"\n{plural(count, 'queue')} {would}, {len(changes) - count} as before, in {url}")


def _print_json(args: argparse.Namespace, said: QueueYaml, changes: Sequence[QueueChanged], url: str) -> None:
    warnings = [_told(*warning) for warning in said.warnings]
    queues = [document(one) for one in changes]
    print_json(
        {"file": args.file, "ok": True, "store": url, "written": not args.check, "queues": queues, "warnings": warnings}
    )


def _told(line: int, column: int, text: str) -> dict[str, object]:
    return {"line": line, "column": column, "text": text}
