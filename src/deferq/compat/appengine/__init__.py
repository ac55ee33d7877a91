"""App Engine's deferred library and task queue, for code that was written for them: only the import changes.

from deferq.compat.appengine import deferred, taskqueue, wrap_wsgi_app
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deferq.default import look_for_queue_files

if TYPE_CHECKING:
    from deferq.compat.appengine import taskqueue
    from deferq.compat.appengine.queueyaml.loading import load_queue_yaml

#: Where each name is found. Nothing is loaded before it is asked for.
_PLACES = {
    "load_queue_yaml": ("deferq.compat.appengine.queueyaml.loading", "load_queue_yaml"),
    "deferred": ("deferq.compat.appengine.deferred", None),
    "taskqueue": ("deferq.compat.appengine.taskqueue", None),
    "wrap_asgi_app": ("deferq.compat.appengine.wrapping", "wrap_asgi_app"),
    "wrap_wsgi_app": ("deferq.compat.appengine.wrapping", "wrap_wsgi_app"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    found = import_module(module)
    return found if attribute is None else getattr(found, attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})


__all__ = ["deferred", "load_queue_yaml", "taskqueue", "wrap_asgi_app", "wrap_wsgi_app"]

# App Engine's applications have one beside them. It is opened when the queues are needed, and not before.
look_for_queue_files("queue.yaml", "queue.yml")
