"""Telling systemd how the worker is: ready, stopping, alive. It asks for that with `Type=notify` and `WatchdogSec=`."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from deferq.model.events import Event, EventName

_WORDS = {
    EventName.WORKER_STARTED: "READY=1\nSTATUS=works",
    EventName.WORKER_STOPPING: "STOPPING=1\nSTATUS=lets running tasks finish",
    EventName.STORE_UNAVAILABLE: "STATUS=the store is out of reach; trying again",
    EventName.STORE_RECOVERED: "STATUS=works",
}


class ServiceManager:
    """A listener that passes on what systemd wants to know."""

    names = frozenset(_WORDS)

    def __init__(self, address: str, watchdog_s: float | None) -> None:
        """Args: the datagram socket; how often it must hear of us at least, in seconds (None: not at all)."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog_s = watchdog_s
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._alive: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Pass it on; from the first word on the watchdog hears of us too."""
        self._tell(_WORDS[event.name])
        if self._watchdog_s is not None and self._alive is None:
            self._alive = threading.Thread(target=self._stay_alive, name="deferq-watchdog", daemon=True)
            self._alive.start()

    def _tell(self, words: str) -> None:
        with suppress(OSError):  # nobody listens any more; the worker goes on
            self._socket.sendto(words.encode(), self._address)

    def _stay_alive(self) -> None:
        """For as long as this process gets turns of the interpreter, until its end."""
        pause = threading.Event()
        while not pause.wait((self._watchdog_s or 0) / 3):
            self._tell("WATCHDOG=1")


def service_listeners() -> list[Callable[[Event], None]]:
    """A listener if systemd started this process and asked for word; else none.

    The variables that say so are removed, so that what a task starts does not speak for the worker.
    """
    address, usec, pid = (os.environ.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
    if not address.startswith(("/", "@")):
        return []
    watched = usec.isdigit() and int(usec) > 0 and pid in ("", str(os.getpid()))
    return [ServiceManager(address, int(usec) / 1e6 if watched else None)]
