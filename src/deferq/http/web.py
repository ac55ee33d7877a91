"""Web applications: of which kind one is, and a deliverer for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from deferq.http.delivering import Writer
    from deferq.http.loops import Loops, ServerLoop
    from deferq.runtime.delivery import Deliverer

Kind = Literal["WSGI", "ASGI"]


class Web(NamedTuple):
    """The application that tasks with an url are delivered to."""

    kind: Kind
    app: Any
    #: The loop of its server; None: it has none, or needs none.
    server: ServerLoop | None = None
    #: What it is called in banners.
    name: str = "the wrapped application"

    def loops(self) -> Loops:
        """Where an ASGI application runs."""
        from deferq.http.loops import Loops

        return Loops(self.app, self.server)

    def deliverer(self, writer: Writer, loops: Loops | None = None) -> Deliverer:
        """Who delivers to it; `loops` are those of an application that was started already."""
        from deferq.http.delivering import AsgiDeliverer, WsgiDeliverer

        if self.kind == "WSGI":
            return WsgiDeliverer(self.app, writer)
        return AsgiDeliverer(self.app, writer, loops or self.loops())


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
