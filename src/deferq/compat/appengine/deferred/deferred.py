"""`defer`, and what runs what it has stored."""

from __future__ import annotations

import os
import pickle
import types
from contextvars import copy_context
from typing import Any, Final

from deferq.codec.context import restore
from deferq.codec.triples import Triple, decode_triple
from deferq.compat.appengine import taskqueue
from deferq.compat.appengine.deferred.calls import DeferredCall
from deferq.compat.appengine.deferred.entities import _DeferredTaskEntity, spilled
from deferq.compat.appengine.deferred.failures import Error, PermanentTaskFailure, SingularTaskFailure
from deferq.compat.appengine.deferred.handler import (
    Handler,
    TaskHandler,
    application,
    asgi_application,
    set_log_level,
)
from deferq.compat.appengine.deferred.keywords import sorted_out
from deferq.compat.appengine.ndbcontexts import begin_anew_with_each_task
from deferq.default import default

_DEFAULT_URL: Final = "/_ah/queue/deferred"
_DEFAULT_QUEUE: Final = "default"
_TASKQUEUE_HEADERS: Final = {"Content-Type": "application/octet-stream"}
#: As long as a key gets: the size of a task is looked at before it has one.
_SOME_KEY: Final = "0" * 19


def defer(obj: Any, *args: Any, **kwargs: Any) -> taskqueue.Task:
    """Call `obj(*args, **kwargs)` later; returns the task, which is stored.

    The keywords `_countdown`, `_eta`, `_name`, `_target`, `_retry_options`, `_url`, `_headers`, `_queue` and
    `_transactional` are for the queue: see `taskqueue.Task` and `Task.add`. All others go to the callable.

    Where a transaction is open on the database of the store, the task belongs to it: it exists if and only if that
    commits, however large it is. With `_transactional=True` there has to be one; with False it belongs to none.

    With the default `_url`, or with None for the url of the queue, a worker calls it. With another one it is delivered
    there, where a view of the application hands the request to `Handler`. What is too large for a task is kept beside
    it, up to the setting `payload_limit`.

    Raises ValueError for what cannot be called; what pickle raises for what it cannot store; TypeError for an option
    that is misspelt; an error of `taskqueue` for options that make no sense and for names that are taken.
    """
    options = sorted_out(obj, kwargs, _DEFAULT_URL)
    call = DeferredCall.of(obj, serialize(obj, *args, **options.own), beside=options.transactional is False)
    described = {**options.task, "url": options.url, "headers": {**_TASKQUEUE_HEADERS, **options.headers}}
    task = _task(call, described)
    queue = options.queue or call.declared.queue or _DEFAULT_QUEUE
    return task.add(queue, transactional=bool(options.transactional))


def _task(call: DeferredCall, described: dict[str, Any]) -> taskqueue.Task:
    """The task of `call`; what is too large for App Engine's limit stands beside it. Raises TaskTooLargeError."""
    task = taskqueue.Task(payload=call.pickled, **described, _size_check=False)
    if task.size > taskqueue.MAX_PUSH_TASK_SIZE_BYTES:
        call = call.spilled(_loading)
        task._payload = _loading(_SOME_KEY)
        task._check_size()
    task._call = call
    return task


def _loading(key: str) -> bytes:
    return serialize(run_from_datastore, key)


def serialize(obj: Any, *args: Any, **kwargs: Any) -> bytes:
    """The pickle of a call, for `run`. Nothing signs it: that belongs to storing and delivering.

    Its protocol is the newest, or 0 if the environment has a DEFERRED_USE_CROSS_COMPATIBLE_PICKLE_PROTOCOL. Raises
    ValueError for what cannot be called, and what pickle raises.
    """
    compatible = os.environ.get("DEFERRED_USE_CROSS_COMPATIBLE_PICKLE_PROTOCOL")
    return pickle.dumps(_curry_callable(obj, *args, **kwargs), 0 if compatible else pickle.HIGHEST_PROTOCOL)


def _curry_callable(obj: Any, *args: Any, **kwargs: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """A call in the form that `run` takes. Methods go by name, so that pickle need not know them."""
    if not callable(obj):
        raise ValueError("obj must be callable")
    name = _member_name(obj)
    if name is None:
        return obj, args, kwargs
    return invoke_member, (obj.__self__, name, *args), kwargs


def _member_name(obj: Any) -> str | None:
    """Under which name its owner has it; None: it is stored as it is."""
    if isinstance(obj, types.MethodType):
        return str(obj.__func__.__name__)
    if isinstance(obj, types.BuiltinMethodType) and obj.__self__ and not isinstance(obj.__self__, types.ModuleType):
        return obj.__name__
    return None


def run(data: bytes) -> Any:
    """Make the call that `serialize` has pickled, here and now, and return what it returns.

    What `carry` has let travel with a task is there again, for the call alone, where a view has got `data` from it.
    Whoever can choose `data` can run any code: never pass what came from outside. `Handler` takes only what is signed.
    Raises PermanentTaskFailure if it cannot be restored, else whatever the callable raises.
    """
    try:
        call = decode_triple(data)
    except Exception as error:
        raise PermanentTaskFailure(error) from error
    return copy_context().run(_carried_along, call) if call.context else call.fn(*call.args, **call.kwargs)


def _carried_along(call: Triple) -> Any:
    restore(default().codec.carried, call.context)
    return call.fn(*call.args, **call.kwargs)


def run_from_datastore(key: Any) -> Any:
    """Make a call that was too large to travel with its task, and return what it returns.

    Raises PermanentTaskFailure if it is not there or cannot be restored, else whatever the callable raises.
    """
    invocation = spilled(key)
    return invocation.fn(*invocation.args, **invocation.kwargs)


def invoke_member(obj: Any, membername: str, *args: Any, **kwargs: Any) -> Any:
    """Call a method by its name. Pickles of methods mention this function."""
    return getattr(obj, membername)(*args, **kwargs)


# Whatever imports this library has tasks that may use `ndb`, whether or not it wraps an application.
begin_anew_with_each_task()

__all__ = [
    "_DEFAULT_QUEUE",
    "_DEFAULT_URL",
    "_TASKQUEUE_HEADERS",
    "Error",
    "Handler",
    "PermanentTaskFailure",
    "SingularTaskFailure",
    "TaskHandler",
    "_DeferredTaskEntity",
    "_curry_callable",
    "application",
    "asgi_application",
    "defer",
    "invoke_member",
    "run",
    "run_from_datastore",
    "serialize",
    "set_log_level",
]
