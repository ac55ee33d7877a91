"""Bring the database to this release's schema. Every worker and every defer does so too when it opens the file."""

from __future__ import annotations

import argparse

from deferq.cli.arguments import EXIT_OK, add_store
from deferq.cli.databases import database_of
from deferq.cli.loading import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)


def run(args: argparse.Namespace) -> int:
    """Open it, which upgrades it, and say what that came to."""
    with open_store(args, must_exist=False) as deferq:
        database = database_of(deferq)
        before = database.info()["schema"] if database.path.exists() else 0
        database.open()
        after = database.info()["schema"]
    what = f"has schema {after} already" if before == after else f"upgraded from schema {before} to {after}"
    print(f"{database.path}: {what}")
    return EXIT_OK
