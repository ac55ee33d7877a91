"""What waits in each queue, what runs, how fast, who works, and what is wrong.

Exit codes make it a probe: 0 all is well; 1 work stands still, and the warnings say why; 2 the store cannot be read.
What is called a note does not count. Counts stop at 10,000 and are then printed as 10,000+. Rates are those of
attempts that have ended.

With --watch a terminal is redrawn until Ctrl-C; elsewhere, or with --json, one line is printed each time. A store that
is out of reach is asked again.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time

from deferq.cli.arguments import EXIT_FAILED, EXIT_OK, add_json, add_store, seconds
from deferq.cli.document import document
from deferq.cli.loading import open_store
from deferq.cli.output import print_json
from deferq.cli.page import page
from deferq.cli.screen import print_page, size
from deferq.cli.snapshot import Snapshot, take
from deferq.cli.warning import warnings_of
from deferq.engines.base import LeasingEngine

EPILOG = (
    "Exit codes: 0 all is well, or --watch was ended by Ctrl-C; 1 there are serious warnings (with --here: no worker of"
    " this machine is alive); 2 the store cannot be read, or wrong usage."
)
WATCH_S = 2.0
#: The width of what is no terminal: there nothing is shortened, and a warning is one line.
WIDE = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_json(parser)
    parser.add_argument(
        "--watch", "-w", metavar="S", nargs="?", type=seconds, const=WATCH_S, help="again every S seconds, by default 2"
    )
    parser.add_argument(
        "--here", action="store_true", help="exit code 0 if a worker of this machine is alive, whatever the tasks do"
    )


def run(args: argparse.Namespace) -> int:
    """Print it once, or again and again."""
    with open_store(args) as deferq:
        if args.watch is not None:
            from deferq.cli.looking import watch

            return watch(deferq.engine, args.watch, as_json=args.json, pause=time.sleep)
        return _once(deferq.engine, args)


def _once(engine: LeasingEngine, args: argparse.Namespace) -> int:
    seen = take(engine)
    warnings = warnings_of(seen)
    if args.json:
        print_json(document(seen, warnings))
    else:
        print_page(page(seen, warnings, width=size()[0] if sys.stdout.isatty() else WIDE))
    wrong = not _works_here(seen) if args.here else any(warned.serious for warned in warnings)
    return EXIT_FAILED if wrong else EXIT_OK


def _works_here(seen: Snapshot) -> bool:
    return any(worker.host == socket.gethostname() for worker in seen.alive)
