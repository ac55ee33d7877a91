"""deferq itself, through its public API and its command line. All that the bench knows about deferq stands here."""

from __future__ import annotations

import contextlib
import math
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bench import tasks
from bench.marks import FIRST, LAST
from bench.processes import child_environment, python
from bench.system import Command, Store, System

FILE = "deferq.db"
#: Reads in a moment, and still tells many from few.
COUNT_CAP = 5_000
US = 1_000_000


def url_of(file: Path, synchronous: str = "FULL") -> str:
    """The URL of a database."""
    return f"sqlite:///{file.resolve()}?synchronous={synchronous}"


def connect(url: str) -> Any:
    """An instance of deferq."""
    from deferq import Deferq

    return Deferq(url)


@cache
def has_children() -> bool:
    """Whether `deferq worker` is a parent with child processes; else the process that leases also executes."""
    asked = python("-m", "deferq", "worker", "--help")
    done = subprocess.run(asked, env=child_environment(), capture_output=True, text=True, check=False, timeout=60)
    return "--children" in done.stdout


def worker_argv(url: str, children: int) -> list[str]:
    """The worker as an operator starts it, with its default threads."""
    counted = ["--children", str(children)] if has_children() else []
    return python("-m", "deferq", "worker", "bench.tasks", "--url", url, *counted)


def inside_argv(url: str) -> list[str]:
    """A process that runs a worker in its own threads, as a web server does."""
    return python("-m", "bench.inside", url)


class OurStore(Store):
    """An open deferq database; `argv` is how its workers are started."""

    def __init__(self, url: str, argv: Sequence[str] = ()) -> None:
        from deferq import call

        self.url = url
        self.queue = connect(url)
        self._argv = list(argv)
        self._call = call
        self._first_id = 0

    @property
    def file(self) -> Path:
        """The database."""
        return Path(self.queue.engine.path)

    def defer(self) -> None:
        self.queue.defer(tasks.noop)

    def defer_many(self, count: int) -> None:
        call = self._call
        self.queue.defer_many(call(tasks.noop) for _ in range(count))

    def mark(self, fifo: str, tag: int) -> None:
        self.queue.defer(tasks.mark, fifo, tag)

    def stay(self, fifo: str, leave: Path) -> None:
        """Defer a task that reports its process and stays until the file `leave` is there."""
        self.queue.defer(tasks.stay, fifo, str(leave))

    def nap_many(self, count: int, duration_s: float) -> None:
        """Defer tasks that wait."""
        self.queue.defer_many(self._call(tasks.nap, duration_s) for _ in range(count))

    def spin_many(self, count: int, duration_s: float) -> None:
        """Defer tasks that use the CPU."""
        self.queue.defer_many(self._call(tasks.spin, duration_s) for _ in range(count))

    def fill(self, count: int, fifo: str, spin_s: float = 0.0) -> None:
        """No-ops between the marks, or tasks that use the CPU for `spin_s`."""
        handles = self.queue.defer_many(self._filling(count, fifo, spin_s))
        self._first_id = handles[0].id

    def _filling(self, count: int, fifo: str, spin_s: float) -> Iterator[Any]:
        yield self._call(tasks.mark, fifo, FIRST)
        for _ in range(count):
            yield self._call(tasks.spin, spin_s) if spin_s else self._call(tasks.noop)
        yield self._call(tasks.mark, fifo, LAST)

    def drained(self) -> bool:
        queues = self.queue.engine.counts(cap=1).queues
        return not any(queue.ready or queue.leased or queue.retrying for queue in queues)

    def succeeded(self) -> int:
        return int(self.queue.engine.counts(cap=10_000_000).succeeded)

    def span_s(self, first_ns: int) -> float:
        """A succeeded row keeps the end of its lease, and leases last whole seconds: so it tells when it began."""
        with contextlib.closing(sqlite3.connect(self.file)) as reader:
            lease_ends_us, settled_us = reader.execute(
                "select min(leasable_at), max(finished_at) from deferq_task where id >= ?", (self._first_id,)
            ).fetchone()
        started_us = (time.time_ns() - time.monotonic_ns() + first_ns) / 1000
        lease_s = math.ceil((lease_ends_us - started_us) / US)
        return float((settled_us - lease_ends_us) / US + lease_s)

    def ready(self) -> int:
        """How many tasks wait for a worker, up to a few thousand."""
        return sum(queue.ready for queue in self.queue.engine.counts(cap=COUNT_CAP).queues)

    def leased(self) -> int:
        """How many tasks a worker holds."""
        return sum(queue.leased for queue in self.queue.engine.counts(cap=COUNT_CAP).queues)

    def spent(self) -> int:
        """How many tasks wait that have spent an attempt."""
        with contextlib.closing(sqlite3.connect(self.file)) as reader:
            (count,) = reader.execute("select count(*) from deferq_task where state = 0 and attempts > 0").fetchone()
        return int(count)

    def settled(self) -> int:
        """How many attempts were ever settled, whatever of the history is gone."""
        engine = self.queue.engine
        return sum(total.attempts for total in engine.totals(0, engine.now() + US))

    def workers(self) -> int:
        """How many workers have said that they live."""
        return len(self.queue.engine.records("worker"))

    def worker(self, threads: int | None = None) -> Command:
        return Command(argv=self._argv)

    def close(self) -> None:
        self.queue.close()


class Ours(System):
    """deferq on a SQLite file, with a worker of so many children, or with one inside the process that runs it."""

    name = "deferq"
    bulk = True

    def __init__(self, synchronous: str = "FULL", *, children: int = 1, inside: bool = False) -> None:
        self._synchronous = synchronous
        self._children = children
        self._inside = inside
        self.role = "variant" if inside or children > 1 else "ours"
        self.durability = f"WAL, synchronous={synchronous}"

    @property
    def threads(self) -> str:
        """How its worker is made up; the number of threads is the default."""
        if self._inside:
            return "worker in process"
        if self._children > 1:
            return f"parent, {self._children} children"
        return "parent, 1 child" if has_children() else "default threads"

    def missing(self) -> str:
        with contextlib.suppress(ImportError):
            from deferq import Deferq, call  # noqa: F401

            return "" if self._children == 1 or has_children() else "this `deferq worker` has no --children"
        return "pip install -e ."

    def open(self, folder: Path) -> OurStore:
        url = url_of(folder / FILE, self._synchronous)
        return OurStore(url, inside_argv(url) if self._inside else worker_argv(url, self._children))
