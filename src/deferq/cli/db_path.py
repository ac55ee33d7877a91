"""Where the database is; it need not be there yet."""

from __future__ import annotations

import argparse

from deferq.cli.arguments import EXIT_OK, add_json, add_store
from deferq.cli.databases import database_of
from deferq.cli.loading import open_store
from deferq.cli.output import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print it."""
    with open_store(args, must_exist=False) as deferq:
        path = database_of(deferq).path
    if args.json:
        print_json({"path": str(path)})
    else:
        print(path)
    return EXIT_OK
