"""Runs, recorded from a seed: two engines on one file, and a log so small that everything happens to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import pytest

from deferq.engines.sqlite import checkpoint, connections
from deferq.engines.sqlite.connections import Connect
from tests.power.calls import Workload
from tests.power.images import Disk, Image, everything, write
from tests.power.noting import FILE, Run
from tests.power.promises import Content
from tests.power.recording import Recording, connect, recorded

NEVER = 1 << 40


@contextmanager
def small(random: Random) -> Iterator[bool]:
    """The log's measures, so small that all that happens to a log happens within a hundred calls.

    Yields whether a reader may keep a snapshot: whoever cuts the log waits for it.
    """
    cuts = random.random() < 0.4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "CHECKPOINT_BYTES", random.choice((40_000, 80_000, 200_000)))
        patch.setattr(checkpoint, "TRUNCATE_BYTES", random.choice((0, 100_000)) if cuts else NEVER)
        patch.setattr(checkpoint, "LOOK_EVERY", random.choice((2, 4)))
        patch.setattr(checkpoint, "ROOM", bytes(random.choice((16, 40)) * 1024))
        patch.setattr(connections, "LOG_LIMIT_BYTES", random.choice((50_000, NEVER)))
        yield not cuts


def record(
    folder: Path,
    seed: int,
    *,
    calls: int = 120,
    synchronous: Sequence[str] = ("FULL", "FULL"),
    connect: Connect = connect,
    only: Sequence[str] = (),
    before: Image | None = None,
    found: Content | None = None,
) -> Run:
    """Record a run from `seed` in an empty folder, or on what stood there `before`; `only` these ways, if any.

    There is an engine for each word of `synchronous`.
    """
    random = Random(seed)
    run = Run(seed, before=before, found=found)
    recording = Recording(before or {})
    run.events = recording.events
    with ExitStack() as stack:
        may_hold = stack.enter_context(small(random))
        stack.enter_context(recorded(folder, recording))
        for name, data in (before or {}).items():
            write(folder / name, data)
        work = Workload(folder / FILE, random, recording, run, synchronous=synchronous, connect=connect)
        stack.callback(work.end)
        work.start()
        ways = [way for way in work.ways if way.__name__ in only or not only]
        ways = [way for way in ways if may_hold or way != work.hold]
        for _ in range(calls):
            random.choice(ways)()
    check_recording(run, folder)
    return run


def check_recording(run: Run, folder: Path) -> None:
    """Whether all that happened was heard: what was recorded comes to what stands there."""
    disk = Disk(run.before)
    disk.go_on(run.events)
    for name, data in disk.image(everything(Random(), disk)).items():
        assert (folder / name).read_bytes() == data, f"something happened to {name} that was not heard"
