"""Servers of both kinds in this process, on sockets of their own: what is sent to them are bytes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any
from urllib.parse import quote
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from tests.support.deliveries import Sent

#: How long a server may think about what is broken before we say that nothing more comes.
THINKS_S = 0.15
PATIENCE_S = 30.0


class _Quiet(WSGIRequestHandler):
    timeout = PATIENCE_S

    def log_message(self, format: str, *args: object) -> None:
        """It would write to stderr."""


@contextmanager
def serving_wsgi(application: Any) -> Iterator[int]:
    """The server of the standard library, on the port that is given."""
    with make_server("127.0.0.1", 0, application, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(PATIENCE_S)


@contextmanager
def serving_asgi(application: Any) -> Iterator[int]:
    """uvicorn, on the port that is given."""
    uvicorn = pytest.importorskip("uvicorn")
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        config = uvicorn.Config(application, lifespan="off", log_level="critical", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(PATIENCE_S)


def head_of(sent: Sent, *, version: str = "1.1", target: str | None = None) -> bytes:
    """Request line and headers, as a careless client sends them."""
    path = quote(sent.path, safe="/;:@&=+$,~") + (f"?{sent.query}" if sent.query else "")
    lines = [f"{sent.method} {target or path} HTTP/{version}", "Host: localhost", "Connection: close"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in sent.headers), "", ""]).encode("latin-1")


def raw(port: int, *pieces: bytes, thinks_s: float = THINKS_S) -> bytes:
    """All that a server says to these bytes.

    Once it has answered, or has waited for more for a while, it is told that nothing more comes.
    """
    with closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)) as connection:
        with suppress(OSError):  # it has closed the connection in our face
            for piece in pieces:
                connection.sendall(piece)
        said = _heard(connection, thinks_s)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        return said + _heard(connection, PATIENCE_S)


def _heard(connection: socket.socket, patience_s: float) -> bytes:
    """What comes until there is a whole answer, an end, or nothing for so long."""
    said = b""
    connection.settimeout(patience_s)
    with suppress(OSError):
        while not _is_whole(said) and (piece := connection.recv(65_536)):
            said += piece
    return said


def _is_whole(said: bytes) -> bool:
    """Whether there is an answer, as long as it says."""
    head, end, body = _after_100(said).partition(b"\r\n\r\n")
    lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end and lengths) and len(body) >= int(lengths[0])


def _after_100(said: bytes) -> bytes:
    while said.startswith(b"HTTP/1.1 100 "):
        said = said.partition(b"\r\n\r\n")[2]
    return said


def status_of(said: bytes) -> int | None:
    """None: it has closed the connection, or said nothing."""
    said = _after_100(said)
    return int(said.split(b" ", 2)[1]) if said.startswith(b"HTTP/1.") else None
