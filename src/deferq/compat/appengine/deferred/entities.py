"""Large calls, as App Engine's library kept them: by the key that the small call fetches them with."""

from __future__ import annotations

from typing import Any

from deferq.codec.codec import Invocation
from deferq.compat.appengine.deferred.failures import Error, PermanentTaskFailure
from deferq.default import default
from deferq.errors import PayloadError, Snooze, TargetNotAllowed, TargetUnknown, UnknownKey, UnsupportedEnvelope

#: Another release, or another worker, may know what to do with it.
_NOT_HERE = (TargetUnknown, TargetNotAllowed, UnknownKey, UnsupportedEnvelope)
_LATER_S = 60.0
_ID_MAX = (1 << 63) - 1


class Elsewhere(PermanentTaskFailure):
    """The key of a large call is none of ours: Google's library has put it into its datastore."""


class _DeferredTaskEntity:
    """What stands beside a task whose call is too large to travel with it. It comes and goes with the task."""

    def __init__(self, key: Any = None, data: bytes | None = None) -> None:
        """For `get`; nothing is stored by making one."""
        if data is None:
            raise ValueError("data: a large call has one.")
        self._key = key
        self.data = data

    @classmethod
    def get(cls, key: Any) -> _DeferredTaskEntity | None:
        """That of the task with this id; None: there is none."""
        task_id = _id_of(key)
        spill = None if task_id is None else default().engine.spill(task_id)
        return None if task_id is None or spill is None else cls(key, default().codec.read_spill(task_id, spill))

    def key(self) -> Any:
        """The id of its task, as text."""
        return self._key

    def put(self) -> Any:
        """Raises Error: it is stored with its task, in one transaction, or not at all."""
        raise Error("A large call is stored together with its task: defer it, and this is done by itself.")

    def delete(self) -> None:
        """Nothing: it goes with its task, which may still be looked at and put back."""


def spilled(key: Any) -> Invocation:
    """The call that is kept under `key`.

    Raises PermanentTaskFailure if there is none, or none that can be restored; Snooze if another worker may know it.
    """
    task_id, owner = _id_of(key), default()
    if task_id is None:
        raise Elsewhere(
            "The large call of this task is not in the store: its key is not of deferq, but of Google's datastore, say."
        )
    envelope = owner.engine.spill(task_id)
    if envelope is None:
        raise PermanentTaskFailure("The large call of this task is not in the store: its task is gone, or never was.")
    try:
        return owner.codec.open_spill(task_id, envelope)
    except _NOT_HERE as error:
        raise Snooze(_LATER_S, reason=str(error)) from error
    except PayloadError as error:
        raise PermanentTaskFailure(error) from error


def _id_of(key: Any) -> int | None:
    text = str(key)
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    return number if 0 <= number <= _ID_MAX else None
