"""Every error deferq raises, in one tree.

    DeferqError
    ├── CallError                  the call to defer() was refused; nothing was stored
    │   ├── NotDeferrable          this cannot be called later            (also a TypeError)
    │   ├── NotSerializable        an argument cannot be stored           (also a TypeError)
    │   ├── PayloadTooLargeError   the arguments are larger than the limit (also a ValueError)
    │   ├── PayloadTooDeep         the arguments are nested too deeply for strict JSON (also a ValueError)
    │   ├── PayloadTooComplex      the arguments have too many values for strict JSON (also a ValueError)
    │   ├── InvalidOption          an option has a value that makes no sense (also a ValueError)
    │   │   ├── InvalidName        a queue, task or route name
    │   │   ├── InvalidUrl         no path of the application that a task could be delivered to
    │   │   └── ScheduleError      eta, countdown, expires
    │   │       └── NaiveDatetime  a datetime without a time zone
    │   ├── UnknownQueueError      the application declared its queues, and this is none of them
    │   ├── TaskAlreadyExistsError the name belongs to a live task
    │   └── TombstonedTaskError    the name was used a short while ago
    ├── PayloadError               stored bytes that will not be run
    │   ├── PayloadCorrupt         they are not an envelope, or end early
    │   │   └── PayloadFormatError strict JSON that breaks its rules
    │   ├── PayloadSignatureError  the signature does not fit these bytes, this task, this target
    │   ├── UnknownKey             signed with a key this process does not have
    │   ├── UnsupportedEnvelope    written by a newer deferq
    │   └── CodecNotAllowed        a codec this application does not accept
    ├── TargetNotAllowed           a target outside the application's allow-list, or an absolute url
    ├── TargetUnknown              a target this process cannot find (deploy skew)
    ├── TaskNotFound               no task has this id
    ├── TaskNotFinished            wait() ran out of time                 (also a TimeoutError)
    ├── TaskFailed                 wait() on a task that died
    ├── TaskCancelled              wait() on a task that was cancelled
    ├── LeaseLost                  another worker holds this task now
    ├── NoCurrentTask              current_task() outside a task          (also a RuntimeError)
    ├── ConfigError                the configuration contradicts itself   (also a ValueError)
    ├── PermanentTaskFailure       raised by a task: never again
    └── StoreError
        ├── StoreUnavailable       busy, full or unreachable; trying again later may help
        ├── StoreCorrupt           not a database, or not ours
        ├── SchemaTooNew           made by a newer deferq
        ├── InsecurePath           others could read or replace the file
        └── ForkedEngineError      an engine object was used after a fork without being reopened

Asking to be run again is no error: `RetryTask` and `Snooze` stand outside the tree.
A message says what happened, why, and what to do. It names the field and never echoes a payload or a secret.
"""

from __future__ import annotations

from datetime import timedelta


class DeferqError(Exception):
    """Base of every error deferq raises."""


class CallError(DeferqError):
    """The call was refused. Nothing was stored."""


class NotDeferrable(CallError, TypeError):
    """This object cannot be found again by another process, so it cannot be called later."""


