"""Django's connections, as an engine of deferq writes by them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionDoesNotExist, ConnectionProxy

from deferq.engines.within import CallersConnection, Within
from deferq.errors import NoTransaction, NotTransactional
from deferq.transactions.bare import BareConnection
from deferq.transactions.joining import Elsewhere, Transaction, is_at
from deferq.transactions.looking import look_for


def transaction(within: Any) -> DjangoTransaction:
    """The adapter of a connection, or of its alias. Raises NotTransactional for other things of Django's."""
    if isinstance(within, str):
        return DjangoTransaction(_of_alias(within))
    if isinstance(within, ConnectionProxy):  # django.db.connection
        return DjangoTransaction(_of_alias(within._alias))
    if isinstance(within, BaseDatabaseWrapper):
        return DjangoTransaction(within)
    raise NotTransactional(
        f"within: an object of type {type(within).__name__} is no connection of Django's. Pass django.db.connection,"
        ' connections["alias"], or the alias.'
    )


def _of_alias(alias: str) -> Any:
    try:
        return connections[alias]
    except ImproperlyConfigured as error:
        raise NotTransactional("within: a text is taken for an alias of Django's, which is not set up.") from error
    except ConnectionDoesNotExist as error:
        raise NotTransactional(
            f"within: Django has no database of this alias. There are: {', '.join(sorted(connections))}."
        ) from error


def watch() -> Callable[[], Iterator[DjangoTransaction]]:
    """What finds the transactions of this thread. Nothing needs to be watched: Django knows them itself."""
    return open_here


def open_here() -> Iterator[DjangoTransaction]:
    """The transactions that are open in this thread."""
    if settings.configured:
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block or (connection.connection is not None and not connection.autocommit):
                yield DjangoTransaction(connection)


class DjangoTransaction(Transaction):
    """The atomic block of one of Django's connections."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.what = f"Django's connection {connection.alias!r}"

    def connection(self) -> CallersConnection:
        """The connection to write by. Raises NoTransaction outside atomic(), or where a statement has failed."""
        connection = self._connection
        if connection.vendor != "sqlite":
            return Elsewhere(self.what, connection.vendor)
        connection.validate_thread_sharing()
        if not connection.in_atomic_block and (connection.connection is None or connection.autocommit):
            raise NoTransaction(
                f"within: no transaction is open on {self.what}. Use `with transaction.atomic():`, or leave within out"
                " to store the task at once."
            )
        if connection.needs_rollback:
            raise NoTransaction(
                f"within: a statement has failed in the atomic block of {self.what}, so it will be rolled back. Defer"
                " outside of it."
            )
        raw = connection.connection
        if not isinstance(raw, sqlite3.Connection):
            raise NotTransactional(f"within: {self.what} uses {type(raw).__module__}, and deferq knows sqlite3 alone.")
        return BareConnection(raw, self.what)

    def may_be_on(self, within: Within) -> bool:
        """What the settings say."""
        return self._connection.vendor == "sqlite" and is_at(within, str(self._connection.settings_dict["NAME"]))

    def when_committed(self, within: Within, ids: Sequence[int]) -> None:
        """Django says when it has committed, except where the application manages transactions itself.

        There it says so once the application has done with that, if it ever has.
        """
        connection = self._connection
        if not connection.in_atomic_block or not connection.commit_on_exit:
            look_for(within, ids)
            return
        connection.on_commit(partial(within.ring, ids), robust=True)
        # First of all, since a callback that raises is the last one, and one that takes its time delays the others.
        connection.run_on_commit.insert(0, connection.run_on_commit.pop())
