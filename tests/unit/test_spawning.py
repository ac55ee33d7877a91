"""Starting the process of a child where the system refuses something on the way."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence

import pytest

from deferq.runtime.children import spawning


def refuse(descriptor: int) -> None:
    raise OSError("no memory to map")


@pytest.mark.parametrize("spawn", [spawning.spawn, spawning.spawn_apart])
def test_a_child_for_which_there_is_no_memory_leaves_no_descriptor_behind(
    spawn: Callable[[Sequence[str]], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawning, "Starts", refuse)
    monkeypatch.setattr(spawning, "_python", lambda: ["true"])
    gc.collect()
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        with pytest.raises(OSError, match="no memory"):
            spawn([])
    gc.collect()
    assert len(os.listdir("/dev/fd")) <= before
