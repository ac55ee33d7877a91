"""An application whose tasks kill the process they run in, each in its own way, and some that do not."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import time
from pathlib import Path

from deferq import RetryTask, current_task

RUNS = Path("runs")


def note(word: object = "") -> None:
    """One line for each execution; a single write, so that nothing is lost when the process is killed."""
    with RUNS.open("a") as file:
        file.write(f"{current_task().id} {os.getpid()} {word}\n")


def good() -> None: ...


def naps() -> None:
    time.sleep(0.02)


def segfaults() -> None:
    note()
    ctypes.string_at(0)


async def async_segfaults() -> None:
    note()
    await asyncio.sleep(0)
    ctypes.string_at(0)


def exits() -> None:
    note()
    os._exit(0)


def eats() -> None:
    eaten = []
    while True:
        eaten.append(bytes(1_000_000))


def eats_in_small_pieces() -> None:
    eaten: list[object] = []
    while True:
        eaten = [eaten, object()]


HOARD: list[object] = []


def hoards() -> None:
    """It ends well, and leaves not a byte to report it with."""
    note()
    for size in (1_000_000, 10_000, 400, 100, 16):
        try:
            while True:
                HOARD[:] = [(*HOARD, bytes(size))]
        except MemoryError:
            pass


async def async_hoards() -> None:
    await asyncio.sleep(0)
    hoards()


async def async_eats() -> None:
    await asyncio.sleep(0)
    eats()


def tells() -> tuple[int, int]:
    """Its process, and how much data that may have."""
    return os.getpid(), resource.getrlimit(resource.RLIMIT_DATA)[0]


def holds(name: str = "go") -> str:
    """Healthy: it only takes its time."""
    note()
    while not Path(name).exists():
        time.sleep(0.005)
    return "through"


def looks() -> None:
    note()
    while not current_task().cancelled:
        time.sleep(0.005)
    raise RetryTask(after=0)
