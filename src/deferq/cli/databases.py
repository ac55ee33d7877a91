"""What the verbs under `deferq db` ask of a store in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from deferq.app import Deferq
from deferq.cli.arguments import CommandError


@runtime_checkable
class Database(Protocol):
    """A store that is one file on this machine."""

    path: Path

    def open(self) -> None:
        """Open it, and bring it to this release's schema."""

    def info(self) -> Mapping[str, object]:
        """Path, sizes, schema and settings."""

    def check(self, full: bool = False) -> list[str]:
        """What is damaged; empty: nothing."""


def database_of(deferq: Deferq) -> Database:
    """The database of the store. Raises CommandError if it has none."""
    if isinstance(deferq.engine, Database):
        return deferq.engine
    raise CommandError(f"The store {deferq.engine.url} has no database file. Name one with --url sqlite:///...")
