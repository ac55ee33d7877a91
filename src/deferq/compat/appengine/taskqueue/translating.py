"""Errors of deferq in App Engine's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deferq import errors as core
from deferq.compat.appengine.taskqueue.errors import (
    BadTransactionStateError,
    DatastoreError,
    Error,
    InternalError,
    InvalidQueueNameError,
    InvalidTaskError,
    InvalidUrlError,
    TaskTooLargeError,
    TransientError,
    UnknownQueueError,
)

#: The first that fits.
_MEANINGS: tuple[tuple[type[core.DeferqError], type[Error]], ...] = (
    (core.UnknownQueueError, UnknownQueueError),
    (core.NoTransaction, BadTransactionStateError),
    (core.NotTransactional, BadTransactionStateError),
    (core.TransactionError, DatastoreError),
    (core.PayloadTooLargeError, TaskTooLargeError),
    (core.InvalidUrl, InvalidUrlError),
    (core.TargetNotAllowed, InvalidUrlError),
    (core.StoreUnavailable, TransientError),
    (core.StoreError, InternalError),
    (core.CallError, InvalidTaskError),
)


@contextmanager
def translated() -> Iterator[None]:
    """Let what deferq raises inside leave as an error of `taskqueue`, with the same message."""
    try:
        yield
    except Error:
        raise
    except core.DeferqError as error:
        kind = _kind_of(error)
        if kind is None:
            raise
        raise kind(*error.args, **vars(error)) from error


def _kind_of(error: core.DeferqError) -> type[Error] | None:
    if isinstance(error, core.InvalidName) and error.field == "queue":
        return InvalidQueueNameError
    return next((theirs for ours, theirs in _MEANINGS if isinstance(error, ours)), None)
