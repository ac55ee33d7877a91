"""A small web application with an embedded worker, in a folder of its own: it is sent requests that defer work of every
kind, and in the end everything that was deferred must be accounted for.
"""

from __future__ import annotations

import argparse

EPILOG = "Exit codes: 0 all tasks are accounted for; 1 they are not."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    parser.add_argument("--stay", action="store_true", help="keep it running afterwards, until Ctrl-C")


def run(args: argparse.Namespace) -> int:
    """Run it."""
    from deferq.demo import run_demo

    return run_demo(stay=args.stay)
