"""deferq calls functions later: durably, with retries, on any machine.

    from deferq import defer

    def hello(name: str) -> None:
        print("hello", name)

    defer(hello, "world")

Importing this package opens no file, socket, thread or process.
"""

from deferq.app import Deferq
from deferq.calls import Call
from deferq.codec.context import Carried
from deferq.codec.typecodecs import register_codec
from deferq.current import CurrentTask, current_task, in_task
from deferq.decorators import call_deferred, deferrable, register
from deferq.default import call, configure, defer, defer_async, defer_many, handler, start, stop, wrap_asgi, wrap_wsgi
from deferq.errors import (
    CallError,
    ConfigError,
    DeferqError,
    InvalidName,
    InvalidOption,
    InvalidUrl,
    LeaseLost,
    NaiveDatetime,
    NotDeferrable,
    NotSerializable,
    PayloadTooComplex,
    PayloadTooDeep,
    PayloadTooLargeError,
    PermanentTaskFailure,
    RetryTask,
    ScheduleError,
    Snooze,
    StoreError,
    StoreUnavailable,
    TargetNotAllowed,
    TaskAlreadyExistsError,
    TaskCancelled,
    TaskFailed,
    TaskNotFinished,
    TaskNotFound,
    TombstonedTaskError,
    TransactionError,
    UnknownQueueError,
)
from deferq.handles import TaskHandle
from deferq.http.message import Request, Response
from deferq.model.queue import Queue
from deferq.model.retry import RetryPolicy
from deferq.model.state import State

__all__ = [
    "Call",
    "CallError",
    "Carried",
    "ConfigError",
    "CurrentTask",
    "Deferq",
    "DeferqError",
    "InvalidName",
    "InvalidOption",
    "InvalidUrl",
    "LeaseLost",
    "NaiveDatetime",
    "NotDeferrable",
    "NotSerializable",
    "PayloadTooComplex",
    "PayloadTooDeep",
    "PayloadTooLargeError",
    "PermanentTaskFailure",
    "Queue",
    "Request",
    "Response",
    "RetryPolicy",
    "RetryTask",
    "ScheduleError",
    "Snooze",
    "State",
    "StoreError",
    "StoreUnavailable",
    "TargetNotAllowed",
    "TaskAlreadyExistsError",
    "TaskCancelled",
    "TaskFailed",
    "TaskHandle",
    "TaskNotFinished",
    "TaskNotFound",
    "TombstonedTaskError",
    "TransactionError",
    "UnknownQueueError",
    "call",
    "call_deferred",
    "configure",
    "current_task",
    "defer",
    "defer_async",
    "defer_many",
    "deferrable",
    "handler",
    "in_task",
    "register",
    "register_codec",
    "start",
    "stop",
    "wrap_asgi",
    "wrap_wsgi",
]
