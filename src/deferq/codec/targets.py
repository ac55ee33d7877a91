"""Targets: the text that names what a task calls.

    module:qualname        a function, a class, a static or class method, a method, a class's __call__
    @name:method           a method of an object that was registered under that name

`locate` turns something callable into a target, and refuses what no other process could find. `find_target` turns a
target back into the callable, and refuses what the application does not allow before it imports anything.
"""

from __future__ import annotations

from deferq.codec import finding, locating
from deferq.codec.finding import TARGET_LENGTH_MAX, Found, check_allowed, check_homes, find, find_target, unwrapped
from deferq.codec.locating import Located, locate

__all__ = [
    "TARGET_LENGTH_MAX",
    "Found",
    "Located",
    "check_allowed",
    "check_homes",
    "find",
    "find_target",
    "forget_targets",
    "locate",
    "unwrapped",
]


def forget_targets() -> None:
    """Forget what was located and found so far, after modules were reloaded."""
    locating.forget()
    finding.forget()
