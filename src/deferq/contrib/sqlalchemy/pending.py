"""Tasks that wait in sessions for a commit."""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from deferq.transactions.looking import look_for

if TYPE_CHECKING:
    from sqlalchemy.orm import SessionTransaction

    from deferq.engines.within import Within

logger = logging.getLogger("deferq")
_pending: weakref.WeakKeyDictionary[Session, list[tuple[Within, Sequence[int]]]] = weakref.WeakKeyDictionary()


def ring_after_commit(session: Session, within: Within, ids: Sequence[int]) -> None:
    """Ring once `session` has committed, if these tasks are there then: a savepoint may have taken them back."""
    _listen()
    _pending.setdefault(session, []).append((within, ids))


def _after_commit(session: Session) -> None:
    """A savepoint that is released counts as a commit to SQLAlchemy; ours is that of the whole transaction."""
    if session.in_nested_transaction():
        return
    for within, ids in _pending.pop(session, ()):
        if within.ring(ids) is None:  # a transaction around the session's is still open
            look_for(within, ids)


def _after_rollback(session: Session) -> None:
    if not session.in_nested_transaction():
        _pending.pop(session, None)


def _after_end(session: Session, ended: SessionTransaction) -> None:
    """A session that is closed rolls back without a word; its tasks are gone, and somebody may have meant to commit."""
    if ended.parent is not None:
        return
    waiting = _pending.pop(session, None)
    if waiting and sys.exc_info()[1] is None:
        logger.warning(
            "a SQLAlchemy session was closed without a commit, and the %d tasks that were deferred in its transaction"
            " are not stored. Commit it, or defer with within=False",
            sum(len(ids) for _, ids in waiting),
        )


_EVENTS: tuple[tuple[str, Any], ...] = (
    ("after_commit", _after_commit),
    ("after_rollback", _after_rollback),
    ("after_transaction_end", _after_end),
)


def _listen() -> None:
    for name, listener in _EVENTS:
        if not event.contains(Session, name, listener):
            # Before those of the application, since one that raises is the last one.
            event.listen(Session, name, listener, insert=True)
