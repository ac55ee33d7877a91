"""Transactions that began before anybody watched: the first `defer` of a process may stand inside one.

SQLAlchemy does not tell whose they are. Those who called us hold theirs in their variables, and so they are looked
through, once in the life of a process.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, SessionTransaction, scoped_session
from sqlalchemy.orm import session as session_module

#: Connections whose transaction has begun with their first statement.
_autobegun: WeakSet[Connection] = WeakSet()
#: So many calls of its own SQLAlchemy makes at most between that statement and the event.
_FRAMES_TO_BEGIN = 12
_COMMITTED = getattr(getattr(session_module, "SessionTransactionState", None), "COMMITTED", object())


def open_before() -> list[Session | Connection]:
    """Those of whoever called us, the likeliest last."""
    found: dict[int, Session | Connection] = {}
    for source in _held_by_callers():
        if goes_on(source):
            found.setdefault(id(source), source)
    return list(found.values())[::-1] or _the_only_one()


def goes_on(source: Session | Connection) -> bool:
    """Whether its transaction is open and takes more."""
    if isinstance(source, Connection):
        return not source.closed and source.in_transaction()
    transaction = source.get_transaction()
    # Its listeners may defer while it commits; what has committed takes nothing more.
    return transaction is not None and not has_committed(transaction)


def note_begin(connection: Connection) -> None:
    """It begins. Called from its event, since it does not keep whether somebody has begun it, or a statement."""
    (_autobegun.add if _called_by_autobegin() else _autobegun.discard)(connection)


def _called_by_autobegin() -> bool:
    frame: FrameType | None = sys._getframe(2)
    for _ in range(_FRAMES_TO_BEGIN):
        if frame is None or frame.f_code.co_name == "_autobegin":
            break
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name == "_autobegin"


def has_autobegun(connection: Connection) -> bool:
    """Whether its transaction has begun with a statement, and nobody has begun it. False if nobody watched then."""
    return connection in _autobegun and not connection.in_nested_transaction()


def has_committed(transaction: SessionTransaction) -> bool:
    """Whether it has, and calls its listeners now. There is no public way to ask."""
    return getattr(transaction, "_state", None) is _COMMITTED


def _held_by_callers() -> Iterator[Session | Connection]:
    """What stands in the variables of the functions that called us, the innermost first, and in their objects."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        for value in [*frame.f_locals.values(), *_scoped(frame)]:
            yield from _held_by(value)
        frame = frame.f_back


def _held_by(value: object) -> list[Session | Connection]:
    """What it is, and what its attributes are. Objects of others may do anything when they are looked at."""
    try:
        inner = list(vars(value).values()) if hasattr(value, "__dict__") else []
        return [source for one in (value, *inner) for source in _held_in(one)]
    except Exception:
        return []


def _scoped(frame: FrameType) -> Iterator[object]:
    """Sessions of a scope are mostly kept in a variable of the module."""
    return (value for value in list(frame.f_globals.values()) if isinstance(value, scoped_session))


def _held_in(value: Any) -> Iterator[Session | Connection]:
    kind = type(value)
    if issubclass(kind, scoped_session | async_scoped_session):
        value = value.registry() if value.registry.has() else None
        kind = type(value)
    if issubclass(kind, AsyncSession | AsyncConnection):
        value = value.sync_session if isinstance(value, AsyncSession) else value.sync_connection
        kind = type(value)
    if issubclass(kind, Session | Connection):
        yield value


def _the_only_one() -> list[Session | Connection]:
    """Where there is one thread, the one session that is open can be no other's."""
    if threading.active_count() > 1:
        return []
    sessions: list[Session] = list(getattr(session_module, "_sessions", {}).values())
    open_ones: list[Session | Connection] = [session for session in sessions if goes_on(session)]
    return open_ones if len(open_ones) == 1 else []
