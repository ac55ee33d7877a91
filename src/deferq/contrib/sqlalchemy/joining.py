"""Sessions and connections of SQLAlchemy, as an engine of deferq writes by them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from sys import modules
from typing import Any, TypeVar
from weakref import WeakSet

from sqlalchemy import Connection, CursorResult
from sqlalchemy.exc import DBAPIError, InvalidRequestError, UnboundExecutionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, SessionTransactionOrigin, scoped_session
from sqlalchemy.util.concurrency import greenlet_spawn

from deferq.contrib.sqlalchemy.before import has_autobegun, has_committed
from deferq.contrib.sqlalchemy.pending import ring_after_commit
from deferq.engines.within import CallersConnection, Rows, Within
from deferq.errors import AsyncTransaction, NoTransaction, NotTransactional, StoreUnavailable
from deferq.transactions.bare import BareConnection, begins, implicit
from deferq.transactions.joining import Elsewhere, Transaction, is_at
from deferq.transactions.looking import look_for

Answer = TypeVar("Answer")
#: Connections that sessions use which only read: they are noted as well, and are none of their own.
_behind_readers: WeakSet[Connection] = WeakSet()


def transaction(within: Any) -> SaTransaction:
    """The adapter of a session or a connection. Raises NotTransactional for other things of SQLAlchemy's."""
    if isinstance(within, scoped_session | async_scoped_session):
        within = within()
    if isinstance(within, AsyncSession):
        within = within.sync_session
    if isinstance(within, AsyncConnection):
        within = within.sync_connection
    if isinstance(within, Session | Connection):
        return SaTransaction(within)
    raise NotTransactional(
        f"within: an object of type {type(within).__name__} has no transaction. Pass a Session or a Connection (or"
        " their async forms) that is open."
    )


def in_greenlet() -> bool:
    """Whether SQLAlchemy can await here. Its own function of this name is younger than 2.0."""
    greenlet = modules.get("greenlet")
    return greenlet is not None and type(greenlet.getcurrent()).__name__ == "_AsyncIoGreenlet"


class SaTransaction(Transaction):
    """The transaction of a session, or of a connection that is used without one."""

    def __init__(self, source: Session | Connection) -> None:
        self._source = source
        self._session = source if isinstance(source, Session) else None
        self.what = "the SQLAlchemy connection" if self._session is None else "the SQLAlchemy session"

    @property
    def _dialect(self) -> Any:
        """Raises NotTransactional if a session does not know which of its engines to use."""
        try:
            bind = self._source if isinstance(self._source, Connection) else self._source.get_bind()
        except UnboundExecutionError as error:
            raise NotTransactional(
                f"within: {self.what} has several engines, or none, and does not say which. Pass the connection:"
                " within=session.connection(bind_arguments={...})."
            ) from error
        return bind.dialect

    @property
    def is_async(self) -> bool:
        """Whether its statements have to be awaited."""
        return bool(self._dialect.is_async)

    def is_likely(self, within: Within) -> bool:
        """Whether it may be on the engine's database, as far as can be told without a statement."""
        try:
            dialect = self._dialect
        except NotTransactional:
            return False
        if dialect.name != "sqlite":
            return False
        return not dialect.is_async or self.may_be_on(within)

    def may_be_on(self, within: Within) -> bool:
        """What the URL says; one that names no file leaves it open."""
        bind = self._source if isinstance(self._source, Connection) else self._source.get_bind()
        file = bind.engine.url.database
        return (not file and not self.is_async) or is_at(within, str(file))

    def connection(self) -> CallersConnection:
        """The connection to write by; the session, or SQLAlchemy's connection, has begun its transaction then."""
        dialect = self._dialect
        if dialect.name != "sqlite":
            return Elsewhere(self.what, dialect.name)
        try:
            connection = self._begun()
        except (DBAPIError, PoolTimeout) as error:
            why = error.orig if isinstance(error, DBAPIError) else error
            raise StoreUnavailable(f"within: {self.what} cannot be used ({why}). Nothing was stored.") from error
        except InvalidRequestError as error:  # a statement has failed before, or it is closed
            raise NoTransaction(
                f"within: {self.what} has no transaction that could commit ({_first_line(error)}). Roll it back first."
            ) from error
        driver = connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection):
            return BareConnection(driver, self.what)
        return DriverConnection(connection, driver, self.what)

    def _begun(self) -> Connection:
        if self._session is not None:
            nested = self._session.get_nested_transaction()
            if nested is not None and nested.parent is not None and has_committed(nested):
                return nested.parent.connection(None)  # listeners hear of a savepoint that is released
            return self._session.connection()
        assert isinstance(self._source, Connection)
        if not self._source.in_transaction():
            self._source.begin()
        return self._source

    def only_reads(self, within: Within) -> bool:
        """Both begin by themselves to read, a session also again after its commit, and are mostly just closed."""
        source = self._source
        if isinstance(source, Connection) and source in _behind_readers:
            return True
        if not (_has_begun_by_itself(source) if isinstance(source, Session) else has_autobegun(source)):
            return False
        connection = source.connection() if isinstance(source, Session) else source
        driver = connection.connection.driver_connection
        begun = getattr(driver, "_conn", driver).in_transaction  # type: ignore[union-attr]
        reads = not begun or not within.may_be_writing()
        if source is not connection:
            (_behind_readers.add if reads else _behind_readers.discard)(connection)
        return reads

    def when_committed(self, within: Within, ids: Sequence[int]) -> None:
        """A session tells when it has committed; a connection does not."""
        if self._session is None:
            look_for(within, ids)
        else:
            ring_after_commit(self._session, within, ids)

    def run(self, work: Callable[[], Answer]) -> Answer:
        """Do `work` in this thread."""
        if self.is_async and not in_greenlet():
            raise AsyncTransaction(
                f"within: {self.what} is an async one, and this call does not wait for it. Write: await"
                " defer_async(...) or await call(...).defer_async(within=session). Nothing was stored."
            )
        return work()

    async def run_async(self, work: Callable[[], Answer]) -> Answer:
        """The same from a coroutine."""
        if self.is_async and not in_greenlet():
            return await greenlet_spawn(work)
        return work()


