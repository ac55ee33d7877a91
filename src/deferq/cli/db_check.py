"""Look for damage in the database."""

from __future__ import annotations

import argparse
import sys

from deferq.cli.arguments import EXIT_FAILED, EXIT_OK, add_json, add_store
from deferq.cli.databases import database_of
from deferq.cli.loading import open_store
from deferq.cli.output import print_json, printable

EPILOG = "Exit codes: 0 it is sound; 1 it is damaged; 2 the store cannot be read, or wrong usage."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_json(parser)
    parser.add_argument("--full", action="store_true", help="compare indexes with their tables too; takes longer")


def run(args: argparse.Namespace) -> int:
    """Check it, and print what was found."""
    with open_store(args) as deferq:
        database = database_of(deferq)
        problems = database.check(full=args.full)
    if args.json:
        print_json({"path": str(database.path), "ok": not problems, "problems": problems})
    elif not problems:
        print(f"{database.path}: ok")
    for problem in problems if not args.json else ():
        print(f"{database.path}: {printable(problem)}", file=sys.stderr)
    return EXIT_FAILED if problems else EXIT_OK
