"""Calls of engines on one file, each noted with what it promised and when."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from deferq.engines.sqlite import SqliteEngine
from deferq.engines.sqlite.connections import Connect
from tests.power.images import Image
from tests.power.promises import Content, Facts, Promises, content
from tests.power.recording import Event, Recording
from tests.support import US, FakeClock, TaskMaker

FILE = "deferq.db"
TOMBSTONE_S = 20


class Step(NamedTuple):
    """One call, from when it began to when it was answered."""

    what: str
    began: int
    answered: int
    #: What holds from then on, by what was answered until then.
    promised: Facts
    #: What another connection read in the file then.
    content: Content
    #: The gate's page.
    gate: bytes
    #: Of the engine that answered.
    synchronous: str
    #: Whether anything is otherwise than before.
    changed: bool
    #: What may hold in between, if it takes more than one commit.
    between: tuple[Facts, ...] = ()


@dataclass
class Run:
    """What was recorded."""

    seed: int
    events: list[Event] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    #: What stood in the folder before it, and what an engine made of it; None: nothing.
    before: Image | None = None
    found: Content | None = None


class Noted:
    """Some engines on one file, a clock, and what was promised."""

    def __init__(
        self,
        path: Path,
        random: Random,
        recording: Recording,
        run: Run,
        *,
        synchronous: Sequence[str],
        connect: Connect,
    ) -> None:
        self.path = path
        self.random = random
        self.recording = recording
        self.run = run
        self.connect = connect
        # Later than whatever stood there before.
        self.clock = FakeClock(FakeClock().now + run.seed % 1_000_000 * 3_600 * US)
        self.new = TaskMaker(self.clock)
        self.promises = Promises(self.clock, TOMBSTONE_S * US)
        self.engines = [self.make(each) for each in synchronous]
        #: The one that was asked last.
        self.asked = self.engines[0]
        #: A snapshot that somebody keeps.
        self.reader: sqlite3.Connection | None = None

    def make(self, synchronous: str) -> SqliteEngine:
        return SqliteEngine(
            self.path,
            clock=self.clock,
            synchronous=synchronous,
            tombstone_s=TOMBSTONE_S,
            connect=self.connect,
        )

    @property
    def engine(self) -> SqliteEngine:
        """One of them."""
        self.asked = self.random.choice(self.engines)
        return self.asked

    @contextmanager
    def step(self, what: str) -> Iterator[Promises]:
        """One call; within, what it answered is noted."""
        began, before = len(self.recording), dict(self.promises.facts)
        yield self.promises
        answered, promised = len(self.recording), dict(self.promises.facts)
        gate = Path(f"{self.path}-gate").read_bytes()
        now = self.engines[0]._read(content)
        changed = promised != before or not self.run.steps or now != self.run.steps[-1].content
        self.run.steps.append(Step(what, began, answered, promised, now, gate, self.asked.synchronous, changed))
        self.clock.advance(self.random.choice((0, 0, 0, 1, 5)))

    def start(self) -> None:
        """The first call."""
        with self.step("open") as promises:
            self.engines[0].open()
            self.engines[0]._read(promises.believe)

    def end(self) -> None:
        """Close whatever is open."""
        if self.reader is not None:
            self.reader.close()
        for engine in self.engines:
            engine.close()
