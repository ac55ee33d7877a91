"""Writing by a connection of the caller's, in the caller's transaction: what an engine needs, and what it offers.

An adapter (`deferq/transactions`, `deferq/contrib`) shows an engine the connection as `CallersConnection`. An engine
that can write by one has a `Within`; the others have None.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from deferq.engines.answers import PutAnswer
from deferq.engines.base import Settlement
from deferq.model.queue import Queue
from deferq.model.task import NewTask


@dataclass(frozen=True, slots=True)
class Rows:
    """What a statement came to: all of it, so that no cursor stays open in a transaction of others."""

    rowcount: int
    rows: Sequence[Any] = ()

    def fetchone(self) -> Any:
        """The first row, or None."""
        return self.rows[0] if self.rows else None

    def fetchall(self) -> list[Any]:
        """Every row."""
        return list(self.rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)


class CallersConnection(Protocol):
    """A connection of the caller's. Its statements raise what the database module raises."""

    @property
    def what(self) -> str:
        """What it is, for messages: the SQLAlchemy session."""

    @property
    def dialect(self) -> str:
        """Which database it speaks to: sqlite, postgresql."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open in the database."""

    @property
    def can_begin(self) -> bool:
        """Whether a transaction is open, or the connection begins one by itself; if not, each statement is its own."""

    def begin(self) -> bool:
        """Have a transaction open; true if this call began it, as the connection would with the next statement.

        Raises NoTransaction if none is open and the connection begins none by itself.
        """

    def execute(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Rows:
        """Run one statement."""

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> Rows:
        """Run one statement for each row."""


class Within(Protocol):
    """What an engine does by a connection of the caller's. Nothing here commits, and nothing waits at the gate."""

    def is_on(self, connection: CallersConnection) -> bool:
        """Whether it is a connection to the engine's own database. Raises StoreError."""

    def is_place(self, file: str) -> bool:
        """Whether the engine's database lies in this file; for when no statement can be executed."""

    def prepare(self, connection: CallersConnection) -> None:
        """Open the store, if it is not open, without waiting for what the caller holds; check the connection.

        Raises OtherDatabase, StoreNotPrepared, NoTransaction or StoreError.
        """

    def put(
        self, connection: CallersConnection, tasks: Sequence[NewTask], declared: Mapping[str, Queue]
    ) -> list[PutAnswer]:
        """Store tasks as `Engine.put` does, and what the application declares about queues of theirs.

        Either all of it is written or, if it raises, none; then the transaction is as it was before.
        """

    def uncommitted(self, connection: CallersConnection, ids: Sequence[int]) -> list[int]:
        """Those of these tasks that were put by this connection in the transaction that is open."""

    def settle(self, connection: CallersConnection, settlement: Settlement) -> bool:
        """Write the end of a lease; false if the lease is lost, and nothing was written."""

    def is_settled(self, settlement: Settlement) -> bool:
        """Whether it stands so in the store, for everybody to see."""

    def ring(self, ids: Sequence[int]) -> bool | None:
        """Wake dispatchers if one of these tasks is committed.

        False: none is, and none will be; None: none is yet, ask again. Never raises.
        """

    def rings_for(self, eta: int) -> bool:
        """Whether a task that is due then is worth a ring."""

    def may_be_writing(self) -> bool:
        """Whether a transaction of this process may have written to the store's file; True if nobody can tell."""

    def check_free(self) -> None:
        """Raise WriteBesideTransaction if a connection of this process keeps the store from being written.

        For a thread that has a transaction open on the engine's database and is about to write beside it.
        """