def _has_begun_by_itself(session: Session) -> bool:
    """Whether nobody has begun it, and nothing waits in it to be written."""
    if session.new or session.dirty or session.deleted or session.in_nested_transaction():
        return False
    transaction = session.get_transaction()
    by_itself = transaction is not None and transaction.origin is SessionTransactionOrigin.AUTOBEGIN
    return by_itself and not isinstance(session.get_bind(), Connection)  # that may have been begun


class DriverConnection:
    """An SQLite connection behind an async driver: what awaits its statements is SQLAlchemy."""

    dialect = "sqlite"

    def __init__(self, connection: Connection, driver: Any, what: str) -> None:
        self.what = what
        self._connection = connection
        #: The sqlite3 connection, which belongs to a thread of the driver; only its state is read here.
        self._behind = getattr(driver, "_conn", driver)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open in the database."""
        return bool(self._behind.in_transaction)

    @property
    def can_begin(self) -> bool:
        """Whether a transaction is open, or the driver begins one by itself."""
        return self.in_transaction or begins(self._behind)

    def begin(self) -> bool:
        """Have a transaction open, as the driver's own INSERT would."""
        if self.in_transaction:
            return False
        self.execute(f"begin {implicit(self._behind, self.what)}")
        return True

    def execute(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Rows:
        """Run one statement."""
        given: Any = dict(parameters) if isinstance(parameters, Mapping) else tuple(parameters)
        return self._run(statement, given or None)

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> Rows:
        """Run one statement for each row."""
        given = [tuple(row) for row in rows]
        return self._run(statement, given) if given else Rows(0)

    def _run(self, statement: str, parameters: Any) -> Rows:
        try:
            result: CursorResult[Any] = self._connection.exec_driver_sql(statement, parameters)
            return Rows(result.rowcount, [tuple(row) for row in result] if result.returns_rows else ())
        except DBAPIError as error:
            raise _own_error(error) from error


def _own_error(error: DBAPIError) -> BaseException:
    """What the database module raised, in SQLAlchemy's wrapping."""
    inner: BaseException | None = error.orig
    while inner is not None and not isinstance(inner, sqlite3.Error):
        inner = inner.__cause__
    return inner or error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