class NotSerializable(CallError, TypeError):
    """An argument cannot be stored, or could not be restored.

    `path` says which one (`args[0]['user'].lock`), `type_name` what stands there.
    """

    def __init__(self, message: str, *, path: str = "", type_name: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.type_name = type_name


class PayloadTooLargeError(CallError, ValueError):
    """The stored form of the arguments is `size` bytes, more than the `limit` of bytes."""

    def __init__(self, message: str, *, size: int, limit: int) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class PayloadTooDeep(CallError, ValueError):
    """An argument is nested more deeply than strict JSON stores. `path` says which one."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class PayloadTooComplex(CallError, ValueError):
    """The arguments have more values in them than strict JSON stores. `path` says at which one it became too many."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class InvalidOption(CallError, ValueError):
    """An option has a value that makes no sense. `field` names it."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class InvalidName(InvalidOption):
    """A name has characters, or a length, that names may not have."""


class InvalidUrl(InvalidOption):
    """No task can be delivered there: it is no path of the application, or not the same one to every server."""


class ScheduleError(InvalidOption):
    """A time (`eta`, `countdown`, `expires`) that makes no sense."""


class NaiveDatetime(ScheduleError):
    """A datetime without a time zone could mean any of 38 instants."""


class UnknownQueueError(CallError):
    """The application declares its queues, and this is none of them."""


class TaskAlreadyExistsError(CallError):
    """A live task of this queue has the name. `task_id` is that task."""

    def __init__(self, message: str, *, task_id: int) -> None:
        super().__init__(message)
        self.task_id = task_id


class TombstonedTaskError(CallError):
    """The name was used by a finished task and stays taken until `until` (microseconds since the epoch, UTC)."""

    def __init__(self, message: str, *, task_id: int, until: int) -> None:
        super().__init__(message)
        self.task_id = task_id
        self.until = until


class PayloadError(DeferqError):
    """Stored bytes that will not be run. The task is kept."""


class PayloadCorrupt(PayloadError):
    """The bytes are not an envelope of ours, end early, or cannot be decoded."""


class PayloadFormatError(PayloadCorrupt):
    """The bytes are not the strict JSON that deferq writes. `offset` is the byte of the body at which it shows."""

    def __init__(self, message: str, *, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class PayloadSignatureError(PayloadError):
    """The signature does not fit these bytes, this task and this target."""


class UnknownKey(PayloadError):
    """The envelope is signed with a key this process does not have."""


class UnsupportedEnvelope(PayloadError):
    """The envelope was written by a newer deferq."""


class CodecNotAllowed(PayloadError):
    """The envelope names a codec that this application does not accept."""


class TargetNotAllowed(DeferqError):
    """The target lies outside the module prefixes the application allows, or a task was to go to an absolute url."""


class TargetUnknown(DeferqError):
    """This process cannot find the target: older or newer code put the task here."""


class TaskNotFound(DeferqError):
    """No task has this id; perhaps its retention is over."""


class TaskNotFinished(DeferqError, TimeoutError):
    """The task did not finish in the time that `wait()` was given."""


class TaskFailed(DeferqError):
    """The task died; the message carries its last error."""


class TaskCancelled(DeferqError):
    """The task was cancelled or expired before it succeeded."""


class LeaseLost(DeferqError):
    """Another worker holds this task now. The outcome was not stored; nothing is left to do."""


class NoCurrentTask(DeferqError, RuntimeError):
    """`current_task()` was called outside a task."""


class ConfigError(DeferqError, ValueError):
    """The configuration contradicts itself, or names something that is not there."""


class PermanentTaskFailure(DeferqError):
    """Raise it in a task that can never succeed: the task dies at once, visibly."""


class StoreError(DeferqError):
    """The store could not do what it was asked to do."""


class StoreUnavailable(StoreError):
    """The store is busy, full, read-only or unreachable. Nothing was changed, or the message says: not certain."""


class StoreCorrupt(StoreError):
    """The file is not a database, is damaged, or belongs to another program. It was left as it is."""


class SchemaTooNew(StoreError):
    """The database was made by a newer deferq. It was left as it is."""


class InsecurePath(StoreError):
    """Somebody else could read, replace or redirect the file."""


class ForkedEngineError(StoreError):
    """An engine belongs to the process that opened it."""


class RetryTask(Exception):
    """Raise it to run the task again, quietly: it counts as an attempt and leaves no traceback in the log.

    `after` is in seconds, or a timedelta; None means the retry policy's own backoff.
    """

    def __init__(self, after: float | timedelta | None = None, reason: str = "") -> None:
        super().__init__(reason or "retry")
        self.after_s = after.total_seconds() if isinstance(after, timedelta) else after
        self.reason = reason


class Snooze(Exception):
    """Raise it to run the task later. It does not count as an attempt. `after` is in seconds, or a timedelta."""

    def __init__(self, after: float | timedelta, reason: str = "") -> None:
        super().__init__(reason or "snooze")
        self.after_s = after.total_seconds() if isinstance(after, timedelta) else after
        self.reason = reason
