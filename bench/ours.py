"""deferq itself, through its public API and its command line. All that the bench knows about deferq stands here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import tasks
from bench.marks import FIRST, LAST
from bench.processes import python
from bench.system import Command, Store, System

FILE = "deferq.db"


def url_of(file: Path, synchronous: str = "FULL") -> str:
    """The URL of a database."""
    return f"sqlite:///{file.resolve()}?synchronous={synchronous}"


def connect(url: str) -> Any:
    """An instance of deferq."""
    from deferq import Deferq

    return Deferq(url)


def worker_command(url: str) -> Command:
    """The worker as an operator starts it, with its default threads."""
    return Command(argv=python("-m", "deferq", "worker", "bench.tasks", "--url", url))


class OurStore(Store):
    """An open deferq database."""

    def __init__(self, url: str) -> None:
        from deferq import call

        self.url = url
        self.queue = connect(url)
        self._call = call

    def defer(self) -> None:
        self.queue.defer(tasks.noop)

    def defer_many(self, count: int) -> None:
        call = self._call
        self.queue.defer_many(call(tasks.noop) for _ in range(count))

    def mark(self, fifo: str, tag: int) -> None:
        self.queue.defer(tasks.mark, fifo, tag)

    def hold(self, fifo: str, tag: int, duration_s: float) -> None:
        """Defer a task that reports and stays for a while."""
        self.queue.defer(tasks.hold, fifo, tag, duration_s)

    def die(self) -> None:
        """Defer a task that dies at its first attempt."""
        from deferq import RetryPolicy

        self.queue.call(tasks.die).defer(retry=RetryPolicy(max_attempts=1))

    def spin_many(self, count: int, duration_s: float) -> None:
        """Defer tasks that use the CPU."""
        self.queue.defer_many(self._call(tasks.spin, duration_s) for _ in range(count))

    def fill(self, count: int, fifo: str) -> None:
        self.queue.defer_many(self._filling(count, fifo))

    def _filling(self, count: int, fifo: str) -> Iterator[Any]:
        yield self._call(tasks.mark, fifo, FIRST)
        for _ in range(count):
            yield self._call(tasks.noop)
        yield self._call(tasks.mark, fifo, LAST)

    def drained(self) -> bool:
        queues = self.queue.engine.counts(cap=1).queues
        return not any(queue.ready or queue.leased or queue.retrying for queue in queues)

    def succeeded(self) -> int:
        return int(self.queue.engine.counts(cap=10_000_000).succeeded)

    def worker(self, threads: int | None = None) -> Command:
        return worker_command(self.url)

    def close(self) -> None:
        self.queue.close()


class Ours(System):
    """deferq on a SQLite file."""

    name = "deferq"
    role = "ours"
    bulk = True
    threads = "default threads"

    def __init__(self, synchronous: str = "FULL") -> None:
        self._synchronous = synchronous
        self.durability = f"WAL, synchronous={synchronous}"

    def missing(self) -> str:
        with contextlib.suppress(ImportError):
            from deferq import Deferq, call  # noqa: F401

            return ""
        return "pip install -e ."

    def open(self, folder: Path) -> OurStore:
        return OurStore(url_of(folder / FILE, self._synchronous))
