"""Cancel tasks: pending ones at once; of running ones their worker learns it, and asks them to stop."""

from __future__ import annotations

import argparse

from deferq.cli.arguments import add_ids, add_store
from deferq.cli.loading import open_store
from deferq.cli.tasks import report_changed
from deferq.engines.base import Cancel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_ids(parser)


def run(args: argparse.Namespace) -> int:
    """Cancel each of them."""
    with open_store(args) as deferq:
        changed = deferq.engine.change(args.ids, Cancel())
        return report_changed(deferq.engine, args.ids, changed, "cancelled, or asked to stop", "pending and leased")
