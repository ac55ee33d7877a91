"""Where the user's connections commit: what every one of them executes, and what a database module calls a commit.

An SQLite connection is noticed by Python's audit event, whoever opens it and by which name (`sqlite3.connect`, a
subclass, SQLAlchemy, Django, aiosqlite), and its trace callback is told each statement before it runs. That a commit
is over is noticed at the next thing the thread does in Python: nothing can happen in between.
"""

from __future__ import annotations

import functools
import inspect
import re
import sqlite3
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from deferq.testing.crashing.points import AFTER_COMMIT, BEFORE_COMMIT, Place, Watch, users_place

_COMMENTS = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_WRITES = re.compile(r"\b(?:insert|update|delete|replace)\b", re.IGNORECASE)
_CHANGING = {"INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER", "VACUUM", "REINDEX"}


class SqliteCommits:
    """Listens to every SQLite connection of this process from now on. It cannot be undone: the process is to die."""

    def __init__(self) -> None:
        #: Who counts; None: nobody yet.
        self.watch: Watch | None = None
        sys.addaudithook(self._audited)

    def _audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "sqlite3.connect/handle":
            _soon(functools.partial(self._listen_to, arguments[0]), sys._getframe(1))

    def _listen_to(self, connection: sqlite3.Connection) -> bool:
        """Whether nothing is left to do; a connection that is still being made takes no callback."""
        try:
            connection.set_trace_callback(_Statements(self, connection.in_transaction).heard)
        except sqlite3.ProgrammingError as error:
            return "__init__ not called" not in str(error)
        return True


class _Statements:
    """What one connection executes. The connection is not referred to: to be forgotten may be how it is closed."""

    def __init__(self, commits: SqliteCommits, in_transaction: bool) -> None:
        self._commits = commits
        self._in_transaction = in_transaction  # with autocommit=False it begins with the connection
        #: The savepoint that began the transaction.
        self._outermost = ""
        self._committing = False
        self._place: Place | None = None

    def heard(self, sql: str) -> None:
        """A statement is about to run. SQLite lets nothing raised here through."""
        self._over()
        watch = self._commits.watch
        if watch is None or not self._commits_with(sql):
            return
        caller = sys._getframe(1)
        self._committing, self._place = True, users_place(caller)
        watch.come_past(BEFORE_COMMIT, self._place)
        _soon(self._over, caller)

    def _over(self) -> bool:
        if self._committing and self._commits.watch is not None:
            self._committing, place, self._place = False, self._place, None
            self._commits.watch.come_past(AFTER_COMMIT, place)
        return True

    def _commits_with(self, sql: str) -> bool:
        """Whether the statement ends a transaction well, or is one of its own."""
        rest = sql[_COMMENTS.match(sql).end() :]  # type: ignore[union-attr]  # it matches nothing, at least
        words = rest[:200].upper().replace(";", " ").split()
        match words:
            case ["BEGIN", *_]:
                self._in_transaction = True
            case ["COMMIT" | "END", *_]:
                self._in_transaction = False
                return True
            case ["ROLLBACK", *others]:
                self._in_transaction = self._in_transaction and "TO" in others
            case ["SAVEPOINT", name, *_]:
                if not self._in_transaction:
                    self._in_transaction, self._outermost = True, name
            case ["RELEASE", *_, name] if name == self._outermost:
                self._in_transaction, self._outermost = False, ""
                return True
            case [word, *_] if not self._in_transaction:
                return word in _CHANGING or (word == "WITH" and _WRITES.search(rest) is not None)
        return False


def _soon(act: Callable[[], bool], caller: FrameType) -> None:
    """Call `act` at the next thing this thread does in Python, and at those after it, until it returns True.

    What runs within the call that `caller` makes does not count: it may be an SQL function, or somebody else's audit
    hook, and the statement is still under way.
    """
    where = caller.f_lasti

    def next_thing(frame: FrameType, event: str, argument: Any) -> None:
        if not _is_within(frame.f_back, caller, where) and act():
            sys.setprofile(None)

    sys.setprofile(next_thing)


def _is_within(frame: FrameType | None, caller: FrameType, where: int) -> bool:
    """Whether `frame` is, or was called by, what `caller` does at this very instruction."""
    while frame is not None:
        if frame is caller:
            return caller.f_lasti == where
        frame = frame.f_back
    return False


def watch_method(owner: Any, name: str, watch: Watch) -> None:
    """Make calls of `owner.name`, such as `(psycopg.Connection, "commit")`, count as commits."""
    original = inspect.getattr_static(owner, name) if isinstance(owner, type) else getattr(owner, name)

    @functools.wraps(original)
    def watched(*args: Any, **kwargs: Any) -> Any:
        place = users_place(sys._getframe(1))
        watch.come_past(BEFORE_COMMIT, place)
        result = original(*args, **kwargs)
        if inspect.isawaitable(result):
            return _after_awaiting(result, place, watch)
        watch.come_past(AFTER_COMMIT, place)
        return result

    setattr(owner, name, watched)


async def _after_awaiting(result: Any, place: Place | None, watch: Watch) -> Any:
    value = await result
    watch.come_past(AFTER_COMMIT, place)
    return value
