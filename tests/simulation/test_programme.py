"""The programme of seeds: a fixed number that is always the same, and at night new ones as long as there is time.

Each engine has a process of its own. What breaks a promise is told as one command line, and once it is mended its seed
stands in test_seeds_that_found_something.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.support import sized, tried


class Share(NamedTuple):
    """What one process tries."""

    options: tuple[str, ...]
    #: So many seeds from 0 on, and new ones until so many seconds are over.
    seeds: int
    seconds: float


MEMORY = Share(("--engine", "memory"), seeds=sized(0, 10_000, 500_000), seconds=sized(0, 0, 4 * 3600))
SQLITE = Share(("--engine", "sqlite"), seeds=sized(0, 3_500, 100_000), seconds=sized(0, 0, 4 * 3600))
REST = Share(("--engine", "sqlite", "--first-seed", "3500"), seeds=sized(0, 500, 1), seconds=0)
CHILDREN = Share(("--engine", "memory", "--children"), seeds=sized(0, 1_000, 50_000), seconds=sized(0, 0, 3600))
PUSHED = Share(("--engine", "memory", "--push"), seeds=sized(0, 500, 50_000), seconds=sized(0, 0, 3600))
PUSHED_ON_SQLITE = Share(("--engine", "sqlite", "--push"), seeds=sized(0, 200, 20_000), seconds=sized(0, 0, 3600))
#: On a slow machine there are fewer.
MOST_S = sized(1, 450, 8 * 3600)
#: Another one each day: 20301231 and five digits.
NEW_SEEDS = int(time.strftime("%Y%m%d", time.gmtime())) * 100_000


@pytest.mark.slow
@pytest.mark.programme
@pytest.mark.timeout(8 * 3600)
@pytest.mark.skipif(not MEMORY.seeds, reason="test_simulation.py tries the first few")
def test_no_seed_breaks_a_promise() -> None:
    """Two processes side by side: SQLite in one, the others, and what it leaves, in the other."""
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(_try_all, [[SQLITE], [MEMORY, CHILDREN, PUSHED, PUSHED_ON_SQLITE, REST]]))
    assert not any(broken for broken in said), "\n".join(broken for broken in said if broken)


def _try_all(shares: list[Share]) -> str:
    """What broke, or nothing."""
    for share in shares:
        began = time.monotonic()
        broken = _run(*share.options, "--seeds", str(share.seeds), "--seconds", str(MOST_S))
        left_s = share.seconds - (time.monotonic() - began)
        if not broken and left_s > 0:
            broken = _run(*share.options, "--first-seed", str(NEW_SEEDS), "--seconds", f"{left_s:.0f}")
        if broken:
            return broken
    return ""


def _run(*options: str) -> str:
    """What the command says if it finds something."""
    command = [sys.executable, "-m", "deferq.testing.simulate", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return done.stdout + done.stderr
    match = re.match(r"(.+): ([\d,]+) seeds", done.stdout)
    assert match, done.stdout
    new = f", new ones from {NEW_SEEDS}" if str(NEW_SEEDS) in options else ""
    tried(f"seeds on {match[1]}{new}", int(match[2].replace(",", "")))
    return ""
