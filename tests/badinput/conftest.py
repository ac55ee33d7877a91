"""An application to be harmed, and somebody who looks whether it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq
from tests.badinput.watching import Watch
from tests.support import sample_tasks


@pytest.fixture
def make_app() -> Iterator[Callable[..., Deferq]]:
    """`make_app(url, **settings)`; in memory where no url is given. All of them are closed in the end."""
    made: list[Deferq] = []

    def make(url: str = "memory://", **settings: Any) -> Deferq:
        made.append(Deferq(url, **settings))
        return made[-1]

    sample_tasks.forget()
    yield make
    for one in made:
        one.close()


@pytest.fixture
def on_file(make_app: Callable[..., Deferq], tmp_path: Path) -> Callable[..., Deferq]:
    """The same with a database of its own."""
    return lambda **settings: make_app(f"sqlite:///{tmp_path}/jobs.db?synchronous=OFF", **settings)


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    return Watch(caplog)
