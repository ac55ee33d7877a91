"""`wrap_wsgi_app`: App Engine's name for what makes an application serve its tasks.

It routes and nothing else: no response is collected, no environment copied, nothing patched.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from deferq.compat.appengine.ndbcontexts import begin_anew, begin_anew_with_each_task
from deferq.default import default, wrap_asgi, wrap_wsgi
from deferq.http.message import path_of_scope

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

DEFERRED_PATH: Final = "/_ah/queue/deferred"
#: What App Engine's front end sets, and nobody else can, to the address that a request came from.
_ADDRESS: Final = "HTTP_X_APPENGINE_USER_IP"
#: Where it is left for handlers that believe it, whatever the setting says. No header of a request is called so.
TOLD_KEY: Final = "deferq.app_engine_address"
_log = logging.getLogger()


def wrap_wsgi_app(app: WsgiApp, use_legacy_context_mode: bool = True, use_deferred: bool = False) -> WsgiApp:
    """`app`, with a worker in each of its processes that starts at the first request.

    Args:
        app: the WSGI application.
        use_legacy_context_mode: accepted and ignored.
        use_deferred: whether requests to `/_ah/queue/deferred`, exactly, go to `deferred.application`.

    The worker calls what was deferred and delivers what has an url to `app`. With DEFERQ_WORKER=external there is none:
    then `deferq worker` runs the tasks.
    """
    begin_anew_with_each_task()
    return wrap_wsgi(_Routed(app, use_deferred))


def wrap_asgi_app(app: AsgiApp, *, use_deferred: bool = False) -> AsgiApp:
    """The same for an ASGI application, which App Engine's library does not know."""
    return wrap_asgi(_RoutedAsgi(app) if use_deferred else app)


class _RoutedAsgi:
    """Passes everything on but requests for the deferred library."""

    def __init__(self, app: AsgiApp) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and path_of_scope(scope) == DEFERRED_PATH:
            from deferq.compat.appengine.deferred import asgi_application

            await asgi_application(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class _Routed:
    """Passes requests on: those for the deferred library to it, all others to the application."""

    def __init__(self, app: WsgiApp, use_deferred: bool) -> None:
        self.app = app
        self._use_deferred = use_deferred

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        begin_anew()
        if _ADDRESS in environ:
            environ[TOLD_KEY] = environ[_ADDRESS]
            if default().settings["trust_app_engine_headers"]:
                environ["REMOTE_ADDR"] = environ[_ADDRESS]
        if self._use_deferred and environ.get("PATH_INFO") == DEFERRED_PATH:
            return _deferred(environ, start_response)
        return self.app(environ, start_response)


def _deferred(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """What the callable raises is logged, and left to the server."""
    from deferq.compat.appengine.deferred import application

    try:
        return application(environ, start_response)
    except Exception:
        _log.exception("a deferred task failed")
        raise
