"""Requests and responses of the handler: the same for every kind of server.

Of the headers of a request only those are taken over that the handler looks at. Loaded with `import deferq`, so it
imports next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from deferq.current import CurrentTask
    from deferq.model.outcome import Outcome

#: Where the handler leaves the outcome, in `environ` or `scope`.
OUTCOME_KEY: Final = "deferq.outcome"
#: Where a delivery within the process leaves its LocalDelivery.
DELIVERY_KEY: Final = "deferq.delivery"
#: Where the wrapper leaves an empty Answer, in which the handler writes what the response is to say.
ANSWER_KEY: Final = "deferq.answer"

#: Names of the headers that matter here, as WSGI spells them, and in lower case.
_IN_ENVIRON: Final = (
    ("HTTP_X_DEFERQ_TASK", "x-deferq-task"),
    ("HTTP_X_DEFERQ_TIME", "x-deferq-time"),
    ("HTTP_X_DEFERQ_SIGNATURE", "x-deferq-signature"),
    ("CONTENT_LENGTH", "content-length"),
    ("HTTP_TRANSFER_ENCODING", "transfer-encoding"),
)
_IN_SCOPE: Final = frozenset(name.encode() for _, name in _IN_ENVIRON)
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    411: "Length Required",
    413: "Content Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Response(NamedTuple):
    """What the handler answers."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def status_line(self) -> str:
        """As WSGI wants it, such as `200 OK`."""
        return f"{self.status} {_REASONS[self.status]}"


class LocalDelivery:
    """A delivery by a worker of this very process, which holds the lease and settles.

    No request from outside can bring one along: it is an object, and headers are texts.
    """

    __slots__ = ("current", "outcome", "refused")

    def __init__(self, current: CurrentTask | None = None) -> None:
        """`current` is what the task will see of itself; None: the handler makes one."""
        self.current = current
        #: What the attempt came to; None: the handler was not asked, or has refused.
        self.outcome: Outcome | None = None
        #: The status with which the handler has refused, and run nothing; None: it has not.
        self.refused: int | None = None


class Answer:
    """What the wrapper adds to the response, whoever writes it. It is the same one in copies of `environ`."""

    __slots__ = ("header",)

    def __init__(self) -> None:
        #: What the handler has to say to the sender, whatever the view answers; None: it was not asked.
        self.header: tuple[str, str] | None = None


class Request:
    """What the handler looks at.

    Args:
        method: such as POST.
        path: below where the application is mounted, decoded.
        query: as it came, without the question mark.
        headers: by their names in lower case; at least those that the handler looks at.
        body: all of it; or a function that reads up to so many bytes, and returns nothing at the end.
        environ: the `environ` or `scope` it came with: the handler leaves the outcome there.
        repeated: whether one of these headers was there twice.
        mount: where that is, such as `/shop`: by the server, or by a router within the application.
    """

    __slots__ = ("body", "environ", "headers", "method", "mount", "path", "query", "repeated")

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes | Callable[[int], bytes],
        environ: MutableMapping[str, Any] | None = None,
        *,
        repeated: bool = False,
        mount: str = "",
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.environ: MutableMapping[str, Any] = {} if environ is None else environ
        self.repeated = repeated
        self.mount = mount

    @classmethod
    def from_wsgi(cls, environ: MutableMapping[str, Any]) -> Request:
        """The request of a WSGI application or view. Its body is read by the handler, and not before."""
        headers = {name: environ[key] for key, name in _IN_ENVIRON if environ.get(key)}
        return cls(
            environ.get("REQUEST_METHOD", ""),
            path_of_environ(environ),
            environ.get("QUERY_STRING", ""),
            headers,
            environ["wsgi.input"].read,
            environ,
            mount=_decoded(environ.get("SCRIPT_NAME", "")),
        )

    @classmethod
    def from_asgi(cls, scope: MutableMapping[str, Any], body: bytes) -> Request:
        """The request of an ASGI application or view, whose body was read already."""
        headers, repeated = _headers_of_scope(scope.get("headers", ()))
        return cls(
            scope["method"],
            path_of_scope(scope),
            scope.get("query_string", b"").decode("latin-1"),
            headers,
            body,
            scope,
            repeated=repeated,
            mount=scope.get("root_path", "").rstrip("/"),
        )

    def put_back(self, body: bytes) -> None:
        """Let a body that was read be read again, here and by whoever has the `environ`."""
        self.body = body
        if "wsgi.input" in self.environ:
            from io import BytesIO

            self.environ["wsgi.input"] = BytesIO(body)

    @property
    def local(self) -> LocalDelivery | None:
        """What a worker of this process has sent along; None: it comes from outside."""
        delivery = self.environ.get(DELIVERY_KEY)
        return delivery if isinstance(delivery, LocalDelivery) else None


def path_of_environ(environ: Mapping[str, Any]) -> str:
    """The path below the mount point. WSGI hands over the bytes of the decoded path as if they were Latin-1."""
    return _decoded(environ.get("PATH_INFO", ""))


def _decoded(path: str) -> str:
    if path.isascii():
        return path
    try:
        return path.encode("latin-1").decode()
    except UnicodeError:  # no signature fits it
        return path


def path_of_scope(scope: Mapping[str, Any]) -> str:
    """The path below the mount point. Servers that know of one put it in front, as ASGI wants it; some do not."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _headers_of_scope(headers: Iterable[tuple[bytes, bytes]]) -> tuple[dict[str, str], bool]:
    """Those that matter, and whether one of them came twice."""
    found = [(name, value) for raw, value in headers if (name := raw.lower()) in _IN_SCOPE]
    known = {name.decode("ascii"): value.decode("latin-1") for name, value in found}
    return known, len(known) < len(found)
