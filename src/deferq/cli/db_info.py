"""The database file: where it is, how large, which schema, and how carefully it is written."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from deferq.cli.arguments import EXIT_OK, add_json, add_store
from deferq.cli.databases import database_of
from deferq.cli.loading import open_store
from deferq.cli.output import print_fields, print_json, size

#: The first SQLite without the WAL-reset defect.
_SOUND_SQLITE = (3, 51, 3)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print it."""
    with open_store(args) as deferq:
        info = database_of(deferq).info()
    notes = _notes(info)
    if args.json:
        print_json({**{name: _plain(value) for name, value in info.items()}, "notes": notes})
        return EXIT_OK
    print_fields((name.replace("_", " "), _for_people(name, value)) for name, value in info.items())
    for note in notes:
        print(f"\nnote: {note}")
    return EXIT_OK


def _plain(value: object) -> Any:
    return value if isinstance(value, int | float | bool | None) else str(value)


def _for_people(name: str, value: object) -> object:
    return size(value) if isinstance(value, int) and name.endswith("bytes") else value


def _notes(info: Mapping[str, object]) -> list[str]:
    notes = []
    version = str(info.get("sqlite", ""))
    if _numbers(version) < _SOUND_SQLITE:
        notes.append(
            f"SQLite {version} has the WAL-reset defect (all before 3.51.3): two connections that checkpoint and write"
            " at the same moment can lose data. deferq is not affected, since only one process at a time writes or"
            " checkpoints; other programs should not write to this file."
        )
    if info.get("synchronous") in ("NORMAL", "OFF"):
        notes.append(f"synchronous is {info['synchronous']}: a power cut may lose the tasks deferred last.")
    return notes


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
