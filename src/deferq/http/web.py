"""Web applications: of which kind one is, and a deliverer for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from deferq.http.delivering import Writer
    from deferq.http.loops import Loops, ServerLoop
    from deferq.runtime.delivery import Deliverer

Kind = Literal["WSGI", "ASGI"]


class Web:
    """The application that tasks with an url are delivered to."""

    def __init__(
        self, kind: Kind, app: Any, server: ServerLoop | None = None, *, name: str = "the wrapped application"
    ) -> None:
        """`server` is where the server of an ASGI application will be seen, if it gets one; `name` is for banners."""
        self.kind = kind
        self.name = name
        self.server = server
        self._app = app
        self._loops: Loops | None = None

    def start(self) -> None:
        """Start an ASGI application that has no server; else the first delivery does. Raises ConfigError."""
        if self.kind == "ASGI":
            self._its_loops().start()

    def stop(self) -> None:
        """Let an application that was started here come to its end. It is started again when it is needed."""
        if self._loops is not None:
            self._loops.stop()

    def deliverer(self, writer: Writer, *, beside_server: bool = False) -> Deliverer:
        """Who delivers to it. `beside_server`: in the process of its server, which is the one to start it."""
        from deferq.http.delivering import AsgiDeliverer, WsgiDeliverer

        if self.kind == "WSGI":
            return WsgiDeliverer(self._app, writer)
        return AsgiDeliverer(self._app, writer, self._its_loops(), served_only=beside_server)

    def _its_loops(self) -> Loops:
        from deferq.http.loops import Loops

        if self._loops is None:
            self._loops = Loops(self._app, self.server)
        return self._loops


def kind_of(app: Any) -> Kind | None:
    """What `app` is, told by how it is called: `app(environ, start_response)`, or `await app(scope, receive, send)`.

    None: it is neither.
    """
    import inspect

    if not callable(app) or inspect.isclass(app) or inspect.ismodule(app):
        return None
    call: Any = app if inspect.isroutine(app) else type(app).__call__
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(call):
        return "ASGI"
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return None
    needed = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if any(one.kind == one.VAR_POSITIONAL for one in parameters):
        return "WSGI" if len(needed) <= 2 else "ASGI"
    return {2: "WSGI", 3: "ASGI"}.get(len(needed))  # type: ignore[return-value]
