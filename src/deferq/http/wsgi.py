"""A WSGI application with a worker beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from deferq.runtime.delivery import KEY

if TYPE_CHECKING:
    from deferq.runtime.embedded import EmbeddedWorker

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WrappedWsgi:
    """Passes every request on as it is. The first one in a process starts that process's worker.

    A process that ends with its request, as under CGI, has none: it would take tasks along and not finish them.
    """

    def __init__(self, app: WsgiApp, embedded: Callable[[], EmbeddedWorker | None]) -> None:
        self.app = app
        self._embedded = embedded

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if KEY not in environ and not environ.get("wsgi.run_once"):
            worker = self._embedded()
            if worker is not None:
                worker.ensure_started()
        return self.app(environ, start_response)
