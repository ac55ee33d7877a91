"""The processes of a storm: workers with their children, and producers; how they are hit, and when that was."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.cli.processes import Running

HERE = Path(__file__).parent
APP = HERE / "storm_tasks.py"
sys.path.append(str(HERE))
#: `deferq worker` with leases that run out soon; there is no option for that, since nobody needs it otherwise.
SHORT_LEASES = """
import functools, sys
from deferq.cli import main, parent
parent.LEASE_S = float(sys.argv.pop(1))
parent.WorkerConfig = functools.partial(parent.WorkerConfig, poll_s=parent.LEASE_S / 4)
sys.exit(main.main())
"""


class Hit(NamedTuple):
    """A signal that ends a process, or may."""

    #: Just before it was sent, in nanoseconds on the machine's monotonic clock: till then the process lived.
    at: int
    pid: int
    number: int


class Worker(Running):
    """A `deferq worker` and its children."""

    def __init__(self, folder: Path, url: str, *, children: int, lease_s: float | None) -> None:
        words = ["worker", str(APP), "--url", url, "--children", str(children), "--threads", "4", "--drain-s", "1"]
        if lease_s is None:
            super().__init__(folder, *words)
        else:
            super().__init__(folder, str(lease_s), *words, command=("-c", SHORT_LEASES))
        self.pid = self.process.pid
        #: Somebody has asked it to end, or has ended it; the codes it may end with.
        self.codes: set[int] = set()
        self._read_to = 0
        self._announced: list[int] = []

    @property
    def leaving(self) -> bool:
        return bool(self.codes)

    @property
    def works(self) -> bool:
        """Whether it has said so: from then on a signal stops it in order."""
        return not self.leaving and any("worker started" in line for line in self.lines[:100])

    @property
    def silent(self) -> bool:
        """Whether nobody can print any more: neither the process nor a child of it."""
        return self._ended

    def ready(self) -> list[int]:
        """Children that have loaded the application and live."""
        while self._read_to < len(self.lines):
            line = self.lines[self._read_to]
            self._read_to += 1
            if "is ready: pid " in line:
                self._announced.append(int(line.rpartition("pid ")[2]))
        self._announced = [pid for pid in self._announced if parent_of(pid) == self.pid]
        return self._announced

    def children(self) -> list[int]:
        """All of them, also those that still load the application."""
        with suppress(OSError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return self.ready()

    def forget(self, pid: int) -> None:
        """It is as good as dead."""
        with suppress(ValueError):
            self._announced.remove(pid)


class Producer(Running):
    """Defers tasks until it is killed."""

    def __init__(self, folder: Path, *words: str) -> None:
        super().__init__(folder, *words, command=(str(HERE / "producer.py"),))
        self.pid = self.process.pid

    @property
    def ready(self) -> bool:
        return "ready" in self.lines


def strike(pid: int, number: int, parent: int) -> Hit | None:
    """Send a signal to a process that is a child of `parent`; None: it is none any more.

    Its number may have been given to somebody else's process since, so it is held by a descriptor while one looks.
    """
    try:
        held = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        if parent_of(pid) != parent:
            return None
        hit = Hit(time.monotonic_ns(), pid, number)
        signal.pidfd_send_signal(held, number)
        return hit
    except ProcessLookupError:
        return None
    finally:
        os.close(held)


def parent_of(pid: int) -> int | None:
    """The parent of a process that lives; None: it is dead, or a zombie."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else int(parent)


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def living(folder: Path) -> Iterator[str]:
    """Command lines of processes that name `folder`."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str(folder) in line and parent_of(int(entry.name)) is not None:
                    yield f"pid {entry.name}: {line}"
