"""The tasks that every system runs. They import nothing heavy, so that a worker's figures are the worker's."""

from __future__ import annotations

import os
import struct
import time

MARK = struct.Struct("<qq")


def noop() -> None:
    """Do nothing."""


def mark(fifo: str, tag: int) -> None:
    """Say through a FIFO that task `tag` runs, and when (the monotonic clock is the same in every process)."""
    now_ns = time.monotonic_ns()
    descriptor = os.open(fifo, os.O_WRONLY)
    try:
        os.write(descriptor, MARK.pack(tag, now_ns))
    finally:
        os.close(descriptor)


def spin(duration_s: float) -> None:
    """Use the CPU of this thread for `duration_s`."""
    end_s = time.thread_time() + duration_s
    while time.thread_time() < end_s:
        pass


def nap(duration_s: float) -> None:
    """Wait without using the CPU."""
    time.sleep(duration_s)


def stay(fifo: str, leave: str, patience_s: float = 60.0) -> None:
    """Report the process it runs in as the tag, then stay until the file `leave` is there."""
    mark(fifo, os.getpid())
    end_s = time.monotonic() + patience_s
    while not os.path.exists(leave) and time.monotonic() < end_s:
        time.sleep(0.02)
