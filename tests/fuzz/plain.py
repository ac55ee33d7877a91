"""A search without atheris: genuine inputs, changed at random, one after another. What comes is told by the seed."""

from __future__ import annotations

import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.fuzz.guard import SECONDS_MAX

#: As libFuzzer says it.
EXECUTED = "stat::number_of_executed_units:"
_ODD = (b"", b"\0", b"\xff", b"\n", b"\n\n", b"*", b"$", b"@", b'"', b"{", b"[", b"-1", b"1e400", b"NaN", b"9" * 400)


def run(
    fuzz: Callable[[bytes], None], seeds: list[bytes], folder: Path, executions: int, seconds: float, seed: int
) -> None:
    """Up to so many inputs (negative: no limit) for up to so many seconds. Exits with 1 at the first that is wrong."""
    draw, until, done = random.Random(seed), time.monotonic() + seconds, 0
    signal.signal(signal.SIGALRM, _too_slow)
    while done != executions and (done % 64 or time.monotonic() < until):
        data = mutated(draw, seeds)
        signal.alarm(SECONDS_MAX)
        try:
            fuzz(data)
        except BaseException:
            signal.alarm(0)
            _tell(folder, data)
            print(EXECUTED, done + 1, file=sys.stderr)
            sys.exit(1)
        done += 1
    signal.alarm(0)
    print(EXECUTED, done, file=sys.stderr)


def mutated(draw: random.Random, seeds: list[bytes]) -> bytes:
    """One of the seeds, with a few places changed, left out, doubled, or taken from another."""
    data = draw.choice(seeds)
    for _ in range(1 + int(draw.random() * 4)):
        data = _changed(draw, data, seeds)
    return data


def _changed(draw: random.Random, data: bytes, seeds: list[bytes]) -> bytes:
    at, kind = int(draw.random() * (len(data) + 1)), int(draw.random() * 6)
    if kind == 0:
        return data[:at] + bytes((draw.getrandbits(8),)) + data[at + 1 :]
    if kind == 1:
        return data[:at] + draw.choice(_ODD) + data[at + draw.getrandbits(2) :]
    if kind == 2:
        return data[:at] + data[at + 1 + draw.getrandbits(4) :]
    if kind == 3:
        return data[:at] + data[at : at + draw.getrandbits(5)] + data[at:]
    other = draw.choice(seeds)
    place = int(draw.random() * (len(other) + 1))
    return data[:at] + other[place : place + (draw.getrandbits(5) if kind == 4 else len(other))]


def _tell(folder: Path, data: bytes) -> None:
    traceback.print_exc()
    place = folder / "findings"
    place.mkdir(parents=True, exist_ok=True)
    written = place / f"crash-{sha1(data).hexdigest()}"
    written.write_bytes(data)
    print("the input is written to", written, file=sys.stderr)


def _too_slow(number: int, frame: FrameType | None) -> NoReturn:
    raise TimeoutError(f"one input took {SECONDS_MAX} seconds")
