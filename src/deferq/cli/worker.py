"""Run tasks until a signal says stop.

APP is what to import first: a file (hello.py), a module (shop.tasks) or module:name, where name may be a Deferq to use.
Without one the setting `app` decides; without that either, modules are imported when a task needs them.

SIGTERM, SIGINT (Ctrl-C) or SIGHUP: no new tasks; those that have not started are given back, running ones may finish
within the drain time. A second SIGTERM or SIGINT ends the process at once, with exit code 143 or 130. SIGUSR1 prints
what each thread is doing.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys

from deferq import stores
from deferq.app import Deferq
from deferq.cli.arguments import EXIT_OK, add_url, count, seconds
from deferq.cli.loading import Loaded, load
from deferq.cli.notifying import service_listeners
from deferq.cli.output import printable
from deferq.cli.stopping import Stopping, end_soon
from deferq.cli.version import version
from deferq.runtime.janitor import Janitor
from deferq.runtime.logs import LogListener
from deferq.runtime.worker import Worker

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
    parser.add_argument("--threads", type=count, help="how many plain functions run at the same time")
    parser.add_argument("--async-slots", type=count, help="how many coroutines run at the same time")
    parser.add_argument(
        "--queue", action="append", metavar="Q", dest="queues", help="serve this queue; may be repeated"
    )
    parser.add_argument("--route", help="serve this route and tasks without one; by default every route")
    parser.add_argument("--drain-s", type=seconds, metavar="S", help="how long running tasks may go on when stopping")
    parser.add_argument("--once", action="store_true", help="run what is due now, then exit")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each task that starts or succeeds")


def run(args: argparse.Namespace) -> int:
    """Work until stopped."""
    from deferq.cli.narrating import Narrator

    stopping = Stopping()
    loaded = load(args.app, args.url)
    config = {
        "threads": args.threads,
        "async_slots": args.async_slots,
        "queues": tuple(args.queues) if args.queues else None,
        "route": args.route,
        "drain_s": args.drain_s,
        "until_idle": args.once,
    }
    listener = Narrator() if args.verbose else LogListener()
    with loaded.deferq as deferq:
        worker = deferq.worker(listeners=[listener, *service_listeners(), *deferq.listeners], **config)
        print_banner("worker", loaded, worker)
        work(worker, stopping)
        if args.once:
            _tidy(deferq)
        end_soon(EXIT_OK)
    return EXIT_OK


def _tidy(deferq: Deferq) -> None:
    """The janitor's work, which a long-running worker does in slices between its turns."""
    janitor = Janitor(deferq.engine, stores.retention_of(deferq.settings))
    for _ in range(SLICES_MAX):
        if not janitor.run_once().more:
            return


def work(worker: Worker, stopping: Stopping, lifeline: int | None = None) -> None:
    """Run the worker in this thread, until a signal stops it, or the end of the pipe `lifeline`."""
    _show_output_at_once()
    _log_to_stderr()
    stopping.watch_over(worker)
    if lifeline is not None:
        stopping.follow(lifeline)
    worker.run()


def print_banner(verb: str, loaded: Loaded, worker: Worker, *more: tuple[str, str]) -> None:
    """Say what runs where."""
    config = worker.config
    fields = [
        ("store", loaded.deferq.engine.url),
        ("app", _app_line(loaded)),
        ("queues", ", ".join(config.queues) if config.queues else "all"),
        *((("route", config.route),) if config.route else ()),
        ("threads", f"{config.threads}, and up to {config.async_slots} coroutines"),
        *more,
    ]
    lines = [f"deferq {version()} {verb} (pid {os.getpid()})", *(f"  {name:<8} {printable(v)}" for name, v in fields)]
    print("\n".join(lines), file=sys.stderr, flush=True)


def _app_line(loaded: Loaded) -> str:
    if not loaded.name:
        return "none given; modules are imported when a task needs them"
    return f"{loaded.name} ({loaded.file})" if loaded.file else loaded.name


def _show_output_at_once() -> None:
    """What a task prints is seen when it prints it, also through a pipe."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


def _log_to_stderr() -> None:
    """Unless the application has set its logging up."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
