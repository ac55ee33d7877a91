"""The points an attempt comes past, and the one at which its process dies."""

from __future__ import annotations

import linecache
import os
import signal
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from types import FrameType
from typing import Any, NamedTuple

import deferq
from deferq.runtime import executor

BEFORE_COMMIT, AFTER_COMMIT, AWAIT = "before the commit", "after the commit", "in the await"
END = "when the task was done and deferq did not know it yet"

_HERE = str(Path(deferq.__file__).parent) + os.sep
#: The demo belongs to deferq, but its tasks are tasks like yours.
_DEMO = os.path.join(_HERE, "demo")
_LIBRARIES = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), "<frozen")
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Place(NamedTuple):
    """A line of code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        path = os.path.relpath(self.file)
        return f"{self.file if path.startswith('..') else path}:{self.line} in {self.function}"

    @property
    def code(self) -> str:
        """The line as it stands in the file."""
        return linecache.getline(self.file, self.line).strip()


class Point(NamedTuple):
    """A moment at which a process may die."""

    #: Counted from 1, in the order of one run.
    number: int
    kind: str
    #: Where in the user's code; None: nowhere in it.
    place: Place | None

    def __str__(self) -> str:
        return self.kind if self.place is None else f"{self.kind} at {self.place}"


class Watch:
    """Counts the points, tells each of them, and kills this process at number `kill_at`; None: never."""

    def __init__(self, kill_at: int | None, tell: Callable[[str, Any], None]) -> None:
        self._kill_at = kill_at
        self._tell = tell
        self._lock = Lock()
        self._passed = 0
        self.closed = False

    def come_past(self, kind: str, place: Place | None) -> None:
        """This thread has come to a point; it may be the last thing it does."""
        if self.closed:
            return
        with self._lock:
            self._passed += 1
            self._tell("point", Point(self._passed, kind, place))
            if self._passed == self._kill_at:
                self._tell("killed", None)
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()  # not a step further


def users_place(frame: FrameType | None) -> Place | None:
    """The innermost line of the user's own code, from `frame` outwards to where the task began.

    Where there is none, in a thread of a library say, the innermost one that is not deferq's.
    """
    innermost = None
    while frame is not None and frame.f_code.co_filename != executor.__file__:
        if _is_users(frame):
            return _place(frame)
        if innermost is None and not frame.f_code.co_filename.startswith(_HERE):
            innermost = _place(frame)
        frame = frame.f_back
    return innermost


def last_place(frames: Iterable[FrameType]) -> Place | None:
    """Where the last of `frames` stands that runs the user's own code."""
    found = None
    for frame in frames:
        if _is_users(frame):
            found = _place(frame)
    return found


def _place(frame: FrameType) -> Place:
    return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def _is_users(frame: FrameType) -> bool:
    """Whether it runs neither deferq nor a library."""
    file = frame.f_code.co_filename
    if file.startswith(_HERE):
        return file.startswith(_DEMO)
    return not any(part in file for part in _INSTALLED) and not file.startswith(_LIBRARIES)
