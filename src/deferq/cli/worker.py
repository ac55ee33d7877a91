"""Run tasks until a signal says stop.

APP is what to import first: a file (hello.py), a module (shop.tasks) or module:name, where name may be a Deferq to use,
or a WSGI or ASGI application, to which tasks with an url are delivered.
Without one the setting `app` decides; without that either, modules are imported when a task needs them.

Tasks run in child processes; this process leases for them, and imports nothing of the application. More children than
one are for tasks that compute; for tasks that wait, threads and coroutines are cheaper. A child that dies is replaced,
and what it had not started is given back at once.

SIGTERM or SIGINT (Ctrl-C): no new tasks; those that have not started are given back, running ones may finish within
the drain time, and are killed then. A second signal ends all processes at once, with exit code 143 or 130.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deferq import stores
from deferq.cli.arguments import EXIT_FAILED, EXIT_OK, EXIT_USAGE, MEGABYTE, add_url, count, megabytes, seconds
from deferq.cli.queues import unused
from deferq.config import Settings
from deferq.engines.base import LeasingEngine, Retention
from deferq.runtime.children.nursery import Household
from deferq.runtime.config import WorkerConfig
from deferq.runtime.janitor import Janitor

if TYPE_CHECKING:
    from deferq.cli.parent import Application

#: The most the janitor does at the end of `--once`.
SLICES_MAX = 100
EPILOG = (
    "Exit codes: 0 stopped as asked, or done (--once); 1 the worker failed; 2 wrong usage or configuration, the"
    " application cannot be imported, or the store cannot be used; 130 or 143 ended by a second signal."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    parser.add_argument("app", metavar="APP", nargs="?", help="file, module or module:name to import")
    add_url(parser)
    parser.add_argument("--children", type=count, help="how many child processes run tasks; by default 1")
    parser.add_argument("--threads", type=count, help="how many plain functions a child runs at the same time")
    parser.add_argument("--async-slots", type=count, help="how many coroutines a child runs at the same time")
    parser.add_argument(
        "--queue", action="append", metavar="Q", dest="queues", help="serve this queue; may be repeated"
    )
    parser.add_argument("--route", help="serve this route and tasks without one; by default every route")
    parser.add_argument("--drain-s", type=seconds, metavar="S", help="how long running tasks may go on when stopping")
    parser.add_argument("--max-tasks", type=count, metavar="N", help="replace a child after so many tasks")
    parser.add_argument("--max-rss", type=megabytes, metavar="MB", help="replace a child that takes more memory")
    parser.add_argument(
        "--quarantine-memory", type=megabytes, metavar="MB", help="how much memory a task in quarantine may take"
    )
    parser.add_argument("--once", action="store_true", help="run what is due now, then exit")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each task that starts or succeeds")
    parser.add_argument("--child", help=argparse.SUPPRESS)  # what a parent tells its child: see spawning.py


def run(args: argparse.Namespace) -> int:
    """Work until stopped, or be one of the children."""
    if args.child is not None:
        from deferq.cli.child import be_child

        return be_child(args)
    return _be_parent(args)


def _be_parent(args: argparse.Namespace) -> int:
    from deferq.cli.narrating import Narrator
    from deferq.cli.notifying import service_listeners
    from deferq.cli.parent import first_application, new_nursery, new_parent, print_banner
    from deferq.cli.stopping import Stopping
    from deferq.cli.streams import log_to_stderr
    from deferq.runtime.logs import LogListener

    log_to_stderr()
    given = {"threads": args.threads, "async_slots": args.async_slots, "queues": args.queues, "drain_s": args.drain_s}
    WorkerConfig(**{name: value for name, value in given.items() if value is not None})  # raises what is wrong with it
    service = service_listeners()  # before there are children, which shall not speak for us
    nursery = new_nursery(_child_arguments(args))
    application = first_application(nursery)
    if application is None:
        return EXIT_USAGE if nursery.exit_code == EXIT_USAGE else EXIT_FAILED
    _mention_unused(args.queues or (), application)
    nursery.household = _household(args, application.settings)
    parent = new_parent(
        nursery,
        application,
        [Narrator() if args.verbose else LogListener(), *service],
        queues=tuple(args.queues) if args.queues else None,
        route=args.route,
        drain_s=nursery.household.drain_s,
        until_idle=args.once,
    )
    Stopping().watch_over(parent)
    print_banner("worker", application, parent)
    parent.run()
    if args.once:
        _tidy(application.engine, stores.retention_of(application.settings))
    application.engine.close()
    return EXIT_OK


def _mention_unused(queues: Sequence[str], application: Application) -> None:
    """A queue springs into being, so a name that no queue has may be right; or misspelt."""
    if not queues:
        return
    known = [queue.name for queue in application.engine.queues()]
    for sentence in unused(queues, [*known, *application.hello["queues"]]):
        print(f"deferq worker: {sentence}", file=sys.stderr)


def _child_arguments(args: argparse.Namespace) -> list[str]:
    given = ["worker", *([args.app] if args.app else []), *(["--verbose"] if args.verbose else [])]
    for option, value in (("--url", args.url), ("--threads", args.threads), ("--async-slots", args.async_slots)):
        given += [option, str(value)] if value is not None else []
    if args.quarantine_memory is not None:
        given += ["--quarantine-memory", str(args.quarantine_memory // MEGABYTE)]
    return given


def _household(args: argparse.Namespace, settings: Settings) -> Household:
    """What the command says, else the settings of the application."""
    return Household(
        children=args.children or settings["children"],
        max_tasks=args.max_tasks or settings["max_tasks"],
        max_rss=args.max_rss or settings["max_rss"],
        drain_s=settings["drain_s"] if args.drain_s is None else args.drain_s,
    )


def _tidy(engine: LeasingEngine, retention: Retention) -> None:
    """The janitor's work, which a long-running worker does in slices between its turns."""
    janitor = Janitor(engine, retention)
    for _ in range(SLICES_MAX):
        if not janitor.run_once().more:
            return
