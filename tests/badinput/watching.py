"""What holds for every refusal, whichever way the input came in, looked at in one place."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deferq import Deferq
from deferq.engines.base import Filter
from tests.support import sample_tasks


class Watch:
    """`with watch(app): ...` asserts that nothing is imported, run or stored in it, and that the log stays short."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @contextmanager
    def __call__(self, app: Deferq, *, lines: int = 0, canary: str = "", imports: bool = False) -> Iterator[None]:
        """At most so many `lines` in our log, and no `canary` in them.

        `imports`: modules of deferq and of the standard library may be loaded, as messages need them.
        """
        self._caplog.set_level(logging.DEBUG)
        stored, modules, seen = tasks_of(app), set(sys.modules), list(sample_tasks.seen)
        self._caplog.clear()
        yield
        assert list(sample_tasks.seen) == seen, "it ran"
        new = {name for name in set(sys.modules) - modules if not imports or not _is_standard(name)}
        assert not new, f"it imported {sorted(new)}"
        assert tasks_of(app) == stored, "it stored"
        said = [record for record in self._caplog.records if record.name.startswith("deferq")]
        assert len(said) <= lines
        for record in said:
            assert_is_short_and_plain(record, canary)


def _is_standard(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names or name.startswith("deferq.")


def assert_is_short_and_plain(record: logging.LogRecord, canary: str) -> None:
    line = record.getMessage()
    assert record.exc_info is None
    assert len(line) < 300
    assert line.isprintable()
    assert not canary or canary not in line


def tasks_of(app: Deferq) -> list[Any]:
    """Every task, as it is stored."""
    return sorted(app.engine.find(Filter(), limit=1000).tasks, key=lambda task: task.id)
