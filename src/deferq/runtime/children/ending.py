"""How a process ended, what it took, and the two in words: the report of a task that ran alone in it."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any, NamedTuple

from deferq.runtime.children.system import OsProcess
from deferq.runtime.children.wire import CUT_OFF

#: How a process ends that cannot speak with its parent any more.
LOST_CONNECTION = "lost its connection to its parent"

#: What the system counts a process's memory in.
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Usage(NamedTuple):
    """What a process has taken."""

    #: The most bytes of memory it had at a time; after its end at least what the process that started it had.
    memory: int
    #: Seconds of processor time, in its own code and in the system's.
    user_s: float
    system_s: float


class MeasuredProcess(OsProcess):
    """A process of which is known what it took, also after its end."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._usage: Usage | None = None

    def poll(self) -> int | None:
        """Its exit code; None: it lives."""
        if self.returncode is not None:
            return int(self.returncode)
        try:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else has asked for its end
            return super().poll()
        if pid:
            self.returncode = os.waitstatus_to_exitcode(status)
            self._usage = Usage(used.ru_maxrss * _MAXRSS_UNIT, used.ru_utime, used.ru_stime)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, at most so many seconds. Raises subprocess.TimeoutExpired."""
        if self.poll() is None:
            self._wait_for_end(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def usage(self) -> Usage | None:
        """What it has taken so far, or took; None where the system does not tell."""
        if self.poll() is None:
            return _usage_of_living(self.pid)
        return self._usage

    def _wait_for_end(self, timeout: float | None) -> None:
        if self.pidfd is None:
            super().wait(timeout)
            return
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        poll.poll(None if timeout is None else timeout * 1000)


def _usage_of_living(pid: int) -> Usage | None:
    with suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            peak = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            ticks = file.read().rpartition(")")[2].split()[11:13]
        per_s = os.sysconf("SC_CLK_TCK")
        return Usage(peak, int(ticks[0]) / per_s, int(ticks[1]) / per_s)
    return None


def how_it_ended(code: int) -> str:
    """What an exit code of `subprocess` says."""
    if code == CUT_OFF:
        return LOST_CONNECTION
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def megabytes(size: int) -> str:
    """Bytes, for people."""
    return f"{size / 1e6:,.0f} MB"


def own_memory() -> int:
    """Bytes of data that this process has, as RLIMIT_DATA counts them; 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError), open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[5]) * resource.getpagesize()
    return 0
