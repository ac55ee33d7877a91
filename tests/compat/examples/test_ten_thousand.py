"""Ten thousand additions through each example, while the processes that make them are killed."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.compat.examples.sites import EXAMPLES, Example, Site
from tests.support import sized, tried

#: How many additions are asked for: where each settles with its task, and where it may be made again.
WANTED = {"yes": sized(test=300, proof=10_000, long=50_000), "no": sized(test=300, proof=10_000, long=50_000)}
CLIENTS = 6
#: Seconds between two kills, on average.
BREATH_S = 1.5
#: The processes of one web server or worker may all be dead for a while.
OUTAGE_S = 0.05


class Visitors:
    """They ask for additions until enough of them were answered."""

    def __init__(self, site: Site, wanted: int) -> None:
        self._site = site
        self._left = -(-wanted // 3)
        self._lock = threading.Lock()
        self.answered = self.unanswered = 0

    def visit(self) -> None:
        while self._take():
            answered = self._site.increment()
            with self._lock:
                self.answered += answered
                self.unanswered += not answered
                self._left += not answered
            if not answered:
                time.sleep(OUTAGE_S)

    def _take(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0


class Killer(threading.Thread):
    """Kills one process after the other."""

    def __init__(self, site: Site, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self._site, self._chance = site, chance
        self.kills = 0
        self._enough = threading.Event()

    def run(self) -> None:
        while not self._enough.wait(self._chance.uniform(0, 2 * BREATH_S)):
            among = self._site.processes_with_workers()
            if self._chance.random() < 0.1:
                among = self._site.parents()
            if among:
                self._site.kill(self._chance.choice(among))
                self.kills += 1

    def stop(self) -> None:
        self._enough.set()
        self.join()


@pytest.mark.slow
@pytest.mark.programme
@pytest.mark.timeout(600)
@pytest.mark.parametrize("settles", ["yes", "no"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.folder)
def test_no_addition_is_lost_and_none_is_made_twice_that_settles_with_its_task(
    tmp_path: Path, example: Example, settles: str
) -> None:
    wanted = WANTED[settles]
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    with Site(example, tmp_path, MINUTE_S="0.5", EXACTLY_ONCE=settles) as site:
        site.serve()
        site.work()
        visitors, killer = Visitors(site, wanted), Killer(site, random.Random(seed))
        began = time.monotonic()
        killer.start()
        with ThreadPoolExecutor(CLIENTS) as pool:
            for visit in [pool.submit(visitors.visit) for _ in range(CLIENTS)]:
                visit.result()
        site.wait_for_tasks(but=wanted // 50)
        killer.stop()
        site.let_be()
        site.wait_for_tasks()
        took_s, tally, count = time.monotonic() - began, site.tally(), site.count()

    effects, spare = divmod(count, 10)
    print(
        f"{took_s:.0f} s; {killer.kills} kills; {visitors.answered} answered, {visitors.unanswered} not;"
        f" {tally}; {count}"
    )
    name = f"{example.folder}, {'settling within' if settles == 'yes' else 'at least once'}"
    tried(f"{name}: tasks", tally.succeeded)
    tried(f"{name}: effects", effects)
    tried(f"{name}: SIGKILLs", killer.kills)
    assert (spare, tally.lost) == (0, 0)
    assert killer.kills > 0
    assert 3 * visitors.answered <= tally.succeeded <= 3 * (visitors.answered + visitors.unanswered)
    assert tally.succeeded >= wanted
    if settles == "yes":
        assert effects == tally.succeeded
    else:
        assert effects >= tally.succeeded
