"""Pause queues: they accept tasks and give none. Tasks that run already go on."""

from __future__ import annotations

import argparse

from deferq.cli.arguments import EXIT_OK
from deferq.cli.queues import add_new, add_queues, change_each
from deferq.model.settings import Pause


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_queues(parser)
    add_new(parser)


def run(args: argparse.Namespace) -> int:
    """Pause each of them."""
    for queue in change_each(args, Pause(), new=args.new):
        print(f"{queue.name}: paused")
    return EXIT_OK
