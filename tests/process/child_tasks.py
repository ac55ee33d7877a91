"""An application for child processes: each task does something that a worker must survive.

Tasks tell of themselves in files of the current folder, which is the worker's.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from deferq import RetryTask, Snooze, current_task

RUNS = Path("runs")


def note(word: object = "") -> None:
    """One line for each execution; a single write, so that nothing is lost when the process is killed."""
    with RUNS.open("a") as file:
        file.write(f"{current_task().id} {os.getpid()} {word}\n")


def nothing() -> None: ...


def take(data: bytes) -> int:
    return len(data)


def give(data: object) -> object:
    return data


def nap(seconds: float) -> None:
    note()
    time.sleep(seconds)


def hold(name: str = "go") -> str:
    note("held")
    while not Path(name).exists():
        time.sleep(0.005)
    return "through"


def hold_and_give(size: int, name: str = "go") -> bytes:
    hold(name)
    return os.urandom(size)


def hold_first_time(name: str = "go") -> int:
    note("first" if current_task().attempt == 1 else "again")
    while current_task().attempt == 1 and not Path(name).exists():
        time.sleep(0.005)
    return current_task().attempt


def look_whether_cancelled() -> str:
    note()
    while not current_task().cancelled:
        time.sleep(0.005)
    raise RetryTask(after=0)


async def async_hold(name: str = "go") -> str:
    note("held")
    while not Path(name).exists():
        await asyncio.sleep(0.005)
    return "through"


async def async_peak(most: int) -> None:
    """Say how many of us run at the same time, and stay until so many have been there together."""
    note()
    _together.add(current_task().id)
    while len(_together) < most and not Path("full").exists():
        await asyncio.sleep(0.005)
    Path("full").touch()
    with Path("peak").open("a") as file:
        file.write(f"{len(_together)}\n")
    await asyncio.sleep(0.01)
    _together.discard(current_task().id)


_together: set[int] = set()


def die() -> None:
    note()
    os._exit(3)


def segfault() -> None:
    note()
    ctypes.string_at(0)


class Poison:
    """Kills whoever unpickles it, once it is armed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _swallow, ()


def _swallow() -> None:
    if not Path("armed").exists():
        return
    with RUNS.open("a") as file:
        file.write("0 0 poison\n")
    os._exit(4)


def kill_child_once() -> None:
    note()
    if current_task().attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def hold_interpreter_lock() -> None:
    """A single call in C that lasts for ages, unless the process is killed."""
    note()
    re.match(r"(a?){64}a{64}$", "a" * 64 + "b")


def forks() -> int:
    note()
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def forks_and_comes_back() -> int:
    """The copy returns like the original: it must not go on as a worker."""
    note()
    pid = os.fork()
    if pid == 0:
        return 0
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _sleep_long() -> None:
    time.sleep(60)


def starts_processes(how: str) -> int | None:
    """The end of a process that is asked to end in the way everybody asks."""
    note()
    process = multiprocessing.get_context(how).Process(target=_sleep_long)
    process.start()
    time.sleep(0.05)
    process.terminate()
    process.join(15)
    ended = process.exitcode
    if ended is None:
        process.kill()
    return ended


def runs_program() -> str:
    note()
    words = [sys.executable, "-c", "print(input() if 0 else 'from a program')"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def reads_input() -> str:
    note()
    return sys.stdin.read()


def closes_standard_streams() -> None:
    note()
    for number in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.close(number)


def closes_all_it_can() -> None:
    """As programs do that become daemons: also what is not theirs."""
    note()
    os.closerange(3, 4096)


def prints(word: str) -> None:
    print("said", word)


def asks_for_retry() -> int:
    note()
    if current_task().attempt < 3:
        raise RetryTask(after=0.01, reason="not yet")
    return current_task().attempt


def snoozes() -> str:
    note()
    if not Path("snoozed").exists():
        Path("snoozed").touch()
        raise Snooze(after=0.01, reason="a little later")
    return "awake"


def fails(message: str) -> None:
    note()
    raise ValueError(message)


def exits() -> None:
    note()
    sys.exit(3)


def installs_handler() -> str:
    """Threads may not."""
    note()
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    except ValueError as error:
        return str(error)
    return "it went"


def stops_the_worker() -> str:
    note()
    os.kill(os.getppid(), signal.SIGTERM)
    return "asked"


def tells_itself() -> dict[str, Any]:
    task = current_task()
    return {
        "id": task.id, "name": task.name, "queue": task.queue, "target": task.target, "attempt": task.attempt,
        "route": task.route, "tags": task.tags, "headers": dict(task.headers), "left": task.seconds_left,
        "cancelled": task.cancelled,
    }  # fmt: skip


async def async_tells_itself() -> dict[str, Any]:
    await asyncio.sleep(0)
    return tells_itself()


def hoards(mebibytes: int) -> int:
    note()
    _hoard.append(bytearray(os.urandom(1) * (mebibytes * 1024 * 1024)))
    return os.getpid()


_hoard: list[bytearray] = []
