"""What a forked process must not use of its parent's: pools of connections are told to begin anew.

Nothing is closed here. To close a connection of the parent's would speak to the database in its name.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

_kept: list[Any] = []


def forget_frameworks() -> None:
    """Let Django and SQLAlchemy, where they are loaded, connect anew."""
    if "django.db" in sys.modules:
        _forget_django(sys.modules["django.db"])
    if "sqlalchemy.engine" in sys.modules:
        _forget_sqlalchemy(sys.modules["sqlalchemy.engine"])


def django_transaction() -> bool:
    """Whether the calling test runs inside a transaction of Django's that nobody else can see into."""
    django = sys.modules.get("django.db")
    return django is not None and any(one.in_atomic_block for one in _initialised(django))


def _forget_django(django: Any) -> None:
    for connection in _initialised(django):
        _kept.append(connection.connection)
        connection.connection = None


def _initialised(django: Any) -> list[Any]:
    if not django.connections.settings:
        return []
    return [one for one in django.connections.all(initialized_only=True) if one is not None]


def _forget_sqlalchemy(sqlalchemy: Any) -> None:
    for thing in gc.get_objects():
        if issubclass(type(thing), sqlalchemy.Engine):
            thing.dispose(close=False)
