"""Bringing a database to the schema of this release: numbered scripts, each applied once, in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from deferq.engines.sqlite.connections import first_row
from deferq.engines.sqlite.statements import schema_scripts
from deferq.errors import SchemaTooNew


def schema_version(connection: sqlite3.Connection) -> int:
    """The number of the last script applied; 0: deferq has no tables here."""
    if not first_row(connection, "select 1 from sqlite_master where type = 'table' and name = 'deferq_meta'"):
        return 0
    row = first_row(connection, "select value from deferq_meta where key = 'schema'")
    return int(row[0]) if row else 0


def newest_version() -> int:
    """The schema this release works with."""
    return len(schema_scripts())


def check(path: str, version: int) -> None:
    """Raise SchemaTooNew if the database was made by a newer deferq."""
    if version > newest_version():
        raise SchemaTooNew(
            f"The store {path} has schema {version}; this deferq knows {newest_version()}. It was left as it is."
            " Upgrade deferq, or name another store."
        )


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Apply what is missing. Call it inside a write transaction."""
    from uuid import uuid4  # who opens a database that is up to date need not load it

    version = schema_version(connection)
    check(path, version)
    for number, script in enumerate(schema_scripts()[version:], start=version + 1):
        for statement in _statements(script):
            connection.execute(statement)
        connection.execute(
            "insert into deferq_meta (key, value) values ('schema', ?)"
            " on conflict (key) do update set value = excluded.value",
            (str(number),),
        )
    connection.execute(
        "insert into deferq_meta (key, value) values ('database_id', ?) on conflict do nothing", (uuid4().hex,)
    )


def _statements(script: str) -> Iterator[str]:
    """Split a script; `executescript` would commit the surrounding transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
