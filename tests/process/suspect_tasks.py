"""An application whose tasks kill the process they run in, each in its own way, and some that do not."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import time
from pathlib import Path

from deferq import current_task

RUNS = Path("runs")


def note(word: object = "") -> None:
    """One line for each execution; a single write, so that nothing is lost when the process is killed."""
    with RUNS.open("a") as file:
        file.write(f"{current_task().id} {os.getpid()} {word}\n")


def good() -> None: ...


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


def is_killed() -> None:
    note()
    os.kill(os.getpid(), signal.SIGKILL)


def kills_twice_then_eats() -> None:
    """As a task does whose worker the system kills when memory runs out."""
    note()
    if current_task().attempt <= 2:
        os.kill(os.getpid(), signal.SIGKILL)
    eaten = []
    while True:
        eaten.append(bytes(1_000_000))


def kills_twice_then_eats_in_small_pieces() -> None:
    note()
    if current_task().attempt <= 2:
        os.kill(os.getpid(), signal.SIGKILL)
    eaten: list[object] = []
    while True:
        eaten = [eaten, object()]


async def async_kills_twice_then_eats() -> None:
    await asyncio.sleep(0)
    kills_twice_then_eats()


def kills_twice_then_raises() -> None:
    note()
    if current_task().attempt <= 2:
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError("tired")


def kills_twice_then_tells() -> dict[str, object]:
    note()
    if current_task().attempt <= 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"pid": os.getpid(), "limit": resource.getrlimit(resource.RLIMIT_DATA)[0]}


def kills_twice_then_holds(name: str = "go") -> str:
    note()
    if current_task().attempt <= 2:
        os.kill(os.getpid(), signal.SIGKILL)
    while not Path(name).exists():
        time.sleep(0.005)
    return "through"


def kills_twice_then_closes_all() -> None:
    note()
    if current_task().attempt <= 2:
        os.kill(os.getpid(), signal.SIGKILL)
    os.closerange(3, 200)
    time.sleep(60)


def holds(name: str = "go") -> str:
    """Healthy: it only takes its time."""
    note()
    while not Path(name).exists():
        time.sleep(0.005)
    return "through"
