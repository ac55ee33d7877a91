"""`deferq dev --no-reload`: everything in one process, so that a debugger sees the tasks run."""

from __future__ import annotations

import argparse
import os
import sys

from deferq.cli.arguments import EXIT_OK
from deferq.cli.loading import load
from deferq.cli.narrating import Narrator
from deferq.cli.output import printable
from deferq.cli.stopping import Stopping, end_soon
from deferq.cli.streams import log_to_stderr, show_output_at_once
from deferq.cli.version import version

#: Short, so that a task that was cut off in the debugger comes back soon.
LEASE_S = 30.0


def work_in_this_process(args: argparse.Namespace, drain_s: float) -> int:
    """Run tasks in threads of this process until a signal stops it."""
    loaded = load(args.app, args.url)
    config = {"threads": args.threads, "drain_s": drain_s, "lease_s": LEASE_S}
    with loaded.deferq as deferq:
        worker = deferq.worker(listeners=[Narrator(), *deferq.listeners], **config)
        store, threads = printable(deferq.engine.url), worker.config.threads
        print(f"deferq {version()} dev (pid {os.getpid()})", file=sys.stderr)
        print(f"  store    {store}\n  app      {printable(loaded.name)}", file=sys.stderr)
        if loaded.delivers_to:
            print(f"  delivers tasks with an url, to {printable(loaded.delivers_to)}", file=sys.stderr)
        print(f"  threads  {threads}, all in this process\n  reload   off", file=sys.stderr, flush=True)
        show_output_at_once()
        log_to_stderr()
        Stopping().watch_over(worker)
        worker.run()
        end_soon(EXIT_OK)
    return EXIT_OK
