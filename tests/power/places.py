"""Folders for recordings and images."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: A disk in memory, if there is one: what survives is what was recorded as synced, not what this machine syncs.
SHARED_MEMORY = Path("/dev/shm")


@contextmanager
def folder() -> Iterator[Path]:
    """A folder, in memory if possible."""
    path = tempfile.mkdtemp(prefix="deferq-power-", dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None)
    try:
        yield Path(path)
    finally:
        shutil.rmtree(path)
