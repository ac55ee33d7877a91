"""Run tasks while you write them: a worker that starts anew whenever the source changes.

APP is what to import: a file (hello.py), a module (shop.tasks) or module:name, where name may be a Deferq to use.
Without one the setting `app` decides. What tasks print appears at once.

Ctrl-C stops it; running tasks have two seconds to finish. SIGUSR1 prints what each thread of the worker is doing.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from deferq.cli.arguments import EXIT_OK, add_url, count

if TYPE_CHECKING:  # the process that watches needs none of it
    from deferq.cli.loading import Loaded
    from deferq.runtime.worker import Worker

DRAIN_S = 2.0
#: Short, so that a task that a restart has cut off comes back soon.
LEASE_S = 30.0
EPILOG = (
    "Exit codes: 0 stopped; 2 wrong usage or configuration, or (with --no-reload) the application cannot be imported or"
    " the store cannot be used; 130 or 143 ended by a second signal."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    parser.add_argument("app", metavar="APP", nargs="?", help="file, module or module:name to import")
    add_url(parser)
    parser.add_argument("--threads", type=count, help="how many plain functions run at the same time")
    parser.add_argument("--no-reload", action="store_true", help="do not watch the source")
    # What the watching process tells the worker it starts: a pipe that ends when it does, and whether it is a restart.
    parser.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--again", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Watch and restart, or be the worker that is restarted."""
    if args.no_reload or args.lifeline is not None:
        return _work(args)
    from deferq.cli.reloading import Reloader

    return Reloader(_worker_arguments(args), args.app, DRAIN_S).run()


def _worker_arguments(args: argparse.Namespace) -> list[str]:
    given = ["dev", *([args.app] if args.app else [])]
    for option, value in (("--url", args.url), ("--threads", args.threads)):
        given += [option, str(value)] if value is not None else []
    return given


def _work(args: argparse.Namespace) -> int:
    from deferq.cli.loading import load
    from deferq.cli.narrating import Narrator
    from deferq.cli.stopping import Stopping, end_soon
    from deferq.cli.worker import work

    stopping = Stopping()
    loaded = load(args.app, args.url)
    config = {"threads": args.threads, "drain_s": DRAIN_S, "lease_s": LEASE_S}
    with loaded.deferq:
        worker = loaded.deferq.worker(listeners=[Narrator(), *loaded.deferq.listeners], **config)
        _announce(args, loaded, worker)
        work(worker, stopping, args.lifeline)
        end_soon(EXIT_OK)
    return EXIT_OK


def _announce(args: argparse.Namespace, loaded: Loaded, worker: Worker) -> None:
    from deferq.cli.worker import print_banner

    if args.again:
        print("reloaded", file=sys.stderr, flush=True)
    else:
        print_banner("dev", loaded, worker, ("reload", "off" if args.lifeline is None else "when the source changes"))
