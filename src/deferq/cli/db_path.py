"""Where the database is; it need not be there yet."""

from __future__ import annotations

import argparse

from deferq.cli.arguments import EXIT_OK, add_store
from deferq.cli.databases import database_of
from deferq.cli.loading import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)


def run(args: argparse.Namespace) -> int:
    """Print it."""
    with open_store(args, must_exist=False) as deferq:
        print(database_of(deferq).path)
    return EXIT_OK
