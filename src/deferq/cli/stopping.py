"""How a worker is told to stop: a signal, and a second signal."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from types import FrameType
from typing import Protocol

from deferq.runtime import stacks
from deferq.runtime.children.parent import ParentWorker

#: Seconds that threads of the application may hold up the end of the process.
LINGER_S = 2.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: The terminal is gone. It stops as SIGTERM does, but however often it comes, it is never the second signal: a shell
#: and the kernel may both send it.
HANGUP = signal.SIGHUP


class Stoppable(Protocol):
    """A worker, or several."""

    def request_stop(self) -> None:
        """Ask it to stop, without waiting."""


class Stopping:
    """Passes the wish to stop on to a worker."""

    def __init__(self) -> None:
        """From now on SIGUSR1 prints what each thread is doing, even while the application is imported."""
        self._worker: Stoppable | None = None
        self._signalled = False
        stacks.show_on_signals()

    def watch_over(self, worker: Stoppable) -> None:
        """From now on signals stop `worker`."""
        self._worker = worker
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        if isinstance(worker, ParentWorker):
            stacks.show_on_signals_and_call(worker.show_stacks)
        if signal.getsignal(HANGUP) is not signal.SIG_IGN:  # nohup wants it to live on
            signal.signal(HANGUP, self._on_hangup)
        _watching.append(self)

    def _on_hangup(self, _: int, __: FrameType | None) -> None:
        self.ask()

    def ask(self) -> None:
        """Stop: lease nothing more, let running tasks finish, give back the rest."""
        if self._worker is not None:
            self._worker.request_stop()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._signalled:
            os.write(2, b"deferq: ended at once; what was running runs again\n")
            os._exit(128 + number)  # whoever asks twice does not want to wait; others see that it is dead
        self._signalled = True
        self.ask()


_watching: list[Stopping] = []


def _hear_no_more() -> None:
    """All is done. The interpreter ends without its handlers, and a late signal would look like a death."""
    for number in (*SIGNALS, HANGUP) if _watching else ():
        signal.signal(number, signal.SIG_IGN)


# Already now, while no application is loaded: what that wants to do at the end comes before, and may still be ended.
atexit.register(_hear_no_more)


def end_soon(code: int) -> None:
    """The worker has ended: a thread that an unfinished task left behind must not keep the process alive."""
    timer = threading.Timer(LINGER_S, os._exit, (code,))
    timer.daemon = True
    timer.start()
