"""How a worker is told to stop: a signal, a second signal, or the end of the process that watches over it."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from deferq.runtime import stacks
from deferq.runtime.worker import Worker

#: Seconds that threads of the application may hold up the end of the process.
LINGER_S = 2.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: The terminal is gone. It stops as SIGTERM does, but however often it comes, it is never the second signal: a shell
#: and the kernel may both send it.
HANGUP = signal.SIGHUP


class Stopping:
    """Passes the wish to stop on to a worker."""

    def __init__(self) -> None:
        """From now on SIGUSR1 prints what each thread is doing, even while the application is imported."""
        self._worker: Worker | None = None
        self._signalled = False
        stacks.show_on_signals()

    def watch_over(self, worker: Worker) -> None:
        """From now on signals stop `worker`."""
        self._worker = worker
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        if signal.getsignal(HANGUP) is not signal.SIG_IGN:  # nohup wants it to live on
            signal.signal(HANGUP, self._on_hangup)

    def follow(self, lifeline: int) -> None:
        """Stop when the other end of the pipe `lifeline` closes, and leave Ctrl-C to whoever holds that end."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=self._ask_at_end_of, args=(lifeline,), name="deferq-lifeline", daemon=True).start()

    def ask(self) -> None:
        """Stop: lease nothing more, let running tasks finish, give back the rest."""
        if self._worker is not None:
            self._worker.request_stop()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._signalled:
            os._exit(128 + number)  # whoever asks twice does not want to wait; leases run out by themselves
        self._signalled = True
        self.ask()

    def _on_hangup(self, _: int, __: FrameType | None) -> None:
        self.ask()

    def _ask_at_end_of(self, lifeline: int) -> None:
        while os.read(lifeline, 1):
            pass
        self.ask()


def end_soon(code: int) -> None:
    """The worker has ended: a thread that an unfinished task left behind must not keep the process alive."""
    timer = threading.Timer(LINGER_S, os._exit, (code,))
    timer.daemon = True
    timer.start()
