"""Which transactions of SQLAlchemy are open here.

SQLAlchemy has no list of them, so they are noted where they begin or are used: in a context variable, with thread and
asyncio task, since a context may be copied into another one. A session counts as open from its `begin()`, or its first
use, on; the database may hear of it much later.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session

from deferq.contrib.sqlalchemy.before import goes_on, note_begin, open_before
from deferq.contrib.sqlalchemy.joining import SaTransaction


class _Seen(NamedTuple):
    """A session or connection, and where it was used."""

    source: weakref.ref[Any]
    thread: int
    task: int

    @property
    def open(self) -> Session | Connection | None:
        """It, if its transaction goes on and can be used."""
        source = self.source()
        return source if source is not None and goes_on(source) else None


#: The latest stands last.
_seen: ContextVar[tuple[_Seen, ...]] = ContextVar("deferq.sqlalchemy.seen", default=())
_watching = False
#: Threads that ran already when watching began, and have not been asked for what was open in them before.
_unasked: set[int] = set()


def watch() -> Callable[[], Iterator[SaTransaction]]:
    """Note from now on which transactions are open; returns what finds those that are open here. Can be repeated."""
    global _watching
    if not _watching:
        _watching = True
        for owner, name, listener in _EVENTS:
            event.listen(owner, name, listener)
        _unasked.update(sys._current_frames())
        _note_before()
    return open_here


def _note_before() -> None:
    """Note what had begun in this thread before anybody watched."""
    _unasked.discard(threading.get_ident())
    for source in open_before():
        _note(source)


def open_here() -> Iterator[SaTransaction]:
    """The transactions that are open in this thread and asyncio task, the latest first."""
    if _unasked and threading.get_ident() in _unasked:
        _note_before()
    seen = _seen.get()
    if seen:
        here = _here()
        for one in reversed(seen):
            if (one.thread, one.task) == here and (source := one.open) is not None:
                yield SaTransaction(source)


def _note(source: Session | Connection) -> None:
    seen, here = _seen.get(), _here()
    if seen and seen[-1].source() is source and (seen[-1].thread, seen[-1].task) == here:
        return
    others = tuple(one for one in seen if one.source() is not source and one.open is not None)
    _seen.set((*others, _Seen(weakref.ref(source), *here)))


def _note_connection(connection: Connection) -> None:
    note_begin(connection)
    _note(connection)


def _here() -> tuple[int, int]:
    """This thread, and this asyncio task or 0."""
    loop = asyncio._get_running_loop()  # asked first, since most have none, and an exception takes its time
    task = None if loop is None else asyncio.current_task(loop)
    return threading.get_ident(), 0 if task is None else id(task)


_EVENTS: tuple[tuple[Any, str, Any], ...] = (
    (Session, "after_transaction_create", lambda session, transaction: _note(session)),
    (Session, "after_attach", lambda session, instance: _note(session)),
    # After the one of the connection, which it stands for.
    # A session that a framework has begun in another thread is used here without any of these.
    (Session, "do_orm_execute", lambda execution: _note(execution.session)),
    (Session, "after_begin", lambda session, transaction, connection: _note(session)),
    (Engine, "begin", _note_connection),
)
