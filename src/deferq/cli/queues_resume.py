"""Let paused queues go on. Workers that wait learn of it at once."""

from __future__ import annotations

import argparse

from deferq.cli.arguments import EXIT_OK
from deferq.cli.queues import add_queues, change_each
from deferq.model.settings import Resume


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_queues(parser)


def run(args: argparse.Namespace) -> int:
    """Resume each of them."""
    for queue in change_each(args, Resume()):
        print(f"{queue.name}: resumed")
    return EXIT_OK
