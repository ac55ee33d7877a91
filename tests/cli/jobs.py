"""What the tests of the command line defer."""

from __future__ import annotations

from deferq import PermanentTaskFailure, call_deferred


def add(a: int, b: int = 0) -> int:
    return a + b


def fail(message: str = "no such user") -> None:
    raise PermanentTaskFailure(message)


@call_deferred(queue="index")
def reindex(doc_id: int) -> None:
    """Calling it defers it."""
