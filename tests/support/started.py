"""Threads that a test has started. Those of an earlier one may live on for a while, and count for nothing."""

from __future__ import annotations

import threading

_before: frozenset[threading.Thread] = frozenset()


def remember() -> None:
    """A test begins."""
    global _before
    _before = frozenset(threading.enumerate())


def threads_named(name: str) -> list[threading.Thread]:
    """Those of this name that were started since the test began."""
    return [thread for thread in threading.enumerate() if thread.name == name and thread not in _before]
