"""What the bench asks of a system: deferq, its peers and the floor stand behind the same two classes."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Protocol, TypeVar

from bench.marks import READY, Marks, Silence
from bench.processes import running, tail


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How a worker process is started."""

    argv: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Sink(ABC):
    """An open store as its callers see it."""

    @abstractmethod
    def defer(self) -> None:
        """Defer one no-op; when it returns, the task is stored as durably as the system stores it."""

    def defer_many(self, count: int) -> None:
        """Defer `count` no-ops by the system's own call for many; here it has none."""
        for _ in range(count):
            self.defer()

    @abstractmethod
    def close(self) -> None:
        """Release what is open."""


class Store(Sink):
    """An open store with workers."""

    @abstractmethod
    def mark(self, fifo: str, tag: int) -> None:
        """Defer one task that reports that it runs."""

    @abstractmethod
    def fill(self, count: int, fifo: str) -> None:
        """Store a mark FIRST, `count` no-ops and a mark LAST in one transaction, by whatever means there are."""

    @abstractmethod
    def drained(self) -> bool:
        """Whether nothing waits and nothing is held, as far as the store shows it."""

    def succeeded(self) -> int | None:
        """How many tasks have ended well; None: the system keeps no history."""
        return None

    def span_s(self, first_ns: int) -> float | None:
        """Seconds from the first lease to the last settlement of what `fill` stored, as the store's own rows tell.

        `first_ns` is when its first task ran, in monotonic nanoseconds. None: the system keeps no such rows.
        """
        return None

    @abstractmethod
    def worker(self, threads: int | None = None) -> Command:
        """One worker process; None: with as many threads as it has by default."""


class Candidate(ABC):
    """What can be measured: a system, or the floor."""

    #: As it is called in the table.
    name: str
    #: What a task that is stored survives.
    durability: str
    #: "ours", "floor" or "peer"; "variant": ours, set up in another way than by default
    role: str = "peer"
    #: Importable packages without which there is nothing to measure.
    packages: tuple[str, ...] = ()
    #: Whether it has a call for many tasks.
    bulk = False

    def missing(self) -> str:
        """What to install before this can be measured; empty if nothing is missing."""
        absent = [package for package in self.packages if importlib.util.find_spec(package) is None]
        return f"pip install {' '.join(absent)}" if absent else ""

    @abstractmethod
    def open(self, folder: Path) -> Sink:
        """A new, empty store; its files are in `folder`, if it has any."""


S = TypeVar("S", bound=Sink, covariant=True)


class Opens(Protocol[S]):
    """Whatever opens a store of some kind."""

    def open(self, folder: Path) -> S:
        """A new, empty store."""


class System(Candidate):
    """Something that has workers."""

    @property
    def threads(self) -> str:
        """How its worker is made up, for the label; empty: whatever it chooses."""
        return ""

    @abstractmethod
    def open(self, folder: Path) -> Store:
        """A new, empty store; its files are in `folder`, if it has any."""


@contextlib.contextmanager
def opened(system: Opens[S], folder: Path) -> Iterator[S]:
    """An empty store for the length of a block."""
    store = system.open(folder)
    with contextlib.closing(store):
        yield store


@contextlib.contextmanager
def idle_worker(
    store: Store,
    folder: Path,
    marks: Marks,
    threads: int | None = None,
    rest_s: float = 0.5,
    more: Mapping[str, str] | None = None,
) -> Iterator[Popen[bytes]]:
    """A worker process that has run a task, and has had nothing to do since; `more` adds to its environment."""
    command = store.worker(threads)
    log = folder / "worker.log"
    with running(command.argv, log, {**command.environment, **(more or {})}) as worker:
        store.mark(marks.path, READY)
        try:
            _started(worker, marks, log)
        except Silence as silence:
            raise RuntimeError(f"worker: {silence}: {tail(log)}") from None
        time.sleep(rest_s)
        yield worker


def _started(worker: Popen[bytes], marks: Marks, log: Path, timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        arrived = marks.read(0.2)
        if arrived is not None and arrived[0] == READY:
            return
        if worker.poll() is not None:
            raise RuntimeError(f"worker ended with {worker.returncode}: {tail(log)}")
    raise Silence(f"no task reported within {timeout_s:.0f} s")
