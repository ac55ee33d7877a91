"""Real workers, their children and real producers on one file, killed, frozen and stopped as fast as they rise."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.storm.aftermath import check, settle_down, told
from tests.storm.processes import descriptors
from tests.storm.storm import FROZEN_LONG, Storm
from tests.support import sized, tried

SEED = int(os.environ.get("DEFERQ_STORM_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
#: Short enough that who is frozen loses its lease. `deferq worker` has 30 seconds.
SHORT_S = 2.0
LONG_FREEZES = {"frozen": FROZEN_LONG, "frozen_s": (0.5 * SHORT_S, 2.5 * SHORT_S), "frozen_most": 1}


def weather(folder: Path, seed: int, kills: int, seconds: float, **options: Any) -> None:
    print(f"seed {seed}: DEFERQ_STORM_SEED={seed}")
    with Storm(folder, seed, **options) as storm:
        storm.wait_for_the_veteran()
        had = descriptors(storm.veteran.pid)
        storm.rage(kills, seconds)
        drained_s = settle_down(storm)
        seen = check(storm, had)
    print(f"drained {drained_s:.1f} s after the last blow; {dict(storm.done)}; {dict(told(seen))}")
    tried("SIGKILLs under load", storm.kills)
    for name, number in storm.done.items():
        tried(f"in storms: {name}", number)
    for name, number in (+told(seen)).items():
        tried(name, number)
    assert storm.kills > 0


@pytest.mark.programme
@pytest.mark.timeout(700)
@pytest.mark.parametrize("round", range(sized(1, 1, 100)))
def test_a_storm_of_kills_loses_nothing_and_runs_nothing_twice_at_a_time(tmp_path: Path, round: int) -> None:
    kills, seconds = sized((12, 6.0), (650, 270.0), (650, 600.0))
    weather(tmp_path, SEED + round, kills, seconds, workers=sized(2, 3, 3))


@pytest.mark.slow
@pytest.mark.programme
@pytest.mark.timeout(700)
@pytest.mark.parametrize("round", range(sized(1, 1, 100)))
def test_a_storm_in_which_leases_run_out_lets_no_late_outcome_count(tmp_path: Path, round: int) -> None:
    kills, seconds = sized((8, 8.0), (350, 190.0), (350, 600.0))
    weather(tmp_path, SEED + round, kills, seconds, lease_s=SHORT_S, **LONG_FREEZES)
