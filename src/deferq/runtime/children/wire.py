"""What parent and child say to each other: frames of marshalled tuples, each with a mark and its length in front.

Marshal and not pickle: it is faster, and reading a frame never imports or calls anything. Both ends run the same
interpreter, so its format is the same on both.
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Iterator
from typing import Any, assert_never

from deferq.model.outcome import (
    INTERRUPTED,
    Cancelled,
    ErrorText,
    Failed,
    Interrupted,
    Outcome,
    Parked,
    Retried,
    Snoozed,
    Succeeded,
)

#: From a child: it has loaded the application; these tasks ended; these went on to its event loop.
HELLO, DONE, IN_LOOP = "hello", "done", "in loop"
#: A task has damaged its process; why it should be replaced.
WORN = "worn"
#: From the parent: run these; cancel these; let go of what was taken back; hear what happened; nothing is left to do.
TASKS, CANCEL, LET_GO, EVENTS, STOP = "tasks", "cancel", "let go", "events", "stop"

#: Exit code of a child that cannot hear or say anything any more.
CUT_OFF = 71

_HEAD = struct.Struct("<4sQ")
_MARK = b"dfrq"

Frame = tuple[str, Any]


def pack(kind: str, content: Any) -> bytes:
    """One frame; `content` is made of None, numbers, texts, bytes, tuples, lists and dicts."""
    body = marshal.dumps((kind, content))
    return _HEAD.pack(_MARK, len(body)) + body


class Reader:
    """Makes frames of bytes as they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now. Raises where a task has written something of its own in between."""
        self._buffer += data
        at = 0
        while (body := at + _HEAD.size) <= len(self._buffer):
            mark, length = _HEAD.unpack_from(self._buffer, at)
            if mark != _MARK:
                raise ValueError("this is no frame of ours")
            end = body + length
            if end > len(self._buffer):
                break
            with memoryview(self._buffer) as view:
                frame: Frame = marshal.loads(view[body:end])
            at = end
            yield frame
        del self._buffer[:at]


# ---- outcomes


def pack_outcome(outcome: Outcome) -> tuple[Any, ...] | None:
    """An outcome as a tuple; None for the most common one, that a task returned None."""
    match outcome:
        case Succeeded():
            return None if outcome.result is None else ("succeeded", outcome.result)
        case Failed():
            return ("failed", *_pack_error(outcome.error), outcome.permanent, outcome.reason)
        case Retried():
            return ("retried", None if outcome.after_s is None else float(outcome.after_s), outcome.reason)
        case Snoozed():
            return ("snoozed", float(outcome.after_s), outcome.reason)
        case Interrupted():
            return ("interrupted",)
        case Cancelled():
            return ("cancelled", outcome.reason)
        case Parked():
            return ("parked", *_pack_error(outcome.error))
        case _:
            assert_never(outcome)


def unpack_outcome(packed: tuple[Any, ...]) -> Outcome:
    """The inverse of `pack_outcome` for all that it does not make None."""
    match packed:
        case ("succeeded", result):
            return Succeeded(result)
        case ("failed", error_type, message, traceback, permanent, reason):
            error = ErrorText(error_type=error_type, message=message, traceback=traceback)
            return Failed(error=error, permanent=permanent, reason=reason)
        case ("retried", after_s, reason):
            return Retried(after_s=after_s, reason=reason)
        case ("snoozed", after_s, reason):
            return Snoozed(after_s=after_s, reason=reason)
        case ("interrupted",):
            return INTERRUPTED
        case ("cancelled", reason):
            return Cancelled(reason=reason)
        case ("parked", error_type, message, traceback):
            return Parked(error=ErrorText(error_type=error_type, message=message, traceback=traceback))
        case _:
            raise ValueError("a child reported an outcome that this release does not know")


def _pack_error(error: ErrorText) -> tuple[str, str, str]:
    return error.error_type, error.message, error.traceback
