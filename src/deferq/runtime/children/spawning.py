"""Starting the process of a child, with its end of the socket and the memory it shares with the parent."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, TypeVar

from deferq.runtime.children.channel import Channel
from deferq.runtime.children.ending import MeasuredProcess
from deferq.runtime.children.process import ChildProcess
from deferq.runtime.children.quarantined import QuarantineChild
from deferq.runtime.children.starts import Starts, memory_file, shared_memory
from deferq.runtime.children.system import OsProcess

C = TypeVar("C", bound=ChildProcess)

#: PR_SET_PDEATHSIG of prctl(2)
_SET_SIGNAL_OF_PARENTS_DEATH = 1
#: Numbers from which on a child looks for a free descriptor.
_HIGH = (900, 200)


def spawn(arguments: Sequence[str]) -> ChildProcess:
    """Run `python -m deferq ARGUMENTS --child SOCKET,MEMORY` with two descriptors that it inherits."""
    return _spawn(arguments, OsProcess, ChildProcess)


def spawn_apart(arguments: Sequence[str]) -> QuarantineChild:
    """The same for a suspect task: the child inherits a third descriptor, to write into where it crashed."""
    crash = memory_file("deferq-crash")
    try:
        return _spawn(arguments, MeasuredProcess, partial(QuarantineChild, crash=crash), crash)
    except BaseException:
        os.close(crash)
        raise


def _spawn(arguments: Sequence[str], process: type[OsProcess], child: Callable[..., C], *more: int) -> C:
    ours, theirs = socket.socketpair()
    memory = shared_memory()
    descriptors = (theirs.fileno(), memory, *more)
    try:
        channel, starts = Channel(ours), Starts(memory)  # what may fail comes before there is a process
        started = process(
            [*_python(), *arguments, "--child", ",".join(map(str, descriptors))],
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
        )
        return child(started, channel, starts, time.monotonic())
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(memory)


class Inherited(NamedTuple):
    """What a child has of its parent."""

    #: Its end of the socket.
    end: socket.socket
    #: The descriptor of the memory they share.
    memory: int
    #: In quarantine: the descriptor to which it writes where it crashed.
    crash: int | None = None


def inherited(words: str) -> Inherited:
    """What `spawn` says on the command line."""
    end, *others = (_out_of_reach(int(word)) for word in words.split(","))
    return Inherited(socket.socket(fileno=end), *others)


def _out_of_reach(descriptor: int) -> int:
    """The same under a high number: tasks that close what is not theirs begin with the low ones.

    It is not inherited by the programs that tasks start.
    """
    for lowest in _HIGH:
        with suppress(OSError):  # this process may not have so many
            high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
            os.close(descriptor)
            return high
    os.set_inheritable(descriptor, False)
    return descriptor


def die_with_parent() -> None:
    """Have the kernel end this child when its parent is dead, where it can: others take the tasks at once then.

    A child sees the end of the socket too, but not while a task holds its interpreter lock.
    """
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_SIGNAL_OF_PARENTS_DEATH, signal.SIGKILL)


def _python() -> list[str]:
    return [sys.executable, "-P", "-m", "deferq"]
