"""Everything that an engine does to the files of its store, in order: what a power cut can take away, and what not.

SQLite is heard through its file layer. What the engine writes without SQLite (room at the end of the log) is heard
through the `os` that `checkpoint.py` sees.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from deferq.engines.sqlite import checkpoint
from tests.power import vfs


class Made(NamedTuple):
    """A new file has a name in the folder."""

    name: str
    file: int


class Removed(NamedTuple):
    """A name is gone from the folder."""

    name: str


class Written(NamedTuple):
    """Bytes were written."""

    file: int
    at: int
    data: bytes


class Cut(NamedTuple):
    """A file has another size."""

    file: int
    size: int


class Synced(NamedTuple):
    """Whatever was done to this file before is on the disk."""

    file: int


class FolderSynced(NamedTuple):
    """Whatever was done to names before is on the disk."""


Event = Made | Removed | Written | Cut | Synced | FolderSynced


@cache
def listening() -> vfs.ListeningVfs:
    """The file layer. SQLite keeps it for as long as the process lives."""
    return vfs.ListeningVfs()


def skip_if_unavailable() -> None:
    """Skip the calling test module where SQLite cannot be heard."""
    try:
        listening()
    except vfs.Unavailable as reason:
        pytest.skip(f"{reason}, so what it writes cannot be recorded", allow_module_level=True)


class Recording:
    """Hears of everything in one folder. Its length is the moment: what has an earlier index happened before."""

    def __init__(self, before: Iterable[str] = ()) -> None:
        """`before` are the names that stand in the folder, which get the first numbers."""
        self.events: list[Event] = []
        #: Which file a name stands for now.
        self._names = {name: number for number, name in enumerate(before, start=1)}
        self._files = len(self._names)

    def __len__(self) -> int:
        return len(self.events)

    def file(self, name: str) -> int | None:
        """The file of that name, if there is one."""
        return self._names.get(name)

    def opened(self, name: str) -> int:
        if name not in self._names:
            self._files += 1
            self._names[name] = self._files
            self.events.append(Made(name, self._files))
        return self._names[name]

    def removed(self, name: str) -> None:
        del self._names[name]
        self.events.append(Removed(name))

    def written(self, file: int, at: int, data: bytes) -> None:
        self.events.append(Written(file, at, data))

    def cut(self, file: int, size: int) -> None:
        self.events.append(Cut(file, size))

    def synced(self, file: int) -> None:
        self.events.append(Synced(file))

    def folder_synced(self) -> None:
        self.events.append(FolderSynced())


def connect(path: str, factory: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    """As the engine's own `connect`, through the file layer that is heard."""
    listening()
    return sqlite3.connect(
        f"file:{quote(path)}?vfs=listening",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        factory=factory,
    )


@contextmanager
def recorded(folder: Path, recording: Recording) -> Iterator[Recording]:
    """Hear of what happens in `folder`. Every connection to it is to be closed before this ends."""
    before = len(listening().errors)
    vfs.listeners[str(folder)] = recording
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoint, "os", _HeardOs())
            yield recording
    finally:
        del vfs.listeners[str(folder)]
    errors = listening().errors[before:]
    assert not errors, f"while listening: {errors}"


class _HeardOs:
    """The module `os`, heard where it writes to a file."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def pwrite(self, descriptor: int, data: bytes, at: int) -> int:
        size = os.pwrite(descriptor, data, at)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        folder, name = os.path.split(path)
        listener = vfs.listeners.get(folder)
        if isinstance(listener, Recording) and (file := listener.file(name)) is not None:
            listener.written(file, at, data[:size])
        return size
