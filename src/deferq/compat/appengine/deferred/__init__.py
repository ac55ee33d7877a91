"""App Engine's deferred library: `deferred.defer(fn, 1, _countdown=60)`, and the handler for deliveries.

    from deferq.compat.appengine import deferred

Its names, signatures and answers are App Engine's. What is different, and why, is said in docs/reference/appengine.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from deferq.compat.appengine.deferred import deferred
from deferq.compat.appengine.deferred.deferred import (
    Error,
    Handler,
    PermanentTaskFailure,
    SingularTaskFailure,
    TaskHandler,
    application,
    asgi_application,
    defer,
    invoke_member,
    run,
    run_from_datastore,
    serialize,
    set_log_level,
)

#: Modules that App Engine's package shows, since it imports them.
_SHOWN = {
    **{name: name for name in ("http", "logging", "os", "pickle", "types")},
    "taskqueue": "deferq.compat.appengine.taskqueue",
}


def __getattr__(name: str) -> Any:
    if name in _SHOWN:
        return import_module(_SHOWN[name])
    if name == "main":
        raise AttributeError("deferred.main() belonged to CGI; serve deferred.application, which is a WSGI application")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Error",
    "Handler",
    "PermanentTaskFailure",
    "SingularTaskFailure",
    "TaskHandler",
    "application",
    "asgi_application",
    "defer",
    "deferred",
    "invoke_member",
    "run",
    "run_from_datastore",
    "serialize",
    "set_log_level",
]
