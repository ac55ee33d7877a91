"""Who has a lock on a store, as the kernel's table tells it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from deferq.engines.sqlite import readers

TABLE = """\
1: POSIX  ADVISORY  WRITE 4242 {place} 120 120
1: -> POSIX  ADVISORY  WRITE 4243 {place} 120 120
2: POSIX  ADVISORY  READ 4244 {place} 124 124
3: FLOCK  ADVISORY  WRITE 4245 {place} 0 EOF
"""


@pytest.mark.parametrize(
    ("file", "lock", "is_it"),
    [
        ((8, 1, 77), "08:01:77", True),
        ((8, 1, 77), "08:02:77", False),
        ((8, 1, 77), "08:01:177", False),
        ((0, 46, 77), "00:2e:77", True),
        ((0, 46, 77), "00:1f:77", True),  # btrfs: a file shows the device of its subvolume, a lock that of the whole
        ((0, 46, 77), "00:1f:177", False),
        ((0, 46, 77), "08:01:77", False),
    ],
)
def test_the_holder_of_the_write_lock_is_found_on_file_systems_of_all_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: tuple[int, int, int], lock: str, is_it: bool
) -> None:
    major, minor, inode = file
    table = tmp_path / "locks"
    table.write_text(TABLE.format(place=lock))
    shown = SimpleNamespace(st_dev=os.makedev(major, minor), st_ino=inode)
    monkeypatch.setattr(readers, "LOCKS", table)
    monkeypatch.setattr(readers, "os", SimpleNamespace(**{**vars(os), "stat": lambda path: shown}))
    assert readers.writer(tmp_path / "jobs.db") == (4242 if is_it else None)
    assert readers.readers(tmp_path / "jobs.db") == ({4244} if is_it else set())
