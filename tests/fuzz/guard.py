"""Watches what a target does beside raising: nothing is imported, run, written or connected to; and it ends in time."""

from __future__ import annotations

import os
import sys
import unicodedata  # noqa: F401 -- urllib imports it when it first sees a letter beyond ASCII
from collections.abc import Callable
from threading import get_ident
from typing import Any, Final

Fuzz = Callable[[bytes], None]
#: Seconds that one input may take.
SECONDS_MAX: Final = 10
_DEEDS: Final = ("os.", "subprocess.", "shutil.", "ctypes.", "socket.connect", "socket.bind", "socket.getaddrinfo")
_DEEDS_BY_NAME: Final = frozenset({"import", "exec", "pickle.find_class", "marshal.loads", "code.__new__", "pty.spawn"})
_HARMLESS: Final = frozenset({"os.listdir", "os.scandir"})
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
#: A zone is looked for there, by a name that was checked: these packages hold nothing that runs.
_ZONES: Final = "tzdata"


class Deed(AssertionError):
    """The target did what no input may make it do."""


class Guard:
    """One for each process, as the interpreter never forgets a hook."""

    def __init__(self, *, everywhere: bool) -> None:
        """`everywhere`: what other threads do counts, too: they are the target's own."""
        self._everywhere = everywhere
        #: The thread that runs a target; 0: none does.
        self._armed = 0
        self._deeds: list[str] = []
        sys.addaudithook(self._hear)

    def guarded(self, fuzz: Fuzz) -> Fuzz:
        """`fuzz`, which raises Deed as well."""

        def watched(data: bytes) -> None:
            known = len(sys.modules)
            self._armed = get_ident()
            try:
                fuzz(data)
            finally:
                self._armed = 0
            if self._deeds:
                deeds, self._deeds = self._deeds, []
                raise Deed("; ".join(deeds))
            if len(sys.modules) != known and list(sys.modules)[-1].partition(".")[0] != _ZONES:
                raise Deed(f"{list(sys.modules)[-1]} was imported")

        return watched

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self._armed and (self._everywhere or get_ident() == self._armed) and _is_deed(event, args):
            self._deeds.append(f"{event} {args!r:.200}")


def _is_deed(event: str, args: tuple[Any, ...]) -> bool:
    if event == "open":
        return isinstance(args[2], int) and bool(args[2] & _WRITING)
    if event == "import":
        return str(args[0]).partition(".")[0] != _ZONES
    return event in _DEEDS_BY_NAME or (event.startswith(_DEEDS) and event not in _HARMLESS)
