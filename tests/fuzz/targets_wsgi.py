"""Any bytes as a WSGI request: a refusal, unless it is signed; nothing runs, unless its body is sealed as well."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from deferq.http.message import Request
from deferq.http.wsgi import WrappedWsgi
from tests.fuzz.checks import HANDLER, OWN_STATUS, Watched
from tests.fuzz.drawn import Drawn, draw, requests

seeds_wsgi = requests


def fuzz_wsgi(data: bytes) -> None:
    """Raises AssertionError if a promise is broken, and whatever comes through the adapter."""
    drawn = draw(data)
    watched, environ = Watched(drawn), _environ(drawn)
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        started.append((status, headers))
        return lambda _: None

    body = b"".join(_WRAPPED(environ, start_response))

    ((status, headers),) = started
    watched.check(int(status[:3]), headers, body, environ)


def _application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Has a view that takes deliveries."""
    if environ.get("PATH_INFO") != "/view":
        start_response(f"{OWN_STATUS} Teapot", [])
        return []
    response = HANDLER.handle(Request.from_wsgi(environ))
    start_response(response.status_line, response.headers)
    return [response.body]


_WRAPPED = WrappedWsgi(_application, lambda: None, lambda: HANDLER)


def _environ(drawn: Drawn) -> dict[str, Any]:
    """As servers make it. What PEP 3333 allows to be missing may be missing."""
    environ: dict[str, Any] = {"REQUEST_METHOD": drawn.method, "wsgi.input": _Input(drawn)}
    if drawn.path or b"nothing" not in drawn.wishes:
        environ["PATH_INFO"] = drawn.path
    if drawn.query or b"nothing" not in drawn.wishes:
        environ["QUERY_STRING"] = drawn.query
    for name, value in drawn.headers:
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ


class _Input(BytesIO):
    """May hand over little at a time, or break off."""

    def __init__(self, drawn: Drawn) -> None:
        super().__init__(drawn.body)
        self._wish = drawn.wishes.get(b"in", b"")

    def read(self, size: int | None = -1, /) -> bytes:
        if self._wish == b"raise":
            raise OSError("the client has gone")
        return super().read(min(size or 0, 3) if self._wish == b"short" else size)
