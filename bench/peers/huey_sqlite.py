"""SqliteHuey: a table in a SQLite file, one transaction for each enqueue and dequeue, workers that poll."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bench import tasks
from bench.marks import FIRST, LAST
from bench.processes import python
from bench.system import Command, Store, System

FILE = "BENCH_HUEY_SQLITE"


def make(filename: str) -> Any:
    """The application, in the bench and in its consumer alike."""
    from huey import SqliteHuey  # type: ignore[import-untyped]

    huey = SqliteHuey("bench", filename=filename, fsync=True)
    register(huey)
    return huey


def register(huey: Any) -> None:
    """Name the tasks."""
    huey.noop = huey.task(name="noop")(tasks.noop)
    huey.mark = huey.task(name="mark")(tasks.mark)


def __getattr__(name: str) -> Any:
    if name == "app":
        return make(os.environ[FILE])
    raise AttributeError(name)


class HueyStore(Store):
    """What both kinds of Huey share."""

    def __init__(self, huey: Any) -> None:
        self._huey = huey

    def defer(self) -> None:
        self._huey.noop()

    def mark(self, fifo: str, tag: int) -> None:
        self._huey.mark(fifo, tag)

    def messages(self, count: int, fifo: str) -> list[bytes]:
        """A mark, `count` no-ops and a mark as they are stored."""
        huey = self._huey
        calls = [huey.mark.s(fifo, FIRST), *(huey.noop.s() for _ in range(count)), huey.mark.s(fifo, LAST)]
        return [huey.serialize_task(call) for call in calls]

    def drained(self) -> bool:
        return self._huey.pending_count() == 0  # type: ignore[no-any-return]

    def close(self) -> None:
        self._huey.storage.close()


def consumer(module: str, threads: int | None) -> list[str]:
    """The consumer without a log line for each task, which would slow it down."""
    return python("-m", "huey.bin.huey_consumer", f"{module}.app", "--quiet", "--workers", str(threads or 1))


class SqliteStore(HueyStore):
    """A database file of SqliteHuey."""

    def __init__(self, file: str) -> None:
        self.file = file
        super().__init__(make(file))

    def fill(self, count: int, fifo: str) -> None:
        storage = self._huey.storage
        rows = [(storage.name, memoryview(message), 0) for message in self.messages(count, fifo)]
        with storage.db(commit=True) as cursor:
            cursor.executemany("insert into task (queue, data, priority) values (?, ?, ?)", rows)

    def worker(self, threads: int | None = None) -> Command:
        return Command(argv=consumer(__name__, threads), environment={FILE: self.file})


class HueySqlite(System):
    """SqliteHuey(fsync=True)."""

    name = "SqliteHuey"
    durability = "WAL, synchronous=FULL"
    packages = ("huey",)
    threads = "1 thread"

    def open(self, folder: Path) -> Store:
        return SqliteStore(str(folder / "huey.db"))
