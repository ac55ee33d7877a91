"""Forget the limits that an operator has set: what the application declares holds again.

A queue that is paused stays so.
"""

from __future__ import annotations

import argparse

from deferq.cli.arguments import EXIT_OK
from deferq.cli.queues import add_queues, change_each, limits_line
from deferq.model.settings import ResetLimits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_queues(parser)


def run(args: argparse.Namespace) -> int:
    """Reset each of them, and say what holds."""
    for queue in change_each(args, ResetLimits()):
        print(limits_line(queue))
    return EXIT_OK
