"""A WSGI application with a worker beside it, and with the handler under `/_deferq/`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from deferq.http.message import ANSWER_KEY, DELIVERY_KEY, Answer, Request, Response, path_of_environ
from deferq.http.paths import OUR_PATHS, RUN_PATH

if TYPE_CHECKING:
    from deferq.http.handler import Handler
    from deferq.runtime.embedded import EmbeddedWorker

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]


class WrappedWsgi:
    """Passes requests on as they are. The first one in a process starts that process's worker.

    A process that ends with its request, as under CGI, has none: it would take tasks along and not finish them. What
    comes to `/_deferq/` is not passed on: the handler takes deliveries there. Where a view takes one, its outcome is
    written on the response.
    """

    def __init__(
        self, app: WsgiApp, embedded: Callable[[], EmbeddedWorker | None], handler: Callable[[], Handler]
    ) -> None:
        self.app = app
        self._embedded = embedded
        self._handler = handler
        #: The Deferq that has wrapped it; None: whichever is the default one.
        self.owner: object = None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if DELIVERY_KEY not in environ and not environ.get("wsgi.run_once"):
            worker = self._embedded()
            if worker is not None:
                worker.ensure_started()
        if environ.get("PATH_INFO", "").startswith(OUR_PATHS):
            return self._serve(environ, start_response)
        if "HTTP_X_DEFERQ_TASK" in environ:
            return self._pass_delivery_on(environ, start_response)
        return self.app(environ, start_response)

    def _serve(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if path_of_environ(environ) == RUN_PATH:
            response = self._handler().run(Request.from_wsgi(environ))
        else:
            response = not_found(environ["REQUEST_METHOD"])
        start_response(response.status_line, response.headers)
        return [response.body]

    def _pass_delivery_on(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """To a view that takes deliveries, if there is one. Whatever it answers, what the handler says stands on it."""
        answer = environ[ANSWER_KEY] = Answer()

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            if (ours := answer.header) is not None:
                headers = [header for header in headers if header[0].lower() != ours[0].lower()]
                headers.append(ours)
            return start_response(status, headers, *exc_info)

        return self.app(environ, start)


def not_found(method: str) -> Response:
    """The answer to everything else under `/_deferq/`."""
    from deferq.http.refusals import refuse, without_body

    refusal = refuse(404, "there is nothing under this path")
    return without_body(refusal) if method == "HEAD" else refusal
