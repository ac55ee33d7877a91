"""An engine opens what a power cut left, and is held to what was promised."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from random import Random
from typing import NamedTuple

from deferq.engines.answers import Stored
from deferq.engines.sqlite import SqliteEngine
from deferq.model.outcome import SUCCEEDED
from deferq.model.state import State
from tests.power.images import Image, write
from tests.power.noting import FILE, Run
from tests.power.promises import Content, Facts, content
from tests.support import FakeClock, TaskMaker, lease, settle, want

#: One image of so many is looked at with SQLite's full check, the others with the quick one.
FULL_CHECK_EVERY = 20
MakeEngine = Callable[[Path, FakeClock], SqliteEngine]


class Finding(Enum):
    """What was found in an image, from good to bad."""

    SOUND = "as promised"
    LOST = "as it was before something that was promised"
    MIXED = "as it never was"
    REFUSED = "could not be opened, or not be worked with"
    CORRUPT = "damaged"


class Verdict(NamedTuple):
    """On one image."""

    finding: Finding
    #: How many answered calls that changed something are not in it.
    lost: int = 0
    #: How many of these were answered by an engine with FULL.
    broken: int = 0
    why: str = ""
    #: What stands in it, if it could be read.
    content: Content | None = None


class Judge:
    """Judges the images of one run in a folder of its own."""

    def __init__(self, folder: Path, run: Run, *, make: MakeEngine | None = None) -> None:
        self._path = folder / FILE
        self._run = run
        self._make = make or (lambda path, clock: SqliteEngine(path, clock=clock))
        self._answered = [step.answered for step in run.steps]
        self._began = [step.began for step in run.steps]

    def judge(self, image: Image, moment: int, random: Random) -> Verdict:
        """What an engine makes of an image of that moment."""
        self._lay_out(image, moment, random)
        # Later than anything in it, so that its leases are over.
        clock = FakeClock(FakeClock().now * 2)
        engine = self._make(self._path, clock)
        try:
            wrong = engine.check(full=random.randrange(FULL_CHECK_EVERY) == 0)
            if wrong:
                return Verdict(Finding.CORRUPT, why="; ".join(wrong))
            seen = engine._read(content)
            self._work_on(engine, clock)
        except Exception as error:
            return Verdict(Finding.REFUSED, why=f"{type(error).__name__}: {error}")
        finally:
            engine.close()
        return self._compare(seen, moment)

    def _lay_out(self, image: Image, moment: int, random: Random) -> None:
        for name in ("", "-wal", "-journal", "-shm", "-gate"):
            Path(f"{self._path}{name}").unlink(missing_ok=True)
        for name, data in image.items():
            write(self._path.with_name(name), data)
        if random.random() < 0.2:  # what processes share in memory comes to the disk now and then
            write(Path(f"{self._path}-shm"), random.randbytes(32 * 1024))
        gate = random.choice((None, b"", bytes(4096), self._gate_before(moment, random)))
        if gate is not None:
            write(Path(f"{self._path}-gate"), gate)

    def _gate_before(self, moment: int, random: Random) -> bytes | None:
        """The gate's page is never synced: it may be as it was at any time before."""
        gates = [step.gate for step in self._run.steps if step.answered <= moment]
        return random.choice(gates) if gates else None

    def _work_on(self, engine: SqliteEngine, clock: FakeClock) -> None:
        """What came back takes a task, leases it and settles it."""
        task = TaskMaker(clock)("afterwards")
        if engine.put([task]) != [Stored(task.id)]:
            raise AssertionError("the next task could not be stored")
        leased = lease(engine, 1, queues=["afterwards"])
        if [one.id for one in leased] != [task.id] or settle(engine, leased[0], SUCCEEDED).lost:
            raise AssertionError("the next task could not be leased and settled")
        if engine.get([task.id])[0].state is not State.SUCCEEDED:
            raise AssertionError("the next task did not succeed")
        engine.turn((), want(50))

    def _compare(self, seen: Content, moment: int) -> Verdict:
        """It has to be as it was after the last answered call, or after the one that was under way."""
        steps = self._run.steps
        last = sum(answered <= moment for answered in self._answered) - 1
        under_way = last + 1 < len(steps) and self._began[last + 1] < moment
        for number in range(last + under_way, -1, -1):
            step = steps[number]
            if (step.promised, step.content.digest) == (seen.facts, seen.digest):
                return self._older(number, last, seen)
            if seen.facts in step.between:
                return self._older(number - 1, last, seen)
        if self._is_as_before(seen):
            return self._older(-1, last, seen)
        promised: Facts = steps[last].promised if last >= 0 else {}
        return Verdict(Finding.MIXED, why=difference(promised, seen.facts) or "rows differ", content=seen)

    def _older(self, found: int, last: int, seen: Content) -> Verdict:
        """It is as it was after the call `found`; those after it up to `last` were answered."""
        lost = [step for step in self._run.steps[found + 1 : last + 1] if step.changed]
        if not lost:
            return Verdict(Finding.SOUND, content=seen)
        broken = sum(step.synchronous == "FULL" for step in lost)
        why = f"{len(lost)} answered calls are not in it, the first of them: {lost[0].what}"
        return Verdict(Finding.LOST, len(lost), broken, why, seen)

    def _is_as_before(self, seen: Content) -> bool:
        found = self._run.found
        if found is None:
            return is_new(seen)
        return found == seen or (is_new(found) and is_new(seen) and found.digest == seen.digest)


def is_new(content: Content) -> bool:
    """Whether there is nothing yet: a database that is made anew has another id each time."""
    return set(content.facts) == {("database",)}


def difference(promised: Facts, seen: Facts) -> str:
    """What is otherwise than promised, in a few words."""
    keys = [key for key in promised.keys() | seen.keys() if promised.get(key) != seen.get(key)]
    return "; ".join(
        f"{key}: {promised.get(key)} was promised, {seen.get(key)} found" for key in sorted(keys, key=str)[:3]
    )
