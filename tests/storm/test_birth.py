"""A process that is killed while it makes the store, the secret or its bell leaves nothing that hinders the next."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from deferq import Deferq, State
from tests.storm.ledger import FILE, read
from tests.storm.processes import Producer, Worker
from tests.support import sized, tried

import storm_tasks as tasks  # isort: skip

#: Seconds within which a process imports deferq, makes its store and gets to work.
BIRTH_S = 0.5


@pytest.mark.programme
def test_a_store_whose_maker_is_killed_serves_the_next(tmp_path: Path) -> None:
    most, seconds = sized((4, 4.0), (100, 15.0), (3_000, 1_800.0))
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ends = time.monotonic() + seconds
    times = 0
    while times < most and time.monotonic() < ends:
        times += 1
        folder = tmp_path / str(times)
        folder.mkdir()
        begin_and_kill(folder, chance, both=times % 4 == 0)
        look(folder)
    tried("stores whose maker was killed", times)


def begin_and_kill(folder: Path, chance: random.Random, *, both: bool) -> None:
    """A producer, and sometimes a worker beside it: all are killed within their first moments."""
    url = f"sqlite:///{folder}/jobs.db"
    with Producer(folder, url, "a", "1000", "0") as producer:
        if both:
            with Worker(folder, url, children=1, lease_s=None) as worker:
                time.sleep(chance.uniform(0.1, 2 * BIRTH_S))
                worker.send_to_all(signal.SIGKILL)
        else:
            time.sleep(chance.uniform(0.05, BIRTH_S))
        producer.send(signal.SIGKILL)


def look(folder: Path) -> None:
    """What was acknowledged is there, and the store takes and keeps more."""
    accepted = [record.task for record in read(folder / FILE) if record.what == "accepted"]
    with Deferq(f"sqlite:///{folder}/jobs.db") as deferq:
        assert len(deferq.engine.get(accepted)) == len(accepted)
        assert deferq.call(tasks.instant, "later").defer().state in (State.PENDING, State.LEASED)
        assert deferq.engine.check(full=True) == []  # type: ignore[attr-defined]
