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
    from deferq.testing.effects import Effects
    from deferq.testing.faultpoints import Crashed, crash_at, fail_at, fault_point
    from deferq.testing.idempotent import CannotTell, NotAllTried, NotIdempotent, Trials, assert_idempotent
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
    "CannotTell": "idempotent",
    "Crashed": "faultpoints",
    "DeferredTask": "deferred",
    "DeferredTasks": "recorder",
    "Effects": "effects",
    "FakeClock": "clock",
    "NotAllTried": "idempotent",
    "NotIdempotent": "idempotent",
    "Ran": "ran",
    "Trials": "idempotent",
    "assert_deferred": "recorder",
    "assert_idempotent": "idempotent",
    "assert_not_deferred": "recorder",
    "clear": "recorder",
    "crash_at": "faultpoints",
    "deferred_tasks": "recorder",
    "drain": "recorder",
    "drain_async": "recorder",
    "fail_at": "faultpoints",
    "fault_point": "faultpoints",
    "inline": "inlining",
    "recording": "recorder",
}

__all__ = [
    "CannotTell",
    "Crashed",
    "DeferredTask",
    "DeferredTasks",
    "Effects",
    "FakeClock",
    "NotAllTried",
    "NotIdempotent",
    "Ran",
    "Trials",
    "assert_deferred",
    "assert_idempotent",
    "assert_not_deferred",
    "clear",
    "crash_at",
    "deferred_tasks",
    "drain",
    "drain_async",
    "fail_at",
    "fault_point",
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
