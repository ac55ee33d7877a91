"""The process that watches: it runs the worker in a child and starts a new one when the source changes.

The child holds the reading end of a pipe. It stops when our end closes: because we close it, or because we are gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from deferq.cli.arguments import EXIT_OK
from deferq.cli.watching import changes

#: Seconds the child has beyond its drain time before it is killed.
GRACE_S = 3.0


class Reloader:
    """Keeps one child running the newest source."""

    def __init__(self, arguments: Sequence[str], app: str | None, drain_s: float) -> None:
        """Args: the child's arguments; what it imports, which says where the source is; how long its tasks may run."""
        self._arguments = arguments
        self._folders = _folders(app)
        self._drain_s = drain_s
        self._child: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._started = 0
        self._stop = threading.Event()

    def run(self) -> int:
        """Watch until a signal says stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants it to live on
            signal.signal(signal.SIGHUP, self._on_hangup)
        signal.signal(signal.SIGUSR1, self._pass_on)
        watching = changes(self._folders, self._stop)
        self._start()
        try:
            for changed in watching:
                if changed:
                    self._restart(changed)
                self._look_after_child()
        finally:
            self._end()
        return EXIT_OK

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._stop.is_set():
            if self._child is not None:
                self._child.kill()
            os._exit(128 + number)
        self._stop.set()

    def _on_hangup(self, _: int, __: FrameType | None) -> None:
        """The terminal is gone; it may say so more than once, and still the child stops in order."""
        self._stop.set()

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        """Whoever asks what the threads are doing means those of the worker."""
        if self._child is not None:
            self._child.send_signal(number)

    def _start(self) -> None:
        again = ["--again"] if self._started else []
        reading, self._lifeline = os.pipe()
        command = [sys.executable, "-u", "-P", "-m", "deferq", *self._arguments, "--lifeline", str(reading), *again]
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # it would kill a child that is not ready
        self._child = subprocess.Popen(command, pass_fds=[reading])
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(reading)
        self._started += 1

    def _restart(self, changed: set[str]) -> None:
        _say(f"{', '.join(sorted({_shown(path) for path in changed}))} changed: reloading")
        self._end()
        if not self._stop.is_set():
            self._start()

    def _look_after_child(self) -> None:
        """A child that ended has said why: a syntax error, or a store that is down. The next change may mend it."""
        if self._child is None or (code := self._child.poll()) is None:
            return
        self._end()
        _say(f"the worker ended with exit code {code}; waiting for a change of the source")

    def _end(self) -> None:
        """Let the child stop; it has its drain time and a little more."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        if self._child is None:
            return
        try:
            self._child.wait(self._drain_s + GRACE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None


def _folders(app: str | None) -> list[Path]:
    """Where the source is: the current folder, and that of the file, unless it lies within."""
    here = Path.cwd()
    file = (here / app.partition(":")[0]).parent if app and app.partition(":")[0].endswith(".py") else here
    folder = Path(os.path.abspath(file))
    return [here] if folder.is_relative_to(here) or not folder.is_dir() else [here, folder]


def _shown(path: str) -> str:
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
