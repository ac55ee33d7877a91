"""Power cuts in great number: runs from seeds, cut at any moment, in any of the ways in which it may go."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.power.images import Disk, Image, fate
from tests.power.judging import Finding, Judge, MakeEngine, Verdict
from tests.power.noting import Run
from tests.power.places import folder
from tests.power.promises import Content
from tests.power.runs import record
from tests.power.stores import application, older

#: Images of a run that are judged before the next run is recorded.
PER_RUN = 150
#: So many runs follow each other, each on what a power cut left of the one before.
CHAIN = 3
#: Upon what some chains begin, by the last two bits of their seed.
STORES = {1: older, 3: application}


@dataclass
class Tally:
    """What was tried, and what was found."""

    runs: int = 0
    images: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    #: For each image in which answered calls are missing, how many.
    lost: list[int] = field(default_factory=list)
    #: Images in which calls are missing that an engine with FULL has answered.
    broken: int = 0
    #: The first few images that were not as promised, each in a line.
    examples: list[str] = field(default_factory=list)

    def note(self, verdict: Verdict, where: str) -> None:
        self.images += 1
        self.findings[verdict.finding.name] += 1
        self.broken += verdict.broken > 0
        if verdict.finding is Finding.LOST:
            self.lost.append(verdict.lost)
        if verdict.finding is not Finding.SOUND and len(self.examples) < 10:
            self.examples.append(f"{where}: {verdict.finding.name}: {verdict.why}")

    @classmethod
    def of(cls, text: str) -> Tally:
        """From the JSON of `vars(tally)`."""
        fields = json.loads(text)
        return cls(**{**fields, "findings": Counter(fields["findings"])})

    def add(self, other: Tally) -> None:
        self.runs += other.runs
        self.images += other.images
        self.findings += other.findings
        self.lost += other.lost
        self.broken += other.broken
        self.examples += other.examples

    @property
    def wrong(self) -> int:
        """Images that were not as promised."""
        return self.images - self.findings[Finding.SOUND.name]


def try_seeds(seeds: Iterable[int], images: int, per_run: int, seconds: float, synchronous: Sequence[str]) -> Tally:
    """One seed after another, until there are so many images or the time is up."""
    deadline = time.monotonic() + seconds
    tally = Tally()
    for seed in seeds:
        if tally.images >= images or time.monotonic() > deadline:
            break
        tally.add(try_seed(seed, per_run, deadline, synchronous=synchronous))
    return tally


def try_seed(seed: int, images: int, deadline: float = float("inf"), **options: Any) -> Tally:
    """A chain of runs from `seed`, and `images` different images of each, while there is time."""
    tally, random = Tally(), Random(seed)
    before: Image | None = None
    found: Content | None = None
    if (store := STORES.get(seed % 4)) is not None:
        before, found = store(seed)
    for number in range(CHAIN):
        with folder() as place:
            run = record(place, seed * CHAIN + number, before=before, found=found, **options)
        sound = try_run(run, images, random, tally, deadline)
        if not sound or time.monotonic() > deadline:
            break
        before, found = random.choice(sound)
    return tally


def try_run(
    run: Run,
    images: int,
    random: Random,
    tally: Tally,
    deadline: float = float("inf"),
    make: MakeEngine | None = None,
) -> list[tuple[Image, Content | None]]:
    """Judge different images of a run; returns those that are as promised, with what stands in them."""
    tally.runs += 1
    sound: list[tuple[Image, Content | None]] = []
    with folder() as place:
        judge = Judge(place, run, make=make)
        for image, moment, how in different(run, images, random):
            if time.monotonic() > deadline:
                break
            verdict = judge.judge(image, moment, random)
            where = f"seed {run.seed // CHAIN}, {images} images per run: run {run.seed % CHAIN + 1}"
            tally.note(verdict, f"{where}, moment {moment} of {len(run.events)}, {how}")
            if verdict.finding is Finding.SOUND:
                sound.append((image, verdict.content))
    return sound


def different(run: Run, images: int, random: Random) -> Iterator[tuple[Image, int, str]]:
    """Up to so many images of a run with their moments, no two alike, from its first moment to its last."""
    disk, reached, seen = Disk(run.before), 0, set[bytes]()
    for moment in sorted(random.choices(range(1, len(run.events) + 1), k=images)):
        disk.go_on(run.events[reached:moment])
        reached = moment
        how = fate(random, disk)
        image = disk.image(how)
        if (key := fingerprint(image)) not in seen:
            seen.add(key)
            yield image, moment, how.how


def fingerprint(image: Image) -> bytes:
    """The same for the same files."""
    digest = hashlib.blake2b(digest_size=16)
    for name, data in sorted(image.items()):
        digest.update(f"{name}:{len(data)}:".encode())
        digest.update(data)
    return digest.digest()
