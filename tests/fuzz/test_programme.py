"""Two million inputs for all that reads what comes from elsewhere: each is refused with a declared error, or taken."""

from __future__ import annotations

import random
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fuzz import campaign
from tests.fuzz.campaign import Report, Told, has_atheris
from tests.fuzz.catalogue import TARGETS, Target
from tests.support import sized, tried

#: How much of each target's share is tried, and seconds for all of it.
TIMES = sized(test=0.01, proof=1.0, long=60.0)
SECONDS_MAX = sized(test=60, proof=150, long=7_200)
#: So long takes any of them at most; it is much more than it should.
SECONDS_EACH = sized(test=20, proof=60, long=3_600)
#: What is quick makes up for what had no time.
QUICK = ("signature", "envelope")


@pytest.mark.slow
@pytest.mark.programme
def test_no_input_does_more_than_it_may(tmp_path: Path) -> None:
    guided, until = has_atheris(), time.monotonic() + SECONDS_MAX
    seed = random.randrange(1_000_000_000)
    told = Told(folder=tmp_path, seconds=SECONDS_EACH, seed=seed, plain=not guided, until=until)
    print(f"seed {seed}, {'with' if guided else 'WITHOUT'} atheris")
    if not guided:
        warnings.warn("atheris is not installed: genuine inputs were changed at random instead", stacklevel=1)

    reports = search({target: int(target.share * TIMES) for target in TARGETS.values()}, told)
    wanted = int(sum(target.share for target in TARGETS.values()) * TIMES)
    missing = wanted - executed(reports)
    if missing > 0 and time.monotonic() < until:
        more = replace(told, folder=tmp_path / "more", seconds=SECONDS_MAX, seed=seed + 1)
        reports += search({TARGETS[name]: missing // len(QUICK) + 1 for name in QUICK}, more)

    tried("fuzz executions" if guided else "fuzz executions without atheris", executed(reports))
    if executed(reports) < wanted:
        warnings.warn(f"only {executed(reports):,} of {wanted:,} inputs in {SECONDS_MAX} s", stacklevel=1)
    assert not [str(report) for report in reports if not report.ok]
    assert all(report.executions for report in reports)


def search(executions: dict[Target, int], told: Told) -> list[Report]:
    """So many of each."""
    return campaign.run([(target, replace(told, executions=count)) for target, count in executions.items()])


def executed(reports: list[Report]) -> int:
    return sum(report.executions for report in reports)
