"""What helps to test with deferq, and to test deferq itself.

Each name is loaded when it is asked for: a fault point in your code loads nothing of what only tests need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deferq.testing.effects import Effects
    from deferq.testing.faultpoints import Crashed, crash_at, fail_at, fault_point
    from deferq.testing.idempotent import CannotTell, NotAllTried, NotIdempotent, Trials, assert_idempotent

__all__ = [
    "CannotTell",
    "Crashed",
    "Effects",
    "NotAllTried",
    "NotIdempotent",
    "Trials",
    "assert_idempotent",
    "crash_at",
    "fail_at",
    "fault_point",
]

_HOMES = {
    "CannotTell": "idempotent",
    "Crashed": "faultpoints",
    "Effects": "effects",
    "NotAllTried": "idempotent",
    "NotIdempotent": "idempotent",
    "Trials": "idempotent",
    "assert_idempotent": "idempotent",
    "crash_at": "faultpoints",
    "fail_at": "faultpoints",
    "fault_point": "faultpoints",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
