"""Which source files have changed: by watchfiles if it is installed, else by looking at them twice a second."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event

POLL_S = 0.5
#: How often whoever watches gets a turn although nothing has changed.
TURN_S = 0.2
_SUFFIXES = (".py", ".toml", ".env")
_NO_SOURCE = {"__pycache__", "node_modules", "site-packages", "dist-packages"}


def changes(folders: Sequence[Path], stop: Event) -> Iterator[set[str]]:
    """Sets of changed files, empty ones in between, until `stop` is set. Watching begins at once."""
    try:
        import watchfiles
    except ImportError:
        return _polled(folders, stop, _snapshot(folders))
    return (
        {path for _, path in changed}
        for changed in watchfiles.watch(
            *folders,
            watch_filter=lambda _, path: is_source(path, folders),
            stop_event=stop,
            rust_timeout=int(TURN_S * 1000),
            yield_on_timeout=True,
            raise_interrupt=False,
        )
    )


def is_source(path: str, folders: Sequence[Path]) -> bool:
    """Whether a change of this file is worth a restart."""
    if not path.endswith(_SUFFIXES):
        return False
    inside = next((os.path.relpath(path, folder) for folder in folders if Path(path).is_relative_to(folder)), path)
    *parents, _ = Path(inside).parts
    return not any(parent.startswith(".") or parent in _NO_SOURCE for parent in parents)


def _polled(folders: Sequence[Path], stop: Event, before: dict[str, tuple[int, int]]) -> Iterator[set[str]]:
    while not stop.is_set():
        time.sleep(POLL_S)  # and not stop.wait(): a signal handler sets it, in this very thread
        now = _snapshot(folders)
        yield {path for path, _ in before.items() ^ now.items()}
        before = now


def _snapshot(folders: Sequence[Path]) -> dict[str, tuple[int, int]]:
    """Time and size of every source file."""
    found = {}
    for folder in folders:
        for place, inner, files in os.walk(folder):
            inner[:] = [name for name in inner if not name.startswith(".") and name not in _NO_SOURCE]
            for name in files:
                path = os.path.join(place, name)
                if name.endswith(_SUFFIXES) and (seen := _seen(path)) is not None:
                    found[path] = seen
    return found


def _seen(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None  # gone since it was listed
    return status.st_mtime_ns, status.st_size
