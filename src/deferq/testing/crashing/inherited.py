"""What a forked process must not use of its parent's: connections to databases, and pools of them.

Nothing is closed here. To close a connection of the parent's would speak to the database in its name.
"""

from __future__ import annotations

import gc
import sqlite3
import sys
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Inherited:
    """What there is of it. It is looked for before the fork, since to look at an object is to copy it after it."""

    connections: list[sqlite3.Connection] = field(default_factory=list)
    #: SQLAlchemy's.
    engines: list[Any] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)

    @classmethod
    def found(cls) -> Inherited:
        """What lives in this process."""
        inherited = cls()
        engine = getattr(sys.modules.get("sqlalchemy.engine"), "Engine", None)
        for thing in gc.get_objects():
            kind = type(thing)
            if issubclass(kind, sqlite3.Connection):
                inherited.connections.append(thing)
            elif engine is not None and issubclass(kind, engine):
                inherited.engines.append(thing)
        return inherited

    def forget(self) -> None:
        """Let Django and SQLAlchemy, where they are loaded, connect anew."""
        for engine in self.engines:
            engine.dispose(close=False)
        for connection in _django_connections():
            self.kept.append(connection.connection)
            connection.connection = None


def django_transaction() -> bool:
    """Whether the calling test runs inside a transaction of Django's that nobody else can see into."""
    return any(connection.in_atomic_block for connection in _django_connections())


def _django_connections() -> list[Any]:
    """Those of this thread that were used. None was where Django is imported, and nobody has asked its settings."""
    django, conf = sys.modules.get("django.db"), sys.modules.get("django.conf")
    if django is None or conf is None or not conf.settings.configured:
        return []
    return list(django.connections.all(initialized_only=True))
