"""What helps to test with deferq, and to test deferq itself.

    from deferq.testing import assert_deferred, drain, recording

    with recording():
        sign_up("ann")
        assert_deferred(send_mail, "ann", queue="mail")
        drain()

Names are loaded when they are first asked for, so that importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deferq.testing.clock import FakeClock
    from deferq.testing.deferred import DeferredTask
    from deferq.testing.inlining import inline
    from deferq.testing.ran import Ran
    from deferq.testing.recorder import (
        DeferredTasks,
        assert_deferred,
        assert_not_deferred,
        clear,
        deferred_tasks,
        drain,
        drain_async,
        recording,
    )

#: Where each public name is.
_HOMES = {
    "DeferredTask": "deferred",
    "DeferredTasks": "recorder",
    "FakeClock": "clock",
    "Ran": "ran",
    "assert_deferred": "recorder",
    "assert_not_deferred": "recorder",
    "clear": "recorder",
    "deferred_tasks": "recorder",
    "drain": "recorder",
    "drain_async": "recorder",
    "inline": "inlining",
    "recording": "recorder",
}

__all__ = [
    "DeferredTask",
    "DeferredTasks",
    "FakeClock",
    "Ran",
    "assert_deferred",
    "assert_not_deferred",
    "clear",
    "deferred_tasks",
    "drain",
    "drain_async",
    "inline",
    "recording",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
