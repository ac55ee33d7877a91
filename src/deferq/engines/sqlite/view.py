"""A store that is only looked at: nothing is made, upgraded, leased or written, and no lock is waited for long."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from deferq.engines.base import COUNT_CAP, Clock, Counts, Details, Filter, Page, Record, Total, system_clock
from deferq.engines.sqlite import files, inspecting, migrations, reading
from deferq.engines.sqlite.statements import statements
from deferq.engines.sqlite.trouble import translated
from deferq.errors import InsecurePath, StoreUnavailable
from deferq.model.settings import QueueSettings
from deferq.model.task import EPOCH_2020_US, ID_RANDOM_BITS, Task

Answer = TypeVar("Answer")
SQL = statements("doctor")
#: Milliseconds to wait for somebody who keeps everybody out, which only a recovery does.
BUSY_TIMEOUT_MS = 2_000


class Group(NamedTuple):
    """Tasks that have something in common."""

    target: str
    #: The class of the error, or the reason; None: there is none.
    why: str | None
    number: int
    #: One of them, or the latest moment of any of them (microseconds since the epoch, UTC).
    last: int


class Held(NamedTuple):
    """Tasks of one queue, and the earliest moment of any of them (microseconds since the epoch, UTC)."""

    queue: str
    number: int
    since: int


class Later(NamedTuple):
    """How many things bear a time that has not come yet, and the latest of these times."""

    number: int
    last: int | None


class SqliteView:
    """An SQLite store as it stands in its file.

    Opens the file at once and for reading alone. Raises StoreUnavailable or StoreCorrupt; whether it is of this
    release's schema is for the caller to ask.
    """

    def __init__(self, path: Path, *, synchronous: str = "FULL", clock: Clock = system_clock) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self.synchronous = synchronous
        self._clock = clock
        try:
            is_there = files.check(path)
        except InsecurePath:  # nobody is harmed by a look
            is_there = True
        if not is_there:
            raise StoreUnavailable(f"There is no store {path}. Defer a task or start a worker to make it.")
        with translated(str(path)):
            self._journal = _journal_of_unused(path)
            self._connection = _connect(path, unused=self._journal is not None)
            try:
                migrations.schema_version(self._connection)  # the first look at the file says whether it is a database
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def __enter__(self) -> SqliteView:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        return self._clock()

    # ---- the file

    def info(self) -> dict[str, int | str]:
        """Sizes in bytes, versions and modes."""
        info = self._read(lambda connection: inspecting.info(connection, self.path, self.synchronous))
        return info if self._journal is None else {**info, "journal_mode": self._journal}

    def check_length(self) -> None:
        """Raise StoreCorrupt if the file is shorter than it should be."""
        self._read(lambda connection: files.check_length(self.path, connection))

    def check(self, *, full: bool = False) -> list[str]:
        """What SQLite finds wrong with the file; nothing if it is sound."""
        return self._read(lambda connection: inspecting.check(connection, full))

    def tables_beside(self) -> int:
        """How many tables are not deferq's."""
        return int(self._ask("tables_beside")[0][0])

    # ---- what an engine answers too

    def get(self, ids: Sequence[int]) -> list[Task]:
        """The tasks that exist, in the order asked for."""
        return self._read(lambda connection: reading.get(connection, ids))

    def details(self, task_id: int) -> Details:
        """Payload, result and failed attempts of a task. Raises TaskNotFound."""
        return self._read(lambda connection: reading.details(connection, task_id))

    def find(self, where: Filter, *, after: int | None = None, limit: int = 100) -> Page:
        """Tasks that match, newest first."""
        return self._read(lambda connection: reading.find(connection, where, after, limit))

    def queues(self) -> list[QueueSettings]:
        """Every queue, by name."""
        return self._read(reading.queues)

    def counts(self, *, cap: int = COUNT_CAP) -> Counts:
        """How many tasks stand where."""
        return self._read(lambda connection: reading.counts(connection, self.now(), cap))

    def totals(self, since: int, until: int) -> list[Total]:
        """Totals of the attempts settled in [since, until)."""
        return self._read(lambda connection: reading.totals(connection, since, until))

    def records(self, kind: str, *, after: str | None = None, limit: int = 100) -> list[Record]:
        """Records of a kind by key."""
        return self._read(lambda connection: reading.records(connection, kind, after, limit))

    # ---- what only a doctor asks; `cap` rows are looked at

    def parked(self) -> list[Group]:
        """Parked tasks by target and error, the most first."""
        return [Group(*row) for row in self._ask("parked")]

    def waiting_targets(self) -> list[Group]:
        """What pending and leased tasks call, with the id of one of them."""
        return [Group(target, None, count, last) for target, count, last in self._ask("waiting_targets")]

    def suspects(self) -> list[Group]:
        """Pending tasks that run in quarantine, by target."""
        return [Group(target, None, count, last) for target, count, last in self._ask("suspects")]

    def heads(self) -> list[tuple[bytes, int, int]]:
        """How envelopes of waiting tasks begin: the first eight bytes, how many, and the id of one of them."""
        return [(head or b"", count, last) for head, count, last in self._ask("heads")]

    def own_urls(self, due: int) -> list[tuple[str | None, Held]]:
        """Tasks with an url of their own that are ready since `due` or earlier, by their route and queue."""
        return [(route, Held(queue, *row)) for queue, route, *row in self._ask("own_urls", due=due)]

    def stalled(self, before: int) -> list[Held]:
        """Tasks whose lease ended before that time."""
        return [Held(*row) for row in self._ask("stalled", before=before)]

    def leased_far_ahead(self, after: int) -> Later:
        """Leases that end after that time."""
        return Later(*self._ask("leased_far_ahead", after=after)[0])

    def due_far_ahead(self, after: int) -> Later:
        """Pending tasks that are due after that time."""
        return Later(*self._ask("due_far_ahead", after=after)[0])

    def made_later(self, than: int) -> Later:
        """Tasks that were deferred after that time, by the clock of whoever deferred them."""
        count, last = self._ask("made_later", id=(than - EPOCH_2020_US) << ID_RANDOM_BITS)[0]
        return Later(count, None if last is None else (last >> ID_RANDOM_BITS) + EPOCH_2020_US)

    def totals_later(self, than: int) -> Later:
        """Settlements after that time, by the clock of whoever settled."""
        return Later(*self._ask("totals_later", after=than)[0])

    def dead_lately(self, since: int) -> list[Group]:
        """Tasks that died after that time, by target and reason, the most first."""
        return [Group(*row) for row in self._ask("dead_lately", since=since)]

    def errors_lately(self) -> list[tuple[str, str, int, int]]:
        """Class of the error, kind of failure, how many, and when last."""
        return [(row[0], row[1], row[2], row[3]) for row in self._ask("errors_lately")]

    # ---- inside

    def _ask(self, name: str, **parameters: int) -> list[Any]:
        return self._read(lambda connection: connection.execute(SQL[name], {**parameters, "cap": COUNT_CAP}).fetchall())

    def _read(self, read: Callable[[sqlite3.Connection], Answer]) -> Answer:
        with translated(str(self.path)):
            return read(self._connection)


def _journal_of_unused(path: Path) -> str | None:
    """The journal mode in the header of a file that nobody has open; None: somebody has, or has left a log.

    A file that is in use must not be opened and closed by other means than SQLite's: that would drop the locks that
    this process holds on it.
    """
    if any(os.path.exists(f"{path}{end}") for end in ("-wal", "-shm")):
        return None
    with suppress(OSError), path.open("rb") as file:
        return "wal" if file.read(20)[18:] == b"\2\2" else "delete"
    return "unknown"


def _connect(path: Path, *, unused: bool) -> sqlite3.Connection:
    """Into a file that nobody has open SQLite would lay an empty log beside it; it is told that nobody writes."""
    uri = f"{path.as_uri()}?mode=ro{'&immutable=1' if unused else ''}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        connection.execute(f"pragma busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("pragma query_only = on")
    except BaseException:
        connection.close()
        raise
    return connection
