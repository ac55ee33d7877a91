"""Transactions of the task on trial: what it stores and settles within them, in the application's own file.

In earnest the store is that file. On trial it is another one, so rows of a table of ours stand for tasks and success;
they come and go with the transaction, and with the state to which the file is put back before each trial.
"""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from deferq.engines.answers import Existing, PutAnswer, Stored
from deferq.engines.base import Settlement
from deferq.engines.within import CallersConnection
from deferq.errors import OtherDatabase
from deferq.model.queue import Queue
from deferq.model.task import NewTask

#: A task that was deferred, or, without a document, one that has settled itself. What begins with `deferq_` is not
#: compared.
_TABLE = "create table if not exists deferq_trial (task integer primary key, queue text, name text, document blob)"


class TrialWithin:
    """Writes by connections to `file`, where the application has its store in earnest; None: it is in no file."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def is_on(self, connection: CallersConnection) -> bool:
        """Whether it is a connection to that file."""
        if connection.dialect != "sqlite":
            return False
        files = {row[1]: row[2] for row in connection.execute("pragma database_list")}
        return self.is_place(files["main"])

    def is_place(self, file: str) -> bool:
        """Whether that is the file."""
        return bool(file) and self._exists() and Path(file).exists() and Path(file).samefile(str(self._file))

    def prepare(self, connection: CallersConnection) -> None:
        """Raise OtherDatabase if it is on another file."""
        if not self.is_on(connection):
            raise OtherDatabase(
                f"within: {connection.what} is on another database than the store of the application, {self._file}."
                " Let both use the same file."
            )

    def put(
        self, connection: CallersConnection, tasks: Sequence[NewTask], declared: Mapping[str, Queue]
    ) -> list[PutAnswer]:
        """Note the tasks in the transaction."""
        connection.begin()
        connection.execute(_TABLE)
        return [self._put(connection, task) for task in tasks]

    def _put(self, connection: CallersConnection, task: NewTask) -> PutAnswer:
        holder = self._holder(connection, task)
        if holder is not None and task.if_exists != "replace":
            return Existing(holder)
        connection.execute("delete from deferq_trial where task = ?", (holder,))
        row = (task.id, task.queue, task.name, pickle.dumps(tuple(task)))
        connection.execute("insert into deferq_trial values (?, ?, ?, ?)", row)
        return Stored(task.id, replaced=holder)

    def _holder(self, connection: CallersConnection, task: NewTask) -> int | None:
        """Who has its name."""
        query = "select +task from deferq_trial where queue = ? and name = ?"
        row = connection.execute(query, (task.queue, task.name)).fetchone()
        return None if row is None else int(row[0])

    def settle(self, connection: CallersConnection, settlement: Settlement) -> bool:
        """Note its end in the transaction; on trial no lease is lost."""
        connection.begin()
        connection.execute(_TABLE)
        connection.execute("insert or replace into deferq_trial (task) values (?)", (settlement.task.id,))
        return True

    def is_settled(self, settlement: Settlement) -> bool:
        """Whether that was committed."""
        return self.has_settled(settlement.task.id)

    def ring(self, ids: Sequence[int]) -> bool:
        """Nobody sleeps."""
        return True

    def rings_for(self, eta: int) -> bool:
        """The same."""
        return False

    def may_be_writing(self) -> bool:
        """Nobody can tell: the application's own database is another file."""
        return True

    def check_free(self) -> None:
        """Nothing is in the way: the store of the trial is another file."""

    def uncommitted(self, connection: CallersConnection, ids: Sequence[int]) -> list[int]:
        """None that anybody asks for."""
        return []

    # ---- for the trial

    def has_settled(self, task_id: int) -> bool:
        """Whether the task has settled itself, and that was committed."""
        return any(found == task_id for found, document in self._rows() if document is None)

    def deferred(self) -> list[NewTask]:
        """The tasks of transactions that were committed."""
        return [NewTask(*pickle.loads(document)) for _, document in self._rows() if document is not None]

    def _rows(self) -> Iterable[tuple[int, bytes | None]]:
        if not self._exists():
            return []
        with closing(sqlite3.connect(f"{self._uri()}?mode=ro", uri=True)) as connection:
            if not connection.execute("select 1 from sqlite_master where name = 'deferq_trial'").fetchone():
                return []
            return connection.execute("select task, document from deferq_trial order by task").fetchall()

    def _exists(self) -> bool:
        return self._file is not None and self._file.exists()

    def _uri(self) -> str:
        assert self._file is not None
        return self._file.absolute().as_uri()
