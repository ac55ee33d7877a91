"""A transaction of the caller's, and who knows how to write in it."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from sys import modules
from typing import TYPE_CHECKING, Any, TypeVar, cast

from deferq.engines.within import Rows
from deferq.errors import NoTransaction, NotTransactional, TransactionError
from deferq.transactions import detecting

if TYPE_CHECKING:
    from deferq.engines.base import Engine
    from deferq.engines.within import CallersConnection, Within

Answer = TypeVar("Answer")
Adapter = Callable[[Any], "Transaction"]

#: By the package that a connection's class comes from: the module whose `transaction(connection)` knows it. Such a
#: module is loaded when a connection of that kind is met, so the package itself is loaded by then.
ADAPTERS = {"sqlalchemy": "deferq.contrib.sqlalchemy", "django": "deferq.contrib.django"}


class Transaction(ABC):
    """One open transaction, or a connection that begins one with its first statement."""

    #: What it is, for messages.
    what: str

    @abstractmethod
    def connection(self) -> CallersConnection:
        """The connection to write by. Raises NoTransaction if there is no transaction that could commit."""

    def is_likely(self, within: Within) -> bool:
        """Whether it may be on the engine's database, as far as can be told without a statement."""
        return True

    def may_be_on(self, within: Within) -> bool:
        """The same where its connection cannot be used: false only if it is known to be on another database."""
        return True

    def only_reads(self, within: Within) -> bool:
        """Whether nobody has begun it, and it has only read so far: perhaps nobody will commit it."""
        return False

    @abstractmethod
    def when_committed(self, within: Within, ids: Sequence[int]) -> None:
        """See to it that `within.ring(ids)` is called once these tasks are committed, if they ever are."""

    def run(self, work: Callable[[], Answer]) -> Answer:
        """Do `work`, which uses the connection, in this thread. Raises AsyncTransaction if it has to be awaited."""
        return work()

    async def run_async(self, work: Callable[[], Answer]) -> Answer:
        """The same from a coroutine."""
        return self.run(work)


class Elsewhere:
    """A connection to a database that is none of ours: it is asked what it is, and nothing else."""

    in_transaction = False
    can_begin = True

    def __init__(self, what: str, dialect: str) -> None:
        self.what = what
        self.dialect = dialect

    def begin(self) -> bool:
        """Never called."""
        raise NotImplementedError

    def execute(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Rows:
        """Never called."""
        raise NotImplementedError

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> Rows:
        """Never called."""
        raise NotImplementedError


def chosen(engine: Engine, within: Any) -> Transaction | None:
    """The transaction that the option `within` means; None: the task is stored by the engine alone."""
    if within is None:
        return detecting.find(engine)
    if within is False:  # whoever writes beside a transaction of his own must not wait for himself
        if engine.within is not None and _is_open_here(engine):
            engine.within.check_free()
        return None
    return required(engine, within)


def required(engine: Engine, within: Any) -> Transaction:
    """The transaction that is meant, where there has to be one: of a connection, or with True the one that is open."""
    return (detecting.find(engine, wanted=True) or _none_open(engine)) if within is True else resolve(within)


async def required_async(engine: Engine, within: Any) -> Transaction:
    """The same from a coroutine."""
    return (
        (await detecting.find_async(engine, wanted=True) or _none_open(engine)) if within is True else resolve(within)
    )


async def chosen_async(engine: Engine, within: Any) -> Transaction | None:
    """The same from a coroutine."""
    if within is None:
        return await detecting.find_async(engine)
    if within is False:
        if engine.within is not None and _has_begun(await detecting.find_async(engine)):
            engine.within.check_free()
        return None
    return await required_async(engine, within)


def within_of(engine: Engine) -> Within:
    """How the engine writes in transactions of others. Raises NotTransactional if it cannot."""
    if engine.within is None:
        raise NotTransactional(
            f"within: the store {engine.url} takes part in no transaction of others. Use sqlite:/// with the"
            " application's own database file, or leave within out and defer after the commit."
        )
    return engine.within


def resolve(within: Any) -> Transaction:
    """The adapter of a connection, a session, or an alias of Django's. Raises NotTransactional for anything else."""
    if isinstance(within, sqlite3.Connection):
        from deferq.transactions.bare import BareTransaction

        return BareTransaction(within)
    package = "django" if isinstance(within, str) and "django.db" in modules else _package(within)
    if package is None:
        raise NotTransactional(
            f"within: an object of type {type(within).__name__} is no connection that deferq knows. Pass a"
            " sqlite3.Connection, a Session, Connection, AsyncSession or AsyncConnection of SQLAlchemy, or Django's"
            " connection or its alias; True for the transaction that is open here; False for none."
        )
    return cast(Adapter, import_module(ADAPTERS[package]).transaction)(within)


def _package(within: object) -> str | None:
    """The known package that one of its classes comes from; a proxy shows those of what it stands for."""
    shown = getattr(within, "__class__", type(within))
    for base in getattr(shown, "__mro__", ()):
        package = str(base.__module__).partition(".")[0]
        if package in ADAPTERS:
            return package
    return None


def is_at(within: Within, file: str) -> bool:
    """Whether the engine's database may lie in what an application calls its file: URIs are taken to be it."""
    return file.startswith("file:") or within.is_place(file)


def _is_open_here(engine: Engine) -> bool:
    """Whether a transaction is; one that can only be rolled back, or has to be awaited, is in the way as well."""
    try:
        return _has_begun(detecting.find(engine))
    except TransactionError:
        return True


def _has_begun(transaction: Transaction | None) -> bool:
    """Whether the database has heard of it, and may have given it a lock."""
    return transaction is not None and transaction.connection().in_transaction


def _none_open(engine: Engine) -> Transaction:
    within_of(engine)
    raise NoTransaction(
        f"within: no transaction on the store {engine.url} is open here. Begin one first (a session of SQLAlchemy,"
        " atomic() of Django), pass its connection as within=, or leave within and _transactional out."
    )
