"""A connection of the standard library's sqlite3."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from deferq.engines.within import Rows
from deferq.errors import NoTransaction
from deferq.transactions.joining import Transaction

if TYPE_CHECKING:
    from deferq.engines.within import Within

#: What `Connection.autocommit` is where `isolation_level` counts; before Python 3.12 that is always so.
LEGACY = -1


class BareConnection:
    """Runs statements whatever row factory, text factory and mode of transactions the caller has chosen."""

    dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection, what: str = "the sqlite3 connection") -> None:
        self.what = what
        self._connection = connection

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open in the database."""
        return self._connection.in_transaction

    @property
    def can_begin(self) -> bool:
        """Whether a transaction is open, or the connection begins one by itself."""
        return self.in_transaction or begins(self._connection)

    def begin(self) -> bool:
        """Have a transaction open, as the connection's own INSERT would."""
        if self._connection.in_transaction:
            return False
        self.execute(f"begin {implicit(self._connection, self.what)}")
        return True

    def execute(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Rows:
        """Run one statement."""
        return self._run(lambda: self._connection.execute(statement, parameters))

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> Rows:
        """Run one statement for each row."""
        return self._run(lambda: self._connection.executemany(statement, rows))

    def _run(self, run: Callable[[], sqlite3.Cursor]) -> Rows:
        connection = self._connection
        former = connection.row_factory, connection.text_factory
        connection.row_factory, connection.text_factory = None, str
        try:
            with closing(run()) as cursor:
                return Rows(cursor.rowcount, cursor.fetchall())
        finally:
            connection.row_factory, connection.text_factory = former


def begins(connection: Any) -> bool:
    """Whether the connection begins a transaction by itself, before the first statement that writes."""
    return getattr(connection, "autocommit", LEGACY) == LEGACY and connection.isolation_level is not None


def implicit(connection: Any, what: str) -> str:
    """How the connection begins a transaction by itself, before the first statement that writes.

    Raises NoTransaction if it begins none.
    """
    if begins(connection):
        return str(connection.isolation_level)
    raise NoTransaction(
        f"within: no transaction is open on {what}, and it begins none by itself. Execute BEGIN IMMEDIATE before you"
        " defer; or leave within out to store the task at once."
    )


class BareTransaction(Transaction):
    """The transaction of a bare connection, which tells nobody when it commits: somebody looks."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._bare = BareConnection(connection)
        self.what = self._bare.what

    def connection(self) -> BareConnection:
        """The connection to write by."""
        return self._bare

    def when_committed(self, within: Within, ids: Sequence[int]) -> None:
        """Have somebody look for the tasks until they are there."""
        from deferq.transactions.looking import look_for

        look_for(within, ids)
