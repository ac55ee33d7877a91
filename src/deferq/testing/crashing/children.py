"""Processes that live through a task: forked from this one, or started anew."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any, NamedTuple, NoReturn

from deferq.errors import DeferqError
from deferq.model.task import Leased
from deferq.testing.crashing.commits import SqliteCommits
from deferq.testing.crashing.inherited import Inherited
from deferq.testing.crashing.life import STARTS_MAX, Ending, Orders, live
from deferq.testing.crashing.points import Point


class CannotTell(DeferqError):
    """`assert_idempotent` could not make its trials, so it cannot tell anything about the task."""


class NotOver(CannotTell):
    """The task did not come to its end: it hangs, or ends its process, or asks to be run again for ever."""


class Lived(NamedTuple):
    """What is known of a process that is over."""

    points: list[Point]
    #: The last attempt it started.
    task: Leased
    #: How the task ended; None: the process was killed first.
    ending: Ending | None


class Child:
    """A process that was started."""

    def __init__(self, pid: int, wait: Callable[[], int]) -> None:
        self._pid = pid
        self._wait = wait
        self._code: int | None = None

    def wait(self) -> int:
        """Its exit code, or minus the number of the signal that ended it."""
        if self._code is None:
            self._code = self._wait()
        return self._code

    def end(self) -> None:
        """End it, if it has not ended: it has told all it had to tell."""
        if self._code is None:  # afterwards the number may be another's
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self.wait()


def live_through(orders: Orders, inherited: Inherited | None, attempt_s: float) -> Lived:
    """Have a process follow `orders`: one that is forked, but for what it `inherited`; None: one that is started anew.

    Raises CannotTell if it neither ends the task nor dies as it was told to.
    """
    hears, says = Pipe(duplex=False)
    with hears, _started(orders, says, hears, inherited) as child:
        says.close()
        return _listen(orders, hears, child, attempt_s)


def _listen(orders: Orders, hears: Connection, child: Child, attempt_s: float) -> Lived:
    points: list[Point] = []
    task = orders.task
    deadline = time.monotonic() + attempt_s
    while True:
        if not hears.poll(max(0.0, deadline - time.monotonic())):
            raise NotOver(_hung(points, attempt_s))
        try:
            what, value = hears.recv()
        except EOFError:
            raise NotOver(_gone(points, child.wait())) from None
        match what:
            case "point":
                points.append(value)
            case "started":
                task, deadline = value, time.monotonic() + attempt_s
            case "killed":
                return Lived(points, task, None)
            case "ended" if value is not None:
                return Lived(points, task, value)
            case "ended":
                raise NotOver(f"It was started {STARTS_MAX} times and did not end. Is there an end to its snoozing?")
            case _:
                raise CannotTell(_TROUBLE[what].format(value))


@contextmanager
def _started(orders: Orders, says: Connection, hears: Connection, inherited: Inherited | None) -> Iterator[Child]:
    child = _spawned(orders, says) if inherited is None else _forked(orders, says, hears, inherited)
    try:
        yield child
    finally:
        child.end()


# ---- forked


def _forked(orders: Orders, says: Connection, hears: Connection, inherited: Inherited) -> Child:
    _flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that threads run here is told when a child hangs
        pid = os.fork()
    if pid == 0:
        gc.freeze()  # a collection would touch, and so copy, all that the parent has
        hears.close()
        _follow(orders, inherited, says)
    return Child(pid, lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _follow(orders: Orders, inherited: Inherited, says: Connection, commits: SqliteCommits | None = None) -> NoReturn:
    """The whole life of a child, from which nobody returns into the parent's code."""
    tell = _teller(says)
    try:
        live(orders, inherited, tell, commits or SqliteCommits())
    except BaseException:
        with suppress(BaseException):
            tell("trouble", traceback.format_exc())
    finally:
        os._exit(0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # what a test has put in its place may be anything
            stream.flush()


def _teller(says: Connection) -> Callable[[str, Any], None]:
    lock = threading.Lock()

    def tell(what: str, value: Any) -> None:
        if what not in ("point", "started", "killed"):  # whoever is told of an end does not wait for it
            _flush()
        with lock:
            says.send((what, value))

    return tell


# ---- started anew


def _spawned(orders: Orders, says: Connection) -> Child:
    try:
        told = pickle.dumps(sys.path) + pickle.dumps(orders)
    except Exception as error:
        raise CannotTell(
            f"start='spawn': a new process cannot be told what to do ({error}). What is given as prepare= and commits="
            " must be found by its name in a module."
        ) from error
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(says.fileno())], stdin=subprocess.PIPE, pass_fds=[says.fileno()]
    )
    with suppress(BrokenPipeError), process.stdin as pipe:  # type: ignore[union-attr]
        pipe.write(told)
    return Child(process.pid, process.wait)


def _spawned_main(descriptor: str) -> NoReturn:
    commits = SqliteCommits()  # before anything of the user's is imported, which may connect
    sys.path[:] = pickle.load(sys.stdin.buffer)
    _follow(pickle.load(sys.stdin.buffer), Inherited(), Connection(int(descriptor), readable=False), commits)


# ---- in words

_TROUBLE = {
    "trouble": "The process that was to run the task failed before it, or after it:\n{}",
    "inherited": (
        "{}: the task uses an SQLite connection that was opened before the trial. SQLite does not let a connection be"
        " carried into another process. Open it in the task; or forget it first (prepare=get_db.cache_clear, say); or"
        " run the trials in processes of their own with start='spawn'."
    ),
}


def _hung(points: list[Point], attempt_s: float) -> str:
    after = f" It had come as far as: {points[-1]}." if points else ""
    newest_first = reversed(threading.enumerate())  # that of the test itself is likelier than one that serves others
    others = [thread.name for thread in newest_first if thread is not threading.current_thread()]
    hint = (
        f" Other threads run in this process ({', '.join(others[:5])}), and a lock that one of them held at the fork"
        " stays locked for ever: stop them before, or use start='spawn'."
        if others
        else ""
    )
    return f"An attempt did not end within {attempt_s:g} s (attempt_s).{after}{hint}"


def _gone(points: list[Point], code: int) -> str:
    after = f" after {points[-1]}" if points else ""
    return f"The process that ran the task ended by itself{after}, with {_exit(code)}. Does the task end its process?"


def _exit(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


if __name__ == "__main__":
    _spawned_main(sys.argv[1])
