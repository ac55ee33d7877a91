"""Starting the process of a child, with its end of the socket and the memory it shares with the parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from deferq.runtime.children.channel import Channel
from deferq.runtime.children.process import ChildProcess
from deferq.runtime.children.starts import Starts, shared_memory
from deferq.runtime.children.system import OsProcess

#: PR_SET_PDEATHSIG of prctl(2)
_SET_SIGNAL_OF_PARENTS_DEATH = 1


def spawn(arguments: Sequence[str]) -> ChildProcess:
    """Run `python -m deferq ARGUMENTS --child SOCKET,MEMORY` with two descriptors that it inherits."""
    ours, theirs = socket.socketpair()
    memory = shared_memory()
    try:
        process = OsProcess(
            [*_python(), *arguments, "--child", f"{theirs.fileno()},{memory}"],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno(), memory],
        )
        return ChildProcess(process, Channel(ours), Starts(memory), time.monotonic())
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(memory)


def inherited(words: str) -> tuple[socket.socket, int]:
    """A child's end of the socket, and the descriptor of the memory, from what `spawn` says on the command line."""
    end, memory = (int(word) for word in words.split(","))
    for descriptor in (end, memory):
        os.set_inheritable(descriptor, False)  # not for the programs that tasks start
    return socket.socket(fileno=end), memory


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
