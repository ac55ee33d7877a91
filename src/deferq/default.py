"""The default Deferq, and the functions of the package that use it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from deferq.app import Deferq
from deferq.calls import Call
from deferq.locks import ProcessLock

if TYPE_CHECKING:
    from deferq.codec.context import Carried
    from deferq.handles import TaskHandle
    from deferq.http.asgi import AsgiApp
    from deferq.http.handler import Handler
    from deferq.http.web import Web
    from deferq.http.wsgi import WsgiApp
    from deferq.model.queue import Queue

P = ParamSpec("P")
R = TypeVar("R")

_default: Deferq | None = None
#: The application that was wrapped last, whichever Deferq is the default when a worker wants to know.
_web: Web | None = None
#: What a file that declares queues is called, once something was imported that has such files.
_queue_files: tuple[str, ...] = ()
_making = ProcessLock()


def default() -> Deferq:
    """The Deferq behind the functions of the package: the configured one, else one with settings from outside."""
    global _default
    if _default is None:
        with _making:
            if _default is None:
                made = Deferq()
                made.web, made.queue_files = _web, _queue_files
                _default = made
    return _default


def configure(
    url: str | None = None,
    *,
    queues: Mapping[str, Queue] | None = None,
    secrets: Sequence[str | bytes] | None = None,
    allow: Iterable[str] | None = None,
    carry: Iterable[ContextVar[Any] | Carried] = (),
    **settings: Any,
) -> Deferq:
    """Set up the default Deferq; the arguments are those of `Deferq`. Opens nothing.

    Call it once, where the application is set up. A former default is closed. Raises ConfigError.
    """
    global _default
    configured = Deferq(url, queues=queues, secrets=secrets, allow=allow, carry=carry, **settings)
    configured.web, configured.queue_files = _web, _queue_files
    with _making:
        former, _default = _default, configured
    if former is not None:
        former.close()
    return configured


def defer(fn: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> TaskHandle:
    """Call `fn(*args, **kwargs)` later. When this returns, the task is stored. See `Deferq.defer`."""
    return default().defer(fn, *args, **kwargs)


async def defer_async(fn: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> TaskHandle:
    """`defer` from a coroutine: the event loop goes on while the store commits."""
    return await default().defer_async(fn, *args, **kwargs)


def call(fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
    """`fn(*args, **kwargs)` as a Call: `call(fn, 1).defer(countdown=60)`, `defer_many(call(fn, i) for i in ids)`."""
    return Call(default, fn, args, kwargs)


def defer_many(calls: Iterable[Call[Any]], *, within: Any = None) -> list[TaskHandle]:
    """Store many calls in one transaction. See `Deferq.defer_many`."""
    return default().defer_many(calls, within=within)


def start() -> None:
    """Start the embedded worker: threads of this process that run tasks. See `Deferq.start`."""
    default().start()


def stop(drain_s: float | None = None) -> None:
    """Stop the embedded worker of this process and wait for its end. See `Deferq.stop`."""
    if _default is not None:
        _default.stop(drain_s)


def handler() -> Handler:
    """What takes deliveries, for a view of your own. See `Deferq.handler`."""
    return default().handler()


def wrap_wsgi(app: WsgiApp) -> WsgiApp:
    """`app`, with a worker in each of its processes that starts at the first request. See `Deferq.wrap_wsgi`."""
    from deferq.http.web import Web
    from deferq.http.wsgi import WrappedWsgi

    _know(Web("WSGI", app))
    return WrappedWsgi(app, lambda: default().embedded, handler)


def wrap_asgi(app: AsgiApp) -> AsgiApp:
    """`app`, with a worker in each of its processes that starts with the server, or at the first request.

    See `Deferq.wrap_asgi`.
    """
    from deferq.http.asgi import WrappedAsgi
    from deferq.http.loops import ServerLoop
    from deferq.http.web import Web

    server = ServerLoop()
    _know(Web("ASGI", app, server))
    return WrappedAsgi(app, lambda: default().embedded, handler, server)


def look_for_queue_files(*names: str) -> None:
    """From now on the default Deferq takes the first of these files for what declares its queues.

    It is looked for when it is needed. See `Deferq.take_queue_files`.
    """
    global _queue_files
    _queue_files = names
    if _default is not None:
        _default.take_queue_files(*names)


def _know(web: Web) -> None:
    """Deliver to this application from now on. Makes no default: it may be configured later."""
    global _web
    _web = web
    if _default is not None:
        _default.web = web
