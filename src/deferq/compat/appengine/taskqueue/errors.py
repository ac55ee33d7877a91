"""The errors of `taskqueue`, in App Engine's tree. Those whose meaning deferq knows are its errors, too.

Error                                   (deferq.DeferqError)
├── InvalidTaskError                    (deferq.CallError)
│   ├── InvalidTaskNameError            (deferq.InvalidName)
│   ├── TaskTooLargeError               (deferq.PayloadTooLargeError)
│   │   └── TransactionalRequestTooLargeError
│   ├── TaskAlreadyExistsError          (deferq.TaskAlreadyExistsError)
│   ├── TombstonedTaskError             (deferq.TombstonedTaskError)
│   ├── InvalidUrlError                 (deferq.InvalidUrl)
│   └── InvalidEtaError                 (deferq.ScheduleError)
├── InvalidQueueError                   (deferq.CallError)
│   └── InvalidQueueNameError           (deferq.InvalidName)
├── UnknownQueueError                   (deferq.UnknownQueueError)
├── TransientError                      (deferq.StoreUnavailable)
├── InternalError                       (deferq.StoreError)
├── DatastoreError                      (deferq.TransactionError)
├── BadTransactionStateError            (deferq.NoTransaction)
├── BadTaskStateError, PermissionDeniedError, DuplicateTaskNameError, TooManyTasksError, InvalidQueueModeError,
│   TaskLeaseExpiredError, QueuePausedError
└── InvalidTaskRetryOptionsError, InvalidLeaseTimeError, InvalidMaxTasksError, InvalidDeadlineError,
    InvalidTagError, InvalidDispatchDeadlineError      (each a deferq.InvalidOption)
"""

from __future__ import annotations

from typing import Any

from deferq import errors as core


class Error(core.DeferqError):
    """Base of every error of `taskqueue`. It may be made of nothing, or of a message."""

    #: What an error of deferq says beside its message, for those of its errors that these are as well.
    field: str = ""
    task_id: int = 0
    until: int = 0
    size: int = 0
    limit: int = 0

    def __init__(self, *args: object, **facts: Any) -> None:
        Exception.__init__(self, *args)
        vars(self).update(facts)


class InvalidTaskError(Error, core.CallError):
    """Parameters, headers, payload, method or url of the task do not go together, or are none."""


class InvalidTaskNameError(InvalidTaskError, core.InvalidName):
    """This cannot be the name of a task."""


class TaskTooLargeError(InvalidTaskError, core.PayloadTooLargeError):
    """The task is larger than App Engine allows: 102,400 bytes, or 1,048,576 of a pull task."""


class TransactionalRequestTooLargeError(TaskTooLargeError):
    """The tasks that one call adds to a transaction are larger together than 1,048,576 bytes."""


class TaskAlreadyExistsError(InvalidTaskError, core.TaskAlreadyExistsError):
    """A task of this queue that has not ended yet has the name."""


class TombstonedTaskError(InvalidTaskError, core.TombstonedTaskError):
    """A task of this queue that has ended, or was deleted, had the name a while ago."""


class InvalidUrlError(InvalidTaskError, core.InvalidUrl):
    """No task can be delivered there."""


class InvalidEtaError(InvalidTaskError, core.ScheduleError):
    """More than thirty days ahead."""


class InvalidQueueError(Error, core.CallError):
    """The queue cannot be used like this."""


class InvalidQueueNameError(InvalidQueueError, core.InvalidName):
    """This cannot be the name of a queue."""


class UnknownQueueError(Error, core.UnknownQueueError):
    """The application declares its queues, and this is none of them."""


class TransientError(Error, core.StoreUnavailable):
    """The store is busy, full or out of reach; the same may succeed later."""


class InternalError(Error, core.StoreError):
    """The store is damaged, or not ours."""


class BadTaskStateError(Error):
    """The task was added or deleted before, or has no name to delete it by."""


class PermissionDeniedError(Error):
    """Here for code that catches it: deferq asks nobody for permission."""


class DuplicateTaskNameError(Error):
    """Two tasks of one call have the same name."""


class TooManyTasksError(Error):
    """More tasks in one call, or in one transaction, than App Engine takes."""


class DatastoreError(Error, core.TransactionError):
    """A transaction could not take the task."""


class BadTransactionStateError(Error, core.NoTransaction):
    """A task is to belong to a transaction, and there is none."""


class InvalidTaskRetryOptionsError(Error, core.InvalidOption):
    """Retry options that make no sense."""


class InvalidLeaseTimeError(Error, core.InvalidOption):
    """A lease lasts for 0 to 604,800 seconds."""


class InvalidMaxTasksError(Error, core.InvalidOption):
    """Between 1 and 1,000 tasks can be leased at once."""


class InvalidDeadlineError(Error, core.InvalidOption):
    """A deadline is a number of seconds, more than none."""


class InvalidQueueModeError(Error):
    """A push queue was to be pulled from, or the other way round."""


class TaskLeaseExpiredError(Error):
    """The lease is over, or somebody else's by now."""


class QueuePausedError(Error):
    """The queue is paused, and its leases are not changed meanwhile."""


class InvalidTagError(Error, core.InvalidOption):
    """A tag has up to 500 characters."""


class InvalidDispatchDeadlineError(Error, core.InvalidOption):
    """The deadline of a delivery lies between 15 seconds and 24 hours."""


#: The older name.
BadTransactionState = BadTransactionStateError
