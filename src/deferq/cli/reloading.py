"""Watches the source, and says what has changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from deferq.cli.watching import changes


class SourceWatch:
    """Calls `on_change` with the names of the files, in a thread of its own."""

    def __init__(self, app: str | None, on_change: Callable[[str], None]) -> None:
        """`app` is what is imported, which says where the source is. Watching begins at once."""
        self._on_change = on_change
        self._changed = threading.Event()
        self._changes = changes(_folders(app), threading.Event())
        threading.Thread(target=self._watch, name="deferq-watch", daemon=True).start()

    @property
    def changed(self) -> bool:
        """Whether something has changed that has not been waited for."""
        return self._changed.is_set()

    def wait_for_change(self) -> None:
        """Wait until something changes that has not been waited for."""
        while not self._changed.wait(0.1):  # in slices: a signal must be able to end it
            pass
        self._changed.clear()

    def _watch(self) -> None:
        for changed in self._changes:
            if changed:
                self._changed.set()
                self._on_change(", ".join(sorted({_shown(path) for path in changed})))


def _folders(app: str | None) -> list[Path]:
    """Where the source is: the current folder, and that of the file, unless it lies within."""
    here = Path.cwd()
    file = (here / app.partition(":")[0]).parent if app and app.partition(":")[0].endswith(".py") else here
    folder = Path(os.path.abspath(file))
    return [here] if folder.is_relative_to(here) or not folder.is_dir() else [here, folder]


def _shown(path: str) -> str:
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path
