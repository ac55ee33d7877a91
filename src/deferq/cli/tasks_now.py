"""Make pending tasks due now, whatever they were waiting for."""

from __future__ import annotations

import argparse

from deferq.cli.arguments import add_ids, add_store
from deferq.cli.loading import open_store
from deferq.cli.tasks import report_changed
from deferq.engines.base import Reschedule


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_ids(parser)


def run(args: argparse.Namespace) -> int:
    """Reschedule each of them."""
    with open_store(args) as deferq:
        engine = deferq.engine
        changed = engine.change(args.ids, Reschedule(engine.now()))
        return report_changed(engine, args.ids, changed, "due now", "pending")
