"""What a process of ours is doing, for people who ask it at night: the stacks of its threads, on standard error."""

from __future__ import annotations

import faulthandler
import signal
import sys
from collections.abc import Callable


def show_on_signals() -> None:
    """SIGUSR1 prints what each thread is doing; SIGQUIT does so and ends the process; so does a crash.

    A handler that SIGUSR1 has already is called too. It is printed even if a thread holds the interpreter lock and does
    not let go. Without a standard error nothing is set up. Whoever started this process may have kept SIGUSR1 from it
    until now.
    """
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)
        faulthandler.register(signal.SIGUSR1, file=sys.__stderr__, chain=_has_handler(signal.SIGUSR1))
        faulthandler.register(signal.SIGQUIT, file=sys.__stderr__, chain=True)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})


def show_on_signals_and_call(handler: Callable[[], None]) -> None:
    """As `show_on_signals`, and SIGUSR1 also calls `handler` afterwards.

    What prints would stay behind a handler that is set later, and setting it up again changes nothing: so it is taken
    away first. Meanwhile the signal waits, since it would end the process.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    faulthandler.unregister(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, lambda *_: handler())
    show_on_signals()


def write_crash(descriptor: int) -> None:
    """Let a crash of this process be written there, and not on standard error."""
    faulthandler.enable(descriptor, all_threads=False)


def _has_handler(number: signal.Signals) -> bool:
    return callable(signal.getsignal(number))
