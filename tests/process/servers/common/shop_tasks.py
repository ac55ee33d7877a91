"""What every application of these tests does: it writes down what it is asked about, and defers what it is told to."""

from __future__ import annotations

import functools
import os
import threading
import time
from pathlib import Path

from deferq import call, defer_many
from deferq.default import default

HERE = Path(__file__).parent
PATIENCE_S = 30.0
PROCESSES = int(os.environ.get("PROCESSES", "1"))

if "LEASE_S" in os.environ:  # instead of the two minutes after which a dead process's task runs again
    default().worker = functools.partial(default().worker, lease_s=float(os.environ["LEASE_S"]))


# ---- tasks


def note(number: int) -> None:
    """Leaves a line."""
    write_down("ran", number, os.getpid())


def hold(number: int) -> None:
    """Runs until it may go."""
    write_down("begun", number, os.getpid())
    wait_for(lambda: (HERE / "go").exists())


def meet(number: int) -> None:
    """Runs until one of its kind runs in each process."""
    write_down("met", number, os.getpid())
    wait_for(lambda: len({line.split()[1] for line in (HERE / "met").read_text().splitlines()}) == PROCESSES)


# ---- what an application calls


def imported() -> None:
    """Called at the end of the application's module: what has the import started and opened?"""
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("deferq")]
    write_down("imported", os.getpid(), *threads, *files_of_the_store())


def answer(path: str) -> str:
    """`/defer/note/3` stores three tasks and names them, `/here` says what runs and is open in this process."""
    match path.strip("/").split("/"):
        case ["defer", name, count]:
            handles = defer_many(call(globals()[name], number) for number in range(int(count)))
            return " ".join(str(handle.id) for handle in handles)
        case ["here"]:
            threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("deferq")]
            return " ".join([str(os.getpid()), *threads, *files_of_the_store()])
        case _:
            return "?"


# ---- helpers


def files_of_the_store() -> list[str]:
    return [path for path in map(_aim_of, os.listdir("/proc/self/fd")) if path.startswith(f"{HERE}/jobs.db")]


def _aim_of(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


def write_down(file: str, *words: object) -> None:
    """One line, whoever else writes."""
    descriptor = os.open(HERE / file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
    os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    os.close(descriptor)


def wait_for(condition: object) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition():  # type: ignore[operator]
        if time.monotonic() > ends:
            raise TimeoutError("nobody let it go")
        time.sleep(0.005)
